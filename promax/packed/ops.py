"""The operations that torch has no fast form of, with their derivatives.

Each is checked against plain torch in double precision by `torch.autograd.gradcheck`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from promax.packed.layout import Block, Layout, Padded
from promax.packed.noise import Noise, threshold

# Numbers in a row of scores.
_SHORT = 64


class Dropper:
    """Dropout at one rate, for one step: zeroes a share `rate`, without the scaling by `scale` = 1 / (1 - rate)."""

    def __init__(self, rate: float, noise: Noise | None) -> None:
        # A rate below what 16 random bits can tell from 0 is 0.
        self.noise = noise if round(rate * 65536) else None
        self.rate = rate if self.noise else 0.0
        self.scale = 1 / (1 - rate) if self.noise else 1.0
        self._cut = threshold(rate) if self.noise else 0.0

    def draw(self, like: Tensor) -> Tensor | None:
        return self.noise.draw(*like.shape) if self.noise else None

    def apply(self, x: Tensor, bits: Tensor | None, *, over: bool = False) -> Tensor:
        """x where its bits are above the threshold, else 0; written over x if `over`.

        torch's backward of a threshold is this very selection, in one vectorised pass and without a mask in
        memory: 1.2 ms where `where` and multiplying by a bool take 4.5 (7.5 million elements, bf16).
        """
        if bits is None:
            return x
        select = torch.ops.aten.threshold_backward
        if over:
            select.grad_input(x, bits.to(x.dtype), self._cut, grad_input=x)
            return x
        selected: Tensor = select(x, bits.to(x.dtype), self._cut)
        return selected


class _DropAdd(Function):
    """residual + dropout(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, drop: Dropper) -> Tensor:
        bits = drop.draw(x)
        ctx.drop = drop
        ctx.save_for_backward(bits)
        dropped = drop.apply(x, bits)
        return torch.add(residual, dropped, alpha=drop.scale, out=dropped)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (bits,) = ctx.saved_tensors
        return ctx.drop.apply(grad, bits).mul_(ctx.drop.scale), grad, None


def drop_add(x: Tensor, residual: Tensor, drop: Dropper) -> Tensor:
    """residual + dropout(x), the scaling done within the addition; may write over x."""
    if drop.noise is None:
        return x.add_(residual)
    result: Tensor = _DropAdd.apply(x, residual, drop)  # type: ignore[no-untyped-call]
    return result


class _Adapted(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, drop: Dropper
    ) -> Tensor:
        # Without dropout the adapters read the same input, and are one.
        own = down if drop.noise else down.flatten(0, 1)[None]
        bits = drop.draw(x.expand(len(own), *x.shape))
        inputs = drop.apply(x.expand(len(own), *x.shape), bits)
        hidden = torch.bmm(inputs, own.transpose(1, 2)).transpose(0, 1).flatten(1)
        ctx.drop, ctx.shape = drop, down.shape
        ctx.save_for_backward(weight, own, up, hidden, inputs, bits)
        return nn.functional.linear(x, weight, bias).addmm_(hidden, up.t())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        weight, own, up, hidden, inputs, bits = ctx.saved_tensors
        grad_hidden = grad @ up
        by_adapter = grad_hidden.view(len(grad), len(own), -1).transpose(0, 1)
        grad_down = torch.bmm(by_adapter.transpose(1, 2), inputs).view(ctx.shape)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ weight
            if bits is None:
                grad_x.addmm_(grad_hidden, own[0])
            else:
                for each in ctx.drop.apply(torch.bmm(by_adapter, own), bits, over=True):
                    grad_x += each
        return grad_x, None, None, grad_down, (hidden.t() @ grad).t(), None


def adapted(x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, drop: Dropper) -> Tensor:
    """Frozen linear layers with a low-rank adapter each, side by side: x W' + b + sum of dropout_i(x) A_i' B_i'.

    Beside the frozen weight, not added to it: bfloat16 would round a small B A away against W, and
    dropout stands between the two.

    Args:
        x: (N, in).
        weight, bias: (out, in) and (out,), the layers' one below the other; they get no gradient.
        down: (adapters, r, in), the A_i. Each draws its own dropout, as PEFT's do.
        up: (out, adapters * r), the B_i, times what scales them, each in its layer's rows and its own columns.
    """
    result: Tensor = _Adapted.apply(x, weight, bias, down, up, drop)  # type: ignore[no-untyped-call]
    return result


