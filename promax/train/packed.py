"""The packed engine: the trainer's plan, loss, clipping and AdamW, with the encoder's passes on packed tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.optim import AdamW
from transformers import Trainer

from promax.config import OptimConfig
from promax.data.pairs import Pairs
from promax.packed import Noise, Packed, Recorded, send
from promax.train import losses
from promax.train.course import Course
from promax.train.microbatch import MicroBatches, embed_in_parts
from promax.train.plan import Plan

_Embed = Callable[[Sequence[NDArray[np.int64]], Noise], Tensor]


def train(
    encoder: SentenceTransformer,
    pairs: Pairs,
    plan: Plan,
    cfg: OptimConfig,
    seed: int,
    course: Course,
    dtype: torch.dtype,
) -> int:
    """Train `encoder` in place, where it is, until the plan or the course ends; products are taken in `dtype`.

    Parameters, their gradients and the optimizer's state stay float32. Dropout draws its own noise,
    which follows from `seed`, the step and the pair; torch's generators are not used, but for a GPU's.

    Returns:
        The pairs that went through the encoder at once in the end: `cfg.batch_size`, or less when
        memory ran out.

    Raises:
        RuntimeError: the loss is not finite, or memory runs out with a single pair.
    """
    steps = _Steps(encoder, pairs, cfg, seed, dtype)
    course.watch(steps.optimizer)
    waiting: list[tuple[NDArray[np.int64], Callable[[], float]]] = []
    for number, (rows, lr) in enumerate(zip(plan.batches, plan.lrs.tolist(), strict=True)):
        waiting.append((rows, steps.take(number, rows, lr)))
        # A step late, so that a GPU has the next one to do while this one's loss is read.
        while len(waiting) > (0 if number + 1 in plan.epoch_ends else 1):
            done, loss = waiting.pop(0)
            course.after_step(done, loss())
        if course.stopped:
            break
    return steps.micro_batches.size


class _Steps:
    def __init__(
        self, encoder: SentenceTransformer, pairs: Pairs, cfg: OptimConfig, seed: int, dtype: torch.dtype
    ) -> None:
        if encoder.device.type == "cuda":
            torch.cuda.set_device(encoder.device)
        self.micro_batches = MicroBatches(cfg.batch_size, encoder.max_seq_length)
        self.optimizer = _adamw(encoder, cfg)
        self._packed = Packed(encoder, dtype)
        self._loss = losses.build(cfg.loss, encoder)
        self._parameters = [each for each in encoder.parameters() if each.requires_grad]
        self._embed = (Recorded(self._packed, self._parameters) if self._packed.recordable else self._packed).embed
        self._max_grad_norm, self._seed, self._device = cfg.max_grad_norm, seed, encoder.device
        # Once, not in every epoch; a text that is in several pairs, once for all.
        distinct = {text: number for number, text in enumerate(dict.fromkeys([*pairs.text1, *pairs.text2]))}
        self._tokens = self._packed.tokenize(list(distinct))
        self._sides = np.array([[distinct[text] for text in side] for side in (pairs.text1, pairs.text2)]).T
        self._labels = pairs.labels.astype(np.float32)

    def take(self, number: int, rows: NDArray[np.int64], lr: float) -> Callable[[], float]:
        """One optimizer step on these rows; returns what tells their loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = self.micro_batches.attempt(lambda: self.differentiate(number, rows), len(rows))
        nn.utils.clip_grad_norm_(self._parameters, self._max_grad_norm)
        self.optimizer.step()
        return _later(loss)

    def differentiate(self, number: int, rows: NDArray[np.int64]) -> Tensor:
        """The loss of these rows, and its gradients in the parameters."""
        self.optimizer.zero_grad()

        def embed(part: dict[str, Tensor], by: _Embed = self._packed.embed) -> Tensor:
            # Seeded by the part, so that its second pass, where there is one, drops out what the first did.
            noise = Noise([self._seed, number, int(part["place"][0])], self._device)
            both = [self._tokens[text] for text in part["texts"].T.flatten().tolist()]
            return torch.stack(by(both, noise).chunk(2), 1)

        whole = {"texts": torch.from_numpy(self._sides[rows]), "place": torch.arange(len(rows))}
        size = self.micro_batches.size
        embeddings = embed(whole, self._embed) if len(rows) <= size else embed_in_parts(embed, whole, size)
        (labels,) = send([self._labels[rows]], self._device)
        loss: Tensor = self._loss.compute_loss_from_embeddings(list(embeddings.unbind(1)), labels)  # type: ignore[operator]
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def _later(loss: Tensor) -> Callable[[], float]:
    """Tells the loss when asked; on a GPU without waiting for more than the step that it belongs to."""
    if loss.device.type != "cuda":
        return loss.item
    here = torch.empty_like(loss, device="cpu", pin_memory=True)
    here.copy_(loss, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()

    def read() -> float:
        copied.synchronize()
        return here.item()

    return read


def _adamw(encoder: SentenceTransformer, cfg: OptimConfig) -> AdamW:
    """The trainer's own: biases and norms don't decay."""
    decaying = set(Trainer.get_decay_parameter_names(None, encoder))  # type: ignore[arg-type]
    trainable = {name: each for name, each in encoder.named_parameters() if each.requires_grad}
    groups = [
        {"params": [each for name, each in trainable.items() if name in decaying], "weight_decay": cfg.weight_decay},
        {"params": [each for name, each in trainable.items() if name not in decaying], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=cfg.lr, fused=True)
