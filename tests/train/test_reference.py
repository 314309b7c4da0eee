"""The reference engine and `fit` around it: the library's trainer, on the plan, and nothing else of its own."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from promax.config import ConfigError, OptimConfig
from promax.encoder import embed
from promax.train import EpochRecord, fit, reference
from promax.train.plan import make_plan

LOSSES = ["cosine", "cosent", "angle", "contrastive", "online_contrastive", "mnrl"]


def state_of(encoder: SentenceTransformer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in encoder.state_dict().items()}


def same_state(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_and_goes_down(lab: Any, tiny: SentenceTransformer, loss: str) -> None:
    pairs = lab.positive if loss == "mnrl" else lab.binary
    report = lab.learn(tiny, pairs, loss=loss, epochs=8)
    assert report.epochs[-1].loss < 0.9 * report.epochs[0].loss
    assert (report.steps, report.epochs_run) == (24, 8)
    # By hand: in two blocks, r = 4 times in + out of q, k, v and o (32 + 32) and of both feed-forward layers (32 + 64).
    assert report.trainable_parameters == 2 * 4 * (4 * (32 + 32) + 2 * (32 + 64)) == 3584
    assert report.examples_per_phase == {0: 8 * 24}
    assert report.micro_batch_size == 8
    assert [record.loss for record in report.epochs] == pytest.approx(
        [np.mean(report.losses[3 * epoch : 3 * epoch + 3]) for epoch in range(8)]
    )


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("curriculum", ["none", "mixed", "phased"])
def test_schedules_and_curricula(lab: Any, tiny: SentenceTransformer, schedule: str, curriculum: str) -> None:
    report = lab.learn(tiny, lab.phased, schedule=schedule, curriculum=curriculum, epochs=6, batch_size=4)
    assert report.examples_per_phase == ({1: 16, 2: 16, 3: 16} if curriculum == "phased" else {1: 48, 2: 48, 3: 48})
    expected = [1, 1, 2, 2, 3, 3] if curriculum == "phased" else [None] * 6
    assert [record.phase for record in report.epochs] == expected
    assert [record.lr for record in report.epochs] == [report.lrs[record.step - 1] for record in report.epochs]


def test_a_step_is_the_one_of_plain_torch(lab: Any) -> None:
    """Oracle: AdamW written out, with clipping, on the same batches, learning rates and weight decay."""
    cfg = OptimConfig(lr=1e-2, epochs=2, batch_size=8, weight_decay=0.1, max_grad_norm=0.05)
    trained, plain = lab.encoder(), lab.encoder()
    report = lab.learn(trained, weight_decay=0.1, max_grad_norm=0.05, keep="last")
    plan = make_plan(lab.binary.labels, None, cfg, seed=0)
    # No bias and no norm is trainable here, so everything decays.
    parameters = [each for each in plain.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.1)
    losses = []
    for rows, lr in zip(plan.batches, plan.lrs, strict=True):
        sides = [plain.preprocess([texts[row] for row in rows]) for texts in (lab.binary.text1, lab.binary.text2)]
        u, v = (plain(side)["sentence_embedding"] for side in sides)
        loss = (torch.cosine_similarity(u, v) - torch.tensor(lab.binary.labels[rows]).float()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.05)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        losses.append(loss.item())
    assert report.losses == pytest.approx(losses, rel=1e-5)
    np.testing.assert_allclose(embed(trained, lab.binary.text1, 8), embed(plain, lab.binary.text1, 8), atol=1e-5)


def test_two_runs_are_bitwise_equal_whatever_was_drawn_between(lab: Any) -> None:
    runs = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        np.random.seed(disturbance)
        encoder = lab.encoder(dropout=0.3)
        report = lab.learn(encoder, seed=5)
        assert torch.initial_seed() == 5
        runs.append((report.losses, state_of(encoder)))
    assert runs[0][0] == runs[1][0]
    assert same_state(runs[0][1], runs[1][1])
    assert lab.learn(lab.encoder(dropout=0.3), seed=6).losses != runs[0][0]


def test_the_best_epoch_over_all_phases_is_restored(lab: Any, tiny: SentenceTransformer) -> None:
    """FACTS 15: phases 1, 2, 3 at epochs 1-2, 3-4, 5-6; the best is in phase 1, later phases are worse."""
    scores = iter([0.3, 0.9, 0.1, 0.5, 0.2, 0.6])
    states: list[dict[str, torch.Tensor]] = []

    def dev() -> dict[str, float]:
        states.append(state_of(tiny))
        return {"spearman": 0.0, "roc_auc": next(scores)}

    report = lab.learn(tiny, lab.phased, dev=dev, curriculum="phased", epochs=6, batch_size=4, select_by="roc_auc")
    assert report.best_epoch == 2
    assert same_state(state_of(tiny), states[1])
    assert not same_state(states[1], states[5])
    assert not tiny.training


def test_keep_last_keeps_the_last(lab: Any, tiny: SentenceTransformer) -> None:
    scores = iter([0.9, 0.1])
    states: list[dict[str, torch.Tensor]] = []

    def dev() -> dict[str, float]:
        states.append(state_of(tiny))
        return {"spearman": next(scores)}

    report = lab.learn(tiny, dev=dev, keep="last")
    assert report.best_epoch == 1
    assert same_state(state_of(tiny), states[1])


def test_patience_stops_the_trainer(lab: Any, tiny: SentenceTransformer) -> None:
    scores = iter([0.5, 0.4, 0.3, 0.9])
    cfg = OptimConfig(lr=1e-2, epochs=4, batch_size=8, patience=2)
    report = fit(tiny, lab.binary, cfg, "reference", 0, lambda: {"spearman": next(scores)}, lambda record: None)
    assert (report.stopped_early, report.epochs_run, report.steps) == (True, 3, 9)
    assert report.peak_lr == cfg.lr


def test_the_encoder_keeps_its_frozen_weights_and_its_device(lab: Any, tiny: SentenceTransformer) -> None:
    before = state_of(tiny)
    lab.learn(tiny)
    changed = {name for name, tensor in tiny.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if "lora_" in name}
    assert tiny.device == torch.device("cpu")


def test_the_trainer_stays_on_the_encoders_one_device(
    lab: Any, tiny: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would move the encoder to the first GPU, and split batches over all it counts."""
    cfg, folder = OptimConfig(), Path("unused")
    plan = make_plan(lab.binary.labels, None, cfg, seed=0)
    assert reference._arguments(tiny, plan, cfg, 0, folder).use_cpu
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    elsewhere: Any = SimpleNamespace(device=torch.device("cuda:2"))
    arguments = reference._arguments(elsewhere, plan, cfg, 0, folder)
    assert (arguments.device, arguments.n_gpu, arguments.use_cpu) == (torch.device("cuda:2"), 1, False)
    assert set(current) == {torch.device("cuda:2")}


