"""Training: a plan, an engine that carries it out, and the proof that it did.

`plan` fixes batches, phases and learning rates; `losses` checks that the labels mean something to
the loss; an engine takes the steps; `course` scores, keeps the best and reports; `alive` compares
what the optimizer did with what was asked for. Everything but the engine is the same for all engines.
"""

from __future__ import annotations

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
) -> FitReport:
    """Train `encoder` in place on its own device; it ends in evaluation mode.

    Its parameters are then those of the best epoch by `dev[cfg.select_by]` (keep=best) or of the
    last (keep=last). Everything drawn at random follows from `seed`: two calls with equal arguments
    on one machine give bitwise equal reports, `seconds` aside. torch's, numpy's and Python's global
    generators are re-seeded on the way.

    Args:
        encoder: its parameters with `requires_grad` are trained.
        pairs: the training pairs.
        cfg: how; `cfg.epochs` is at least 1.
        engine: which engine takes the steps; today "reference", sentence-transformers' trainer.
        seed: of shuffling and dropout.
        dev_score: dev metrics of the encoder as it is; called after each epoch.
        on_epoch: told of each epoch, after `dev_score`.

    Raises:
        ConfigError: as `plan_for`; a `select_by` that dev doesn't have; an unknown engine.
        RuntimeError: the loss is not finite, memory runs out with one pair at a time, or what the
            optimizer did is not what was configured.
    """
    if engine != "reference":
        raise ConfigError(f"engine={engine}: must be reference")
    plan = plan_for(pairs, cfg, seed)

    # Here, so that a refusal comes before torch is loaded.
    from promax.train import alive, reference
    from promax.train.course import Course

    before = alive.trainable_state(encoder)
    if not before:
        raise ConfigError(f"optim.epochs={cfg.epochs}: the encoder has no trainable parameter")
    with Course(encoder, plan, cfg, dev_score, on_epoch) as course:
        micro_batch_size = reference.train(encoder, pairs, plan, cfg, seed, course)
    report = course.report(micro_batch_size)
    alive.verify(report, plan, cfg, sum(tensor.numel() for tensor in before.values()))
    alive.verify_moved(before, encoder)
    if cfg.keep == "best":
        course.best.restore(encoder)
    encoder.eval()
    return report
