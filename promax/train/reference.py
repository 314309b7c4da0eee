"""The reference engine: sentence-transformers' own trainer, on the plan's batches and learning rates.

The library decides how a step is taken: tokenization, padding, loss, clipping, AdamW and which
parameters decay. What it would choose by itself is taken from it: the order of the data, the
schedule, the device, what it prints and writes, and the training texts it copies into model cards.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.trainer import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState

from promax.config import OptimConfig
from promax.data.pairs import Pairs
from promax.train import losses
from promax.train.course import Course
from promax.train.microbatch import MicroBatches, embed_in_parts
from promax.train.plan import Plan


def train(encoder: SentenceTransformer, pairs: Pairs, plan: Plan, cfg: OptimConfig, seed: int, course: Course) -> int:
    """Train `encoder` in place, where it is, until the plan or the course ends.

    Dropout draws from torch's global generators, seeded with `seed` first.

    Returns:
        The pairs that went through the encoder at once in the end: `cfg.batch_size`, or less when
        memory ran out.

    Raises:
        RuntimeError: the loss is not finite, or memory runs out with a single pair.
    """
    with TemporaryDirectory() as folder:
        trainer = _Trainer(encoder, pairs, plan, cfg, seed, course, Path(folder))
        trainer.train()
        return int(trainer.micro_batches.size)


class _Arguments(SentenceTransformerTrainingArguments):
    """The library's arguments, for one device: it would take the first GPU and spread batches over all."""

    def __init__(self, on: torch.device, **kwargs: Any) -> None:
        self.on = on  # first, since the library asks for the device while it builds the rest
        super().__init__(**kwargs)

    @property
    def device(self) -> torch.device:
        super().device  # noqa: B018 (sets up the library's own record of the device)
        if self.on.type == "cuda":
            # Accelerate places the model on whichever GPU is the current one.
            torch.cuda.set_device(self.on)
        return self.on

    @property
    def n_gpu(self) -> int:
        return min(1, int(super().n_gpu))


def _arguments(encoder: SentenceTransformer, plan: Plan, cfg: OptimConfig, seed: int, folder: Path) -> _Arguments:
    """The plan's steps in one pass, on the encoder's device, with nothing printed, logged or saved."""
    return _Arguments(
        on=encoder.device,
        output_dir=str(folder),
        max_steps=plan.steps,
        per_device_train_batch_size=cfg.batch_size,
        learning_rate=cfg.lr,
        weight_decay=cfg.weight_decay,
        max_grad_norm=cfg.max_grad_norm,
        seed=seed,
        use_cpu=encoder.device.type == "cpu",
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        report_to="none",
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )


class _Trainer(SentenceTransformerTrainer):
    def __init__(
        self,
        encoder: SentenceTransformer,
        pairs: Pairs,
        plan: Plan,
        cfg: OptimConfig,
        seed: int,
        course: Course,
        folder: Path,
    ) -> None:
        super().__init__(
            model=encoder,
            args=_arguments(encoder, plan, cfg, seed, folder),
            loss=losses.build(cfg.loss, encoder),
        )
        self.remove_callback(PrinterCallback)
        self.add_callback(_AfterStep(self))
        self.micro_batches = MicroBatches(cfg.batch_size, encoder.max_seq_length)
        self.course = course
        self.last_rows, self.last_loss = np.empty(0, np.int64), float("nan")
        self._pairs, self._plan, self._base_lr = pairs, plan, cfg.lr

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: the library's copies training texts into `encoder.model_card_data`."""

    def get_train_dataloader(self) -> DataLoader[dict[str, Any]]:
        columns = zip(self._pairs.text1, self._pairs.text2, self._pairs.labels.tolist(), strict=True)
        rows = [
            {"row": row, "text1": text1, "text2": text2, "label": label}
            for row, (text1, text2, label) in enumerate(columns)
        ]
        batches = [batch.tolist() for batch in self._plan.batches]
        return DataLoader(rows, batch_sampler=batches, collate_fn=self._collate)  # type: ignore[arg-type]

    def _collate(self, batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
        rows = np.array([each["row"] for each in batch])
        texts = [{name: value for name, value in each.items() if name != "row"} for each in batch]
        return {**self.data_collator(texts), "rows": rows}

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        optimizer: Optimizer = super().create_optimizer(model)
        self.course.watch(optimizer)
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LRScheduler:
        # The scheduler also asks for the rate of the step after the last.
        factors = [*(self._plan.lrs / self._base_lr).tolist(), 0.0]
        scheduler = LambdaLR(optimizer or self.optimizer, lambda step: factors[step])  # type: ignore[arg-type]
        self.lr_scheduler = scheduler
        return scheduler

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        self.last_rows = inputs.pop("rows")

        def step() -> Tensor:
            model.zero_grad()
            loss: Tensor = super(_Trainer, self).training_step(model, dict(inputs), num_items_in_batch)
            return loss

        loss = self.micro_batches.attempt(step, len(self.last_rows))
        self.last_loss = loss.item()
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if len(self.last_rows) <= self.micro_batches.size:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[arg-type]
        features, labels = self.collect_features(inputs)

        def embed(part: dict[str, Tensor]) -> Tensor:
            embeddings: Tensor = model(part)["sentence_embedding"]
            return embeddings

        embeddings = [embed_in_parts(embed, side, self.micro_batches.size) for side in features]
        loss: Any = self.loss
        return loss.compute_loss_from_embeddings(embeddings, labels)


class _AfterStep(TrainerCallback):
    def __init__(self, trainer: _Trainer) -> None:
        self._trainer = trainer

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        course = self._trainer.course
        course.after_step(self._trainer.last_rows, self._trainer.last_loss)
        if course.stopped:
            control.should_training_stop = True
