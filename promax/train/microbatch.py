"""Training on when memory runs out: a batch goes through the encoder in parts, its loss stays whole.

Splitting a batch and adding up the parts' losses changes every loss that compares the pairs of a
batch. Gradient caching (Gao et al. 2021, arXiv 2101.06983) doesn't: embed part by part without
keeping activations, take the loss over all embeddings, then embed each part again to carry the
embeddings' gradients into the weights. Activations of one part at a time are held, at the price of
a second forward pass. torch's activation checkpointing over each part does exactly this, with the
random state replayed, so that dropout draws the same masks both times.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

logger = logging.getLogger(__name__)

T = TypeVar("T")

# CUDA and MPS; the CPU allocator on Linux and macOS; on Windows; C++ code that allocates by itself.
_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on whichever device.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    True
    >>> is_out_of_memory(RuntimeError("shape mismatch"))
    False
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error).lower() for message in _MESSAGES)


class MicroBatches:
    """How many pairs go through the encoder at once: the batch size, halved for good each time memory runs out."""

    def __init__(self, batch_size: int, max_seq_length: int | None) -> None:
        self.size = batch_size
        self._batch_size = batch_size
        self._max_seq_length = max_seq_length

    def attempt(self, step: Callable[[], T], pairs: int) -> T:
        """Take a step on a batch of `pairs` pairs, again with half the `size` while it runs out of memory.

        `step` embeds `size` pairs at once and starts by clearing the gradients of a failed try.

        Raises:
            RuntimeError: one pair at a time is still too much.
        """
        while True:
            try:
                return step()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                at_once = min(self.size, pairs)
                if at_once == 1:
                    raise RuntimeError(self._hopeless()) from error
            # Outside the except block, since the error holds on to the failed step's activations.
            self.size = at_once // 2
            logger.warning(
                "out of memory with %d pairs at once; from now on %d at once, the effective batch stays %d",
                at_once,
                self.size,
                self._batch_size,
            )
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _hopeless(self) -> str:
        shorter = "shorter texts" if self._max_seq_length is None else f"{max(8, self._max_seq_length // 2)}"
        return (
            f"out of memory with one pair at a time (optim.batch_size={self._batch_size}, "
            f"texts of up to {self._max_seq_length} tokens); try model.max_seq_length={shorter}"
        )


def embed_in_parts(embed: Callable[[dict[str, Tensor]], Tensor], features: dict[str, Tensor], size: int) -> Tensor:
    """Embed a batch `size` rows at a time, holding the activations of one part at most, forwards and backwards.

    Args:
        embed: a part's features -> its embeddings (rows, d), by a forward pass that records gradients.
        features: name -> tensor (b, ...); what is not a tensor goes to every part as it is.
        size: rows of a part; the last may have fewer.

    Returns:
        (b, d), as `embed(features)` gives it but for rounding and, in training mode, dropout's draws.
    """
    rows = next(len(value) for value in features.values() if isinstance(value, Tensor))
    parts = [
        {name: value[start : start + size] if isinstance(value, Tensor) else value for name, value in features.items()}
        for start in range(0, rows, size)
    ]

    def embed_copy(part: dict[str, Tensor]) -> Tensor:
        # An encoder writes its token embeddings into its input; there they would outlive the pass.
        return embed(dict(part))

    return torch.cat([checkpoint(embed_copy, part, use_reentrant=False, context_fn=_replay(part)) for part in parts])


def _replay(
    part: dict[str, Tensor],
) -> Callable[[], tuple[AbstractContextManager[None], AbstractContextManager[None]]]:
    """Contexts of a part's first and second forward pass; torch replays the random state of every device but MPS."""
    on_mps = any(isinstance(value, Tensor) and value.device.type == "mps" for value in part.values())
    second = _mps_random_state(torch.mps.get_rng_state()) if on_mps else nullcontext()
    return lambda: (nullcontext(), second)


@contextmanager
def _mps_random_state(state: Tensor) -> Iterator[None]:
    outside = torch.mps.get_rng_state()
    torch.mps.set_rng_state(state)
    try:
        yield
    finally:
        torch.mps.set_rng_state(outside)
