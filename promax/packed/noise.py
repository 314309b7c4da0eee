"""Random bits for dropout, many at a time, and the masks they make."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

# Words of 64 bits drawn at once: 512 KiB, which stay in the processor's cache until they are copied.
_WORDS = 1 << 16
# As many streams share a draw, whatever the number of threads: the bits don't depend on it.
_STREAMS = 2
_threads = ThreadPoolExecutor(_STREAMS)


class Noise:
    """Random 16-bit patterns, seen as bfloat16; the same for the same key.

    torch's `bernoulli_` draws one number at a time on one thread: 5 ns an element, 18 % of a reference
    step. numpy's SFC64 fills 64 bits, which are four elements, in 1.6 ns.
    """

    def __init__(self, key: list[int], device: torch.device) -> None:
        self._device = device
        if device.type == "cpu":
            seeds = np.random.SeedSequence(key).spawn(_STREAMS)
            self._streams = [np.random.Generator(np.random.SFC64(seed)) for seed in seeds]
        else:
            (state,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
            self._seed, self._generator = int(state >> 1), _generator(device)
            self.restart()

    def restart(self) -> None:
        """Draw, on a GPU, from the beginning again."""
        self._generator.manual_seed(self._seed)

    def draw(self, *shape: int) -> Tensor:
        """Uniform patterns of 16 bits, as bfloat16: 254 of the 65,536 are not a number."""
        if self._device.type != "cpu":
            bits = torch.empty(shape, dtype=torch.int16, device=self._device)
            return bits.random_(-(1 << 15), 1 << 15, generator=self._generator).view(torch.bfloat16)
        count = int(np.prod(shape))
        words = torch.empty(-(-count // 4), dtype=torch.int64)
        halves = words.tensor_split(_STREAMS)
        together = len(words) > _WORDS and torch.get_num_threads() > 1
        for _ in (_threads.map if together else map)(_fill, self._streams, halves):
            pass
        return words.view(torch.bfloat16)[:count].view(shape)


def _generator(device: torch.device) -> torch.Generator:
    """On a GPU its own: flash attention draws from no other."""
    if device.type == "cuda":
        return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    return torch.Generator(device)


def _fill(stream: np.random.Generator, words: Tensor) -> None:
    for part in torch.split(words, _WORDS):
        # int64's range, since torch can't see unsigned words as another type.
        drawn = stream.integers(-(1 << 63), (1 << 63) - 1, len(part), dtype=np.int64, endpoint=True)
        part.copy_(torch.from_numpy(drawn))


@lru_cache
def threshold(rate: float) -> float:
    """The bfloat16 number that a share `rate` of all patterns is not above, to the nearest 1/65,536.

    Patterns that are not a number, 254 of them, are above any threshold: no comparison with them
    holds. So `rate` may be up to 0.99.
    """
    patterns = torch.arange(-(1 << 15), 1 << 15).to(torch.int16).view(torch.bfloat16)
    numbers = patterns[~patterns.isnan()].sort().values
    return float(numbers[round(rate * 65536) - 1])