class _Attention(Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, bias: Tensor | None, layout: Padded, heads: int, scaling: float, drop: Dropper
    ) -> Tensor:
        width = qkv.shape[1] // (3 * heads)
        by_head = qkv.view(-1, width).index_select(0, layout.to_heads)
        q, k, v = by_head.chunk(3)
        context = _with_row_of_zeros(q)
        kept = []
        for block in layout.blocks:
            shape = (-1, block.length, width)
            queries, keys, values = (each[block.rows].view(shape) for each in (q, k, v))
            scores = torch.baddbmm(qkv.new_empty(1), queries, keys.transpose(1, 2), beta=0, alpha=scaling)
            probabilities = _softmax(scores, bias, block, heads)
            bits = drop.draw(probabilities)
            used = drop.apply(probabilities, bits)
            torch.bmm(used, values, out=context[block.rows].view(shape))
            kept += [probabilities, used, bits]
        context.mul_(drop.scale)
        ctx.layout, ctx.scaling, ctx.drop = layout, scaling, drop
        ctx.save_for_backward(by_head, bias, *kept)
        return context.index_select(0, layout.from_context).view(len(qkv), -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        by_head, bias, *kept = ctx.saved_tensors
        layout, drop, width = ctx.layout, ctx.drop, by_head.shape[1]
        q, k, v = by_head.chunk(3)
        grad_by_head = _with_row_of_zeros(by_head)
        grad_q, grad_k, grad_v = grad_by_head[:-1].chunk(3)
        grad_bias = torch.zeros_like(bias) if ctx.needs_input_grad[1] else None
        grad_context = grad.reshape(-1, width).index_select(0, layout.to_context).mul_(drop.scale)
        for block, p, used, bits in zip(layout.blocks, kept[::3], kept[1::3], kept[2::3], strict=True):
            shape = (-1, block.length, width)
            queries, keys, values, over = (each[block.rows].view(shape) for each in (q, k, v, grad_context))
            torch.bmm(used.transpose(1, 2), over, out=grad_v[block.rows].view(shape))
            grad_p = _wide(drop.apply(torch.bmm(over, values.transpose(1, 2)), bits, over=True))
            grad_scores = torch._softmax_backward_data(grad_p, _wide(p), -1, grad_p.dtype).to(p.dtype)
            if grad_bias is not None:
                grad_bias[:, : block.length, : block.length] += grad_scores.view(block.texts, -1, *p.shape[1:]).sum(0)
            for into, left, right in (
                (grad_q, grad_scores, keys),
                (grad_k, grad_scores.transpose(1, 2), queries),
            ):
                out = into[block.rows].view(shape)
                torch.baddbmm(out, left, right, beta=0, alpha=ctx.scaling, out=out)
        grad_qkv = grad_by_head.index_select(0, layout.from_heads).view(len(grad), -1)
        return grad_qkv, grad_bias, None, None, None, None


def _softmax(scores: Tensor, bias: Tensor | None, block: Block, heads: int) -> Tensor:
    """Of (texts * heads, length, length), written over; padding gets 0."""
    by_text = scores.view(block.texts, heads, block.length, block.length)
    if bias is not None:
        by_text += bias[:, : block.length, : block.length]
    # Only the columns after the shortest text: a pass over all of them costs as much as a product.
    by_text[..., block.certain :].masked_fill_(block.padding, -torch.inf)
    return _wide(scores).softmax(-1).to(scores.dtype)


def _wide(x: Tensor) -> Tensor:
    """x as the softmax takes it: float32 for short rows, since bfloat16's kernels are 4-20 times slower on 16 numbers.

    On long rows they are as fast or faster, and compute in float32 inside all the same.
    """
    return x.float() if x.dtype == torch.bfloat16 and x.shape[-1] < _SHORT else x


def _with_row_of_zeros(like: Tensor) -> Tensor:
    """A matrix to be written, with one row more than `like`, of zeros."""
    rows = like.new_empty(len(like) + 1, like.shape[1])
    rows[-1] = 0
    return rows


def attention(qkv: Tensor, bias: Tensor | None, layout: Layout, heads: int, scaling: float, drop: Dropper) -> Tensor:
    """softmax(scaling q k' + bias) v for each text and head, with dropout on the softmax's result.

    In a padded layout by plain matrix products over blocks of like length: on a processor torch's fused
    attention has no dropout, and its backward pass in bfloat16 takes twenty times as long as these
    products (74 ms against 4 for 32 texts of 112 tokens). Else by flash attention, which takes the
    packed rows as they are, but no bias; its dropout draws from the GPU's own generator.

    Args:
        qkv: (N, 3 * heads * width): queries, keys, values side by side, of the packed tokens.
        bias: (heads, length, length), added to every text's scores, or None.

    Returns:
        (N, heads * width); rows of no text are 0 in a padded layout, else what nobody reads.
    """
    if layout.padded is None:
        q, k, v = qkv.view(len(qkv), 3, heads, -1).unbind(1)
        ends, longest = layout.bounds, layout.longest
        mixed: Tensor = torch.ops.aten._flash_attention_forward(
            q, k, v, ends, ends, longest, longest, drop.rate, False, False, scale=scaling
        )[0]
        return mixed.flatten(1)
    result: Tensor = _Attention.apply(qkv, bias, layout.padded, heads, scaling, drop)  # type: ignore[no-untyped-call]
    return result
