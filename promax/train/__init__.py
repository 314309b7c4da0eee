"""Training: a plan, an engine that carries it out, and the proof that it did.

`plan` fixes batches, phases and learning rates; `losses` checks that the labels mean something to
the loss; an engine takes the steps; `course` scores, keeps the best and reports; `alive` compares
what the optimizer did with what was asked for. Everything but the engine is the same for all engines.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from promax.config import ConfigError, OptimConfig
from promax.data.groups import components
from promax.data.pairs import Pairs
from promax.train.losses import check_labels
from promax.train.plan import Plan, make_plan
from promax.train.record import EpochRecord, FitReport

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["EpochRecord", "FitReport", "fit", "plan_for"]

_logger = logging.getLogger(__name__)


def plan_for(pairs: Pairs, cfg: OptimConfig, seed: int) -> Plan:
    """Every batch and learning rate of a run on `pairs`, before anything slow happens.

    Raises:
        ConfigError: labels that the loss would ignore or learn nothing from, a curriculum or batch
            size that doesn't fit the pairs.
    """
    check_labels(cfg.loss, pairs.labels, pairs.phases, cfg.curriculum)
    tickets = pairs.tickets()
    return make_plan(pairs.labels, pairs.phases, cfg, seed, groups=components(tickets)[tickets[:, 0]])


def fit(
    encoder: SentenceTransformer,
    pairs: Pairs,
    cfg: OptimConfig,
    engine: str,
    seed: int,
    dev_score: Callable[[], dict[str, float]],
    on_epoch: Callable[[EpochRecord], None],
    precision: str = "auto",
    label: str | None = None,
) -> FitReport:
    """Train `encoder` in place on its own device; it ends in evaluation mode.

    Its parameters are then those of the best epoch by `dev[cfg.select_by]` (keep=best) or of the
    last (keep=last). Everything drawn at random follows from `seed`: two calls with equal arguments
    on one machine give bitwise equal reports, `seconds` aside. The reference engine re-seeds torch's,
    numpy's and Python's global generators on the way.

    Args:
        encoder: its parameters with `requires_grad` are trained.
        pairs: the training pairs.
        cfg: how; `cfg.epochs` is at least 1.
        engine: which engine takes the steps: "packed" where it can take this encoder, else, as the log then
            says, "reference", sentence-transformers' trainer.
        seed: of shuffling and dropout.
        dev_score: dev metrics of the encoder as it is; called after each epoch.
        on_epoch: told of each epoch, after `dev_score`.
        precision: of the packed engine, "auto", "fp32", "bf16" or "portable".
        label: what the line of each epoch begins with; with one, no bar is shown.

    Raises:
        ConfigError: as `plan_for`; an encoder without a trainable parameter; a `select_by` without a value on dev
            after the first epoch; an unknown engine.
        RuntimeError: the loss is not finite, memory runs out with one pair at a time, or what the
            optimizer did is not what was configured.
    """
    if engine not in ("packed", "reference"):
        raise ConfigError(f"engine={engine}: must be packed or reference")
    plan = plan_for(pairs, cfg, seed)

    # Here, so that a refusal comes before torch is loaded.
    from promax.packed import name_of, reasons_against, resolve
    from promax.train import alive, packed, reference
    from promax.train.course import Course

    before = alive.trainable_state(encoder)
    if not before:
        raise ConfigError("model: the encoder has no trainable parameter; optim.epochs=0 scores it as it is")
    against = reasons_against(encoder) if engine == "packed" else []
    if against:
        _logger.info("engine=packed can't take this encoder, so engine=reference does: %s", "; ".join(against))
    with Course(encoder, plan, cfg, dev_score, on_epoch, label) as course:
        if engine == "packed" and not against:
            dtype = resolve(precision, encoder.device)
            used = f"packed {name_of(dtype)}"
            micro_batch_size = packed.train(encoder, pairs, plan, cfg, seed, course, dtype)
        else:
            used = "reference fp32"
            micro_batch_size = reference.train(encoder, pairs, plan, cfg, seed, course)
    report = dataclasses.replace(course.report(micro_batch_size), engine=used)
    alive.verify(report, plan, cfg, sum(tensor.numel() for tensor in before.values()))
    alive.verify_moved(before, encoder)
    if cfg.keep == "best":
        course.best.restore(encoder)
    encoder.eval()
    return report
