"""A GPU's passes as recordings, since the calls of a small encoder's step take longer than what they ask for.

CUDA graphs: what a pass asks of the GPU is recorded once for each shape of batch, which `layout` keeps
few, and from then on replayed by one call. Adapters change in place, so a recording reads their
present values; dropout continues from the generator's seed, which is set before each replay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import Function

from promax.packed.forward import Packed
from promax.packed.layout import Layout
from promax.packed.noise import Noise


class Recorded:
    """Embeds as `packed` does, with gradients in `parameters` alone, by recordings from the second time of a shape on.

    Args:
        packed: whose passes are `recordable`.
        parameters: the encoder's trainable ones.
    """

    def __init__(self, packed: Packed, parameters: Sequence[Tensor]) -> None:
        self._packed, self._parameters = packed, parameters
        self._recordings: dict[tuple[int, ...], _Recording | None] = {}
        # In one stream, where a backward pass goes by itself, and in memory that one recording uses at a time.
        self._aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def embed(self, texts: Sequence[NDArray[np.int64]], noise: Noise) -> Tensor:
        """As `Packed.embed`."""
        layout = self._packed.lay_out(texts)
        shape = (len(layout.ids), len(layout.starts), len(layout.bounds), layout.longest)
        if shape not in self._recordings:
            # Not recorded: kernels are loaded in it, and a shape that comes once is not worth it.
            self._recordings[shape] = None
            return self._packed.forward(layout, noise)
        recording = self._recordings[shape]
        if recording is None:
            recording = self._recordings[shape] = self._record(layout, noise)
            noise.restart()
        result: Tensor = _Replay.apply(recording, layout, *self._parameters)  # type: ignore[no-untyped-call]
        return result

    def _record(self, layout: Layout, noise: Noise) -> _Recording:
        forward, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        torch.cuda.empty_cache()  # which can't be done in a recording
        with torch.enable_grad():
            with self._into(forward):
                embeddings = self._packed.forward(layout, noise)
            grad = torch.empty_like(embeddings)
            with self._into(backward):
                grads = torch.autograd.grad(embeddings, self._parameters, grad, allow_unused=True)
        return _Recording(layout, forward, embeddings.detach(), grad, backward, grads)

    @contextmanager
    def _into(self, graph: torch.cuda.CUDAGraph) -> Iterator[None]:
        here = torch.cuda.current_stream()
        self._aside.wait_stream(here)
        with torch.cuda.stream(self._aside):
            graph.capture_begin(pool=self._pool)
            try:
                yield
            finally:
                graph.capture_end()
        here.wait_stream(self._aside)


@dataclass(frozen=True)
class _Recording:
    """A forward pass from `layout` to `embeddings`, and a backward pass from `grad` to the parameters' `grads`."""

    layout: Layout
    forward: torch.cuda.CUDAGraph
    embeddings: Tensor
    grad: Tensor
    backward: torch.cuda.CUDAGraph
    grads: tuple[Tensor, ...]


class _Replay(Function):
    @staticmethod
    def forward(ctx: Any, recording: _Recording, layout: Layout, *parameters: Tensor) -> Tensor:
        ctx.recording = recording
        for name in ("ids", "positions", "starts", "lengths", "bounds"):
            getattr(recording.layout, name).copy_(getattr(layout, name))
        recording.forward.replay()
        return recording.embeddings.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        ctx.recording.grad.copy_(grad)
        ctx.recording.backward.replay()
        return None, None, *(each if each is None else each.detach() for each in ctx.recording.grads)
