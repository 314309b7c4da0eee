"""Hashes of what a run is made of, computed here: equal where two processors compute the same bits.

    export OMP_NUM_THREADS=1
    python experiments/reproduce/bits.py
    env $(python experiments/reproduce/bits.py variables) python experiments/reproduce/bits.py     as if portable

One line for each shape of a product: the product, GELU, softmax, layer normalisation, a batched product, exponentials
and powers, a sum, unit vectors, a loss, its gradient and the weights after a step of AdamW. A last line of what
scores and metrics are made of. See README.md.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from promax.portable import VARIABLES

# Rows, width, columns: a full batch, two ragged ones and a few texts alone, in the layers of a small encoder.
SHAPES = ((256, 384, 384), (57, 384, 1536), (33, 1536, 384), (7, 384, 384))


def results(rows: int, width: int, columns: int, draw: torch.Generator) -> list[Tensor]:
    texts = torch.randn(rows, width, generator=draw)
    weights, bias = torch.randn(columns, width, generator=draw), torch.randn(columns, generator=draw)
    product = functional.linear(texts, weights, bias)
    active = functional.gelu(product)
    normal = functional.layer_norm(active, (columns,))
    batched = torch.bmm(texts[None], weights[None].transpose(1, 2))
    powers = normal.exp().log().exp().log1p().tanh().pow(1.3).nan_to_num()
    weights.requires_grad_()
    loss = (
        (1 - functional.cosine_similarity(functional.linear(texts, weights, bias), product.roll(1, 0))).square().mean()
    )
    loss.backward()
    assert weights.grad is not None
    torch.optim.AdamW([weights], lr=1e-3, fused=True).step()
    return [
        *(product, active, active.softmax(-1), normal, batched),
        *(powers, active.sum(-1), functional.normalize(product)),
        *(loss.detach(), weights.grad, weights.detach()),
    ]


def scored(draw: np.random.Generator) -> list[NDArray[np.floating]]:
    first, second = draw.standard_normal((2, 1001, 384), dtype=np.float32)
    cosines = np.einsum("nd,nd->n", first, second, dtype=np.float64)
    weights = draw.integers(0, 4, (131, 1001)).astype(np.float64)
    return [
        *(first @ second.T, cosines, np.vecdot(weights, cosines), np.linalg.norm(first, axis=1)),
        *(np.cumsum(weights * np.sort(cosines), axis=-1), np.quantile(cosines, [0.025, 0.975])),
        *(weights.sum(axis=-1) / (weights @ np.exp(cosines / 100)), np.log1p(cosines**2)),
    ]


def hashes(arrays: list[NDArray[np.floating]]) -> str:
    return " ".join(hashlib.sha256(each.tobytes()).hexdigest()[:8] for each in arrays)


def main() -> None:
    if sys.argv[1:] == ["variables"]:
        print(*(f"{name}={value}" for name, value in VARIABLES.items()))
        return
    draw = torch.Generator().manual_seed(0)
    for shape in SHAPES:
        print(hashes([each.numpy() for each in results(*shape, draw)]))
    print(hashes(scored(np.random.default_rng(0))))


if __name__ == "__main__":
    main()