def test_dropout_is_on_while_training_though_dev_turns_it_off(lab: Any) -> None:
    encoder = lab.encoder(dropout=0.3)
    modes: list[bool] = []
    encoder[0].register_forward_pre_hook(lambda module, inputs: modes.append(module.training))

    def dev() -> dict[str, float]:
        encoder.eval()
        return {"spearman": 0.5}

    lab.learn(encoder, dev=dev)
    assert modes == [True] * 2 * 6


def test_no_text_stays_behind(
    lab: Any,
    tiny: SentenceTransformer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """FACTS 17, 22: the library's model card quotes training texts, unless it never saw them."""
    monkeypatch.chdir(tmp_path)
    card = copy.deepcopy({k: v for k, v in vars(tiny.model_card_data).items() if k != "model"})
    with caplog.at_level(logging.DEBUG):
        report = lab.learn(tiny)
    assert {k: v for k, v in vars(tiny.model_card_data).items() if k != "model"} == card
    captured = capfd.readouterr()
    assert lab.secret not in caplog.text + captured.out + captured.err + repr(report)
    assert list(tmp_path.iterdir()) == []
    tiny.save(str(tmp_path / "saved"))
    files = [path for path in (tmp_path / "saved").rglob("*") if path.is_file() and "token" not in path.name]
    assert len(files) >= 5
    # Its vocabulary has the word, as any English one may.
    assert [path.name for path in files if path.suffix in {".md", ".json"} and lab.secret in path.read_text()] == []


def test_progress_is_a_line_an_epoch_on_stderr_alone(
    lab: Any, tiny: SentenceTransformer, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    report = lab.learn(tiny)
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first.startswith(f"epoch 1/2: loss {report.epochs[0].loss:.4f}, dev spearman 0.5000, best 0.5000, 00:0")
    assert second.endswith("00:00 left")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interruption_passes_through(lab: Any, tiny: SentenceTransformer, interruption: type[BaseException]) -> None:
    def on_epoch(record: EpochRecord) -> None:
        raise interruption

    with pytest.raises(interruption):
        lab.learn(tiny, on_epoch=on_epoch)


def test_a_diverging_run_stops_with_step_and_loss(lab: Any, tiny: SentenceTransformer) -> None:
    with torch.no_grad():
        next(each for name, each in tiny.named_parameters() if "lora_B" in name).fill_(float("nan"))
    with pytest.raises(RuntimeError, match=r"the loss is nan at step 1 of 6; try a lower optim\.lr than 0\.01"):
        lab.learn(tiny)


def test_refusals(lab: Any, tiny: SentenceTransformer) -> None:
    with pytest.raises(ConfigError, match=r"engine=warp: must be packed or reference"):
        fit(tiny, lab.binary, OptimConfig(), "warp", 0, dict, lambda record: None)
    with pytest.raises(ConfigError, match=r"optim\.loss=mnrl: takes every pair for a positive one, but 12 of 24"):
        lab.learn(tiny, loss="mnrl")
    with pytest.raises(ConfigError, match=r"optim\.select_by=pr_auc: has no value on dev .*; dev has spearman"):
        lab.learn(tiny, select_by="pr_auc")
    tiny.requires_grad_(False)
    with pytest.raises(ConfigError, match="the encoder has no trainable parameter"):
        lab.learn(tiny)


def test_a_trainer_that_goes_its_own_way_is_caught(
    lab: Any, tiny: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FACTS 10, planted in the library's trainer itself: its own default learning rate instead of the config's."""
    honest = reference._arguments

    def careless(*args: Any) -> Any:
        arguments = honest(*args)
        arguments.learning_rate = 2e-5
        return arguments

    monkeypatch.setattr(reference, "_arguments", careless)
    with pytest.raises(RuntimeError, match=r"peak learning rate: 2e-05, but configured 0\.01"):
        lab.learn(tiny)


def test_an_optimizer_over_copies_is_caught(
    lab: Any, tiny: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FACTS 12, planted: the right rates, steps and counts, and an encoder that stays what it was."""

    def create_optimizer(self: Any, model: Any = None) -> torch.optim.Optimizer:
        copies = [each.detach().clone().requires_grad_() for each in tiny.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(copies, lr=1e-2)
        self.course.watch(self.optimizer)
        return self.optimizer

    monkeypatch.setattr(reference._Trainer, "create_optimizer", create_optimizer)
    with pytest.raises(RuntimeError, match="none of the encoder's 24 trainable tensors changed"):
        lab.learn(tiny)


def test_mnrl_never_has_one_text_twice_in_a_batch(lab: Any, tiny: SentenceTransformer) -> None:
    """8 texts in 3 pairs each, and 3 batches: another pair's text would be a false negative."""
    shared = replace(lab.positive, text1=[f"printer {row % 8}" for row in range(24)])
    batches: list[list[list[int]]] = []
    tiny[0].register_forward_pre_hook(lambda module, args: batches.append(args[0]["input_ids"].tolist()))
    lab.learn(tiny, shared, loss="mnrl")
    assert [len(batch) for batch in batches] == [8] * 12
    assert [len({tuple(ids) for ids in batch}) for batch in batches[::2]] == [8] * 6


def test_full_fine_tuning_too(lab: Any) -> None:
    """Weight decay spares biases and norms; the pooler, of no use here, is frozen as `promax.encoder.load` does."""
    encoder = lab.encoder()
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad = "lora_" not in name and "pooler" not in name
    report = lab.learn(encoder, lr=1e-3)
    # 30,522 + 64 + 2 embeddings and their norm; 2 layers of 4 matrices 32x32 and 2 of 32x64, biases, 2 norms.
    assert report.trainable_parameters == 30588 * 32 + 64 + 2 * (4 * 1056 + 64 * 33 + 32 * 65 + 2 * 64) == 995968


def test_a_second_fit_of_the_same_encoder_goes_on_from_the_first(lab: Any, tiny: SentenceTransformer) -> None:
    first = lab.learn(tiny, epochs=4)
    second = lab.learn(tiny, epochs=4)
    assert second.epochs[0].loss < first.epochs[0].loss
    assert replace(second, epochs=[], losses=[], seconds=0.0) == replace(first, epochs=[], losses=[], seconds=0.0)
