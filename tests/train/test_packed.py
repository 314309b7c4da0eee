"""The packed engine's steps against the reference engine's, and `fit` with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from promax.config import OptimConfig
from promax.encoder import embed
from promax.packed import Noise, Packed
from promax.train import packed
from promax.train.losses import build

LOSSES = ["cosine", "cosent", "angle", "contrastive", "online_contrastive", "mnrl"]


def both(make: Callable[[], SentenceTransformer], lab: Any, **options: Any) -> Any:
    """Reports and encoders of the two engines, from the same start."""
    encoders = [make(), make()]
    reports = [
        lab.learn(encoder, engine=engine, keep="last", **options)
        for encoder, engine in zip(encoders, ("packed", "reference"), strict=True)
    ]
    assert [report.engine for report in reports] == ["packed fp32", "reference fp32"]
    return *reports, *encoders


@pytest.mark.parametrize("loss", LOSSES)
def test_twenty_steps_are_the_references_for_every_loss(lab: Any, loss: str) -> None:
    pairs = lab.positive if loss == "mnrl" else lab.binary
    ours, theirs, packed_encoder, encoder = both(lab.encoder, lab, pairs=pairs, loss=loss, epochs=7, lr=2e-3)
    assert len(ours.losses) == 21
    np.testing.assert_allclose(ours.losses[:20], theirs.losses[:20], rtol=1e-5)
    assert ours.lrs == theirs.lrs
    assert ours.trainable_parameters == theirs.trainable_parameters
    np.testing.assert_allclose(embed(packed_encoder, pairs.text1, 8), embed(encoder, pairs.text1, 8), atol=1e-4)


@pytest.mark.parametrize("curriculum", ["mixed", "phased"])
def test_curricula_too(lab: Any, curriculum: str) -> None:
    ours, theirs, *_ = both(lab.encoder, lab, pairs=lab.phased, curriculum=curriculum, epochs=6, batch_size=4, lr=2e-3)
    np.testing.assert_allclose(ours.losses[:20], theirs.losses[:20], rtol=1e-5)
    assert ours.examples_per_phase == theirs.examples_per_phase
    assert [epoch.phase for epoch in ours.epochs] == [epoch.phase for epoch in theirs.epochs]


def test_two_hundred_steps(lab: Any) -> None:
    """With clipping that bites and weight decay that shows."""
    options = {"epochs": 67, "lr": 1e-3, "weight_decay": 0.1, "max_grad_norm": 0.05}
    ours, theirs, *_ = both(lab.encoder, lab, loss="cosent", **options)
    assert len(ours.losses) == 201
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-3)


@pytest.mark.parametrize("loss", ["cosine", "mnrl"])
def test_full_fine_tuning_too(lab: Any, loss: str) -> None:
    pairs = lab.positive if loss == "mnrl" else lab.binary
    ours, theirs, *_ = both(lab.bare, lab, pairs=pairs, loss=loss, epochs=7, lr=1e-4, weight_decay=0.1)
    np.testing.assert_allclose(ours.losses[:20], theirs.losses[:20], rtol=1e-5)
    assert ours.trainable_parameters == theirs.trainable_parameters == 995968


# An adapter on two of three matrices that are taken as one.
ENCODERS = {
    "all_linear": lambda lab: lab.encoder(),
    "qkv": lambda lab: lab.encoder(targets=["query", "key", "value"]),
    "query_value": lambda lab: lab.encoder(targets=["query", "value"]),
    "full": lambda lab: lab.bare(),
}


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_of_a_step(lab: Any, loss: str, kind: str) -> None:
    """Oracle: the library's forward pass on each side, its loss, and autograd."""
    encoder = ENCODERS[kind](lab)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name and parameter.requires_grad:
                parameter.normal_(std=0.1)
    pairs, rows = lab.positive if loss == "mnrl" else lab.binary, np.arange(16)
    trainable = {name: each for name, each in encoder.named_parameters() if each.requires_grad}
    sides = [encoder.preprocess([texts[row] for row in rows]) for texts in (pairs.text1, pairs.text2)]
    embeddings = [encoder(side)["sentence_embedding"] for side in sides]
    build(loss, encoder).compute_loss_from_embeddings(embeddings, torch.tensor(pairs.labels[rows]).float()).backward()
    expected = {name: each.grad.clone() for name, each in trainable.items()}
    steps = packed._Steps(encoder, pairs, OptimConfig(loss=loss, batch_size=16), 0, torch.float32)
    steps.differentiate(0, rows)
    scale = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(trainable[name].grad, gradient, rtol=1e-5, atol=1e-5 * scale.item(), msg=name)
    assert scale > 1e-4


def test_two_runs_are_bitwise_equal_and_the_seed_counts(lab: Any) -> None:
    def learn(seed: int, disturbance: int) -> Any:
        torch.manual_seed(disturbance)
        encoder = lab.encoder(dropout=0.3)
        report = lab.learn(encoder, seed=seed, engine="packed", precision="bf16")
        return report.losses, {name: each.clone() for name, each in encoder.named_parameters()}

    (first, state), (second, again), (other, _) = learn(5, 1), learn(5, 2), learn(6, 1)
    assert first == second != other
    assert all(torch.equal(state[name], again[name]) for name in state)


