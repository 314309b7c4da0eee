"""Where a run's seconds go."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Clock:
    """A run's seconds: all of them, and those in steps and embeddings, which no two runs share."""

    began: float = field(default_factory=time.perf_counter)
    trained: float = 0.0

    def timed(self, embed: Callable[..., NDArray[np.float32]]) -> Callable[..., NDArray[np.float32]]:
        """`embed`, whose seconds count as trained."""

        def timed_embed(texts: list[str], **how: Any) -> NDArray[np.float32]:
            began = time.perf_counter()
            try:
                return embed(texts, **how)
            finally:
                self.trained += time.perf_counter() - began

        return timed_embed

    def other(self) -> float:
        """Seconds so far of anything else."""
        return time.perf_counter() - self.began - self.trained
