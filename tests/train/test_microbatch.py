"""Memory that runs out: batches are split, and every loss stays what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from promax.encoder import embed
from promax.train.microbatch import MicroBatches, embed_in_parts, is_out_of_memory

LOSSES = ["cosine", "cosent", "angle", "contrastive", "online_contrastive", "mnrl"]


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
def test_out_of_memory_leaves_every_loss_as_it_was(lab: Any, loss: str, caplog: pytest.LogCaptureFixture) -> None:
    """Adding up the parts' losses would change all but cosine and contrastive."""
    pairs = lab.positive if loss == "mnrl" else lab.binary
    whole, split = lab.encoder(), lab.encoder()
    undisturbed = lab.learn(whole, pairs, loss=loss, epochs=3, keep="last")
    memory = Memory(limit=3, error=ERRORS[LOSSES.index(loss) % len(ERRORS)])
    with memory.of(split):
        report = lab.learn(split, pairs, loss=loss, epochs=3, keep="last")
    # 8 at once, then 4, then 2, which stays.
    assert memory.refusals == 2
    assert report.micro_batch_size == 2
    assert report.losses == pytest.approx(undisturbed.losses, abs=1e-5, rel=1e-5)
    np.testing.assert_allclose(embed(split, pairs.text1, 8), embed(whole, pairs.text1, 8), atol=1e-4)
    assert caplog.messages == [
        "out of memory with 8 pairs at once; from now on 4 at once, the effective batch stays 8",
        "out of memory with 4 pairs at once; from now on 2 at once, the effective batch stays 8",
    ]


def test_memory_that_runs_out_on_the_way_back_is_no_different(lab: Any) -> None:
    """Half of a batch's gradients are there when the error strikes; they must not be counted twice."""
    whole, split = lab.encoder(), lab.encoder()
    undisturbed = lab.learn(whole)
    strikes = iter([True])

    def fail_once(gradient: torch.Tensor) -> None:
        assert any(each.grad is not None for each in split.parameters())
        if next(strikes, False):
            raise RuntimeError("CUDA out of memory.")

    split.transformers_model.encoder.layer[0].attention.self.query.lora_A.default.weight.register_hook(fail_once)
    report = lab.learn(split)
    assert report.micro_batch_size == 4
    assert report.losses == pytest.approx(undisturbed.losses, abs=1e-5)


def test_one_pair_that_does_not_fit_ends_the_run_with_advice(lab: Any, tiny: SentenceTransformer) -> None:
    with Memory(0, ERRORS[0]).of(tiny), pytest.raises(RuntimeError) as stopped:
        lab.learn(tiny)
    assert str(stopped.value) == (
        "out of memory with one pair at a time (optim.batch_size=8, texts of up to 32 tokens); "
        "try model.max_seq_length=16"
    )
    assert isinstance(stopped.value.__cause__, torch.OutOfMemoryError)


def test_other_errors_are_not_taken_for_memory(lab: Any, tiny: SentenceTransformer) -> None:
    memory = Memory(0, lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with memory.of(tiny), pytest.raises(RuntimeError, match="mat1 and mat2"):
        lab.learn(tiny)
    assert memory.refusals == 1


def test_a_short_last_batch_is_halved_from_its_own_size() -> None:
    asked: list[int] = []
    micro_batches = MicroBatches(16, 32)

    def step() -> str:
        asked.append(micro_batches.size)
        if micro_batches.size > 2:
            raise MemoryError
        return "done"

    assert micro_batches.attempt(step, pairs=5) == "done"
    assert asked == [16, 2]


def test_torchs_own_error_is_recognised() -> None:
    """A real one: an exbibyte in one tensor."""
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)


def test_dropout_draws_the_same_masks_in_both_passes_of_a_part(lab: Any) -> None:
    """Oracle: the derivative along a direction by a central difference, with the masks held by the seed."""
    encoder = lab.encoder(dropout=0.5).train()
    features = encoder.preprocess(lab.binary.text1[:6])

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


def test_parts_hold_the_activations_of_one_part_at_a_time(lab: Any, tiny: SentenceTransformer) -> None:
    """What autograd saves for the way back, split in four, is far less than for the whole batch."""
    features = tiny.train().preprocess(lab.binary.text1[:8])

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