def test_dropout_is_on_while_training(lab: Any) -> None:
    """The same seed, rates and pairs, and a loss that only dropout can change; evaluation has none."""
    dry, wet = lab.encoder(), lab.encoder(dropout=0.5)
    # While B is 0 an adapter adds nothing, whatever is dropped out of it.
    losses = [lab.learn(each, engine="packed").losses for each in (dry, wet)]
    assert losses[0][0] == losses[1][0]
    assert losses[0][2] != losses[1][2]


def test_bf16_keeps_what_is_trained_in_float32(lab: Any) -> None:
    steps = packed._Steps(lab.encoder(), lab.binary, OptimConfig(batch_size=16), 0, torch.bfloat16)
    steps.take(0, np.arange(16), 1e-3)
    assert len(steps.optimizer.state) == 24
    for parameter, state in steps.optimizer.state.items():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert {value.dtype for value in state.values()} == {torch.float32}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_out_of_memory_leaves_the_loss_as_it_was(
    lab: Any, monkeypatch: pytest.MonkeyPatch, dropout: float, caplog: pytest.LogCaptureFixture
) -> None:
    """8 pairs at once, then 4, then 2, which stays; and a part's second pass drops out what its first did."""
    whole = lab.learn(lab.encoder(), lab.positive, loss="mnrl", engine="packed")
    honest, keys = Packed.embed, []

    def scarce(self: Packed, texts: Any, noise: Any) -> torch.Tensor:
        if len(texts) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return honest(self, texts, noise)

    def recorded(key: list[int], device: torch.device) -> Noise:
        keys.append(tuple(key))
        return Noise(key, device)

    monkeypatch.setattr(packed, "Noise", recorded)
    monkeypatch.setattr(Packed, "embed", scarce)
    split = lab.learn(lab.encoder(dropout), lab.positive, loss="mnrl", engine="packed", epochs=2)
    assert split.micro_batch_size == 2
    assert [message for message in caplog.messages if "out of memory" in message] == [
        "out of memory with 8 pairs at once; from now on 4 at once, the effective batch stays 8",
        "out of memory with 4 pairs at once; from now on 2 at once, the effective batch stays 8",
    ]
    if not dropout:
        np.testing.assert_allclose(split.losses, whole.losses, rtol=1e-4)
    # The last step embeds its four parts, then each again, with the noise of its first pass.
    assert keys[-8:-4] == [(0, 5, 0), (0, 5, 2), (0, 5, 4), (0, 5, 6)]
    assert sorted(keys[-4:]) == keys[-8:-4]


def test_an_encoder_it_does_not_know_goes_to_the_reference_and_the_log_says_why(
    lab: Any, tiny: SentenceTransformer, caplog: pytest.LogCaptureFixture
) -> None:
    tiny[1].pooling_mode = "lasttoken"
    with caplog.at_level(logging.INFO, logger="promax.train"):
        report = lab.learn(tiny, engine="packed")
    assert report.engine == "reference fp32"
    assert caplog.messages == [
        "engine=packed can't take this encoder, so engine=reference does: its pooling is lasttoken"
    ]


def test_patience_and_the_best_epoch_are_the_courses(lab: Any, tiny: SentenceTransformer) -> None:
    scores = iter([0.3, 0.9, 0.1, 0.2, 0.8])
    states = []

    def dev() -> dict[str, float]:
        states.append([each.detach().clone() for each in tiny.parameters() if each.requires_grad])
        return {"spearman": next(scores)}

    report = lab.learn(tiny, engine="packed", epochs=9, patience=2, schedule="constant", warmup_ratio=0.0, dev=dev)
    assert (report.stopped_early, report.epochs_run, report.best_epoch, report.steps) == (True, 4, 2, 12)
    kept = [each for each in tiny.parameters() if each.requires_grad]
    assert all(torch.equal(one, other) for one, other in zip(kept, states[1], strict=True))
    assert not tiny.training


def test_a_diverging_run_stops_with_step_and_loss(lab: Any, tiny: SentenceTransformer) -> None:
    with torch.no_grad():
        next(each for name, each in tiny.named_parameters() if "lora_B" in name).fill_(float("nan"))
    with pytest.raises(RuntimeError, match=r"the loss is nan at step 1 of 6; try a lower optim\.lr than 0\.01"):
        lab.learn(tiny, engine="packed")


def test_it_leaves_torchs_generator_alone(lab: Any) -> None:
    torch.manual_seed(3)
    expected = torch.random.get_rng_state()
    encoder = lab.encoder(dropout=0.3)
    torch.random.set_rng_state(expected)
    lab.learn(encoder, engine="packed")
    assert torch.equal(torch.random.get_rng_state(), expected)
