"""The adversarial diagnostic, on planted pairs and encoders whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score, roc_auc_score

from promax import adversarial
from promax.adversarial import LEAST, NO_CATEGORIES, Diagnosis, diagnose, select
from promax.cli import main
from promax.config import AdversarialConfig, EvalConfig
from promax.data import corpus
from promax.data.pairs import Pairs
from promax.evaluate import GRADED, NO_DEV, Embed
from promax.tracking import RunInfo, open_store, read_scores, read_text, runs_of

CFG = EvalConfig(bootstrap=200)
CATEGORIES = ("Mail", "Network", "Printing", "Identity")
WORDS = 10  # in a text


def pairs_of(across: int, within: int, ordinary: int = 40, seed: int = 0, name: str = "t") -> Pairs:
    """Positives across categories, negatives within one, and ordinary pairs of both classes; no ticket twice.

    The tickets of a pair share one to six of ten words, whatever their label.
    """
    random = np.random.default_rng(seed)
    kinds = [(1.0, False)] * across + [(0.0, True)] * within + [(1.0, True), (0.0, False)] * ordinary
    text1, text2, category1, category2 = [], [], [], []
    for row, (_, same) in enumerate(kinds):
        words = [f"word{n}" for n in random.choice(400, size=2 * WORDS, replace=False)]
        shared = int(random.integers(1, 7))
        text1.append(" ".join([f"{name}{row}a", *words[:WORDS]]))
        text2.append(" ".join([f"{name}{row}b", *words[WORDS - shared : 2 * WORDS - shared]]))
        first = int(random.integers(4))
        category1.append(CATEGORIES[first])
        category2.append(CATEGORIES[first if same else (first + 1) % 4])
    labels = np.array([label for label, _ in kinds])
    ids = [str(row) for row in range(len(kinds))]
    return Pairs(text1, text2, labels, ids, [f"{each}b" for each in ids], None, category1, category2)


def on_a_circle(*sides: tuple[Pairs, NDArray[np.float64]]) -> Embed:
    """An encoder that gives pair i of each side the cosine cos(angles[i])."""
    turn = {text: 0.0 for pairs, _ in sides for text in pairs.text1}
    turn |= {text: angle for pairs, angles in sides for text, angle in zip(pairs.text2, angles, strict=True)}

    def embed(texts: list[str]) -> NDArray[np.float32]:
        at = np.array([turn[text] for text in texts])
        return np.column_stack([np.cos(at), np.sin(at)]).astype(np.float32)

    return embed


def knowing(*sides: Pairs) -> Embed:
    """An encoder that knows the truth."""
    return on_a_circle(*((pairs, np.where(pairs.labels == 1, 0.1, 1.5)) for pairs in sides))


def leaning_on_the_category(*sides: Pairs) -> Embed:
    """An encoder to which two tickets of one category are the same."""
    return on_a_circle(
        *(
            (pairs, np.where(np.array(pairs.category1) == np.array(pairs.category2), 0.0, 1.5))
            for pairs in sides
            if pairs.category1 is not None and pairs.category2 is not None
        )
    )


def counting_words(*sides: Pairs) -> Embed:
    """TF-IDF as an encoder."""
    vectorizer = TfidfVectorizer().fit([text for pairs in sides for text in pairs.text1 + pairs.text2])
    return lambda texts: vectorizer.transform(texts).toarray().astype(np.float32)


def never_asked(texts: list[str]) -> NDArray[np.float32]:
    raise AssertionError("there is nothing to judge by, so no encoder is asked")


TEST, DEV = pairs_of(90, 120), pairs_of(5, 5, seed=1, name="d")


def diagnosed(embed: Embed, pairs: Pairs = TEST, dev: Pairs | None = DEV, **bounds: Any) -> Diagnosis:
    cfg = replace(CFG, adversarial=AdversarialConfig(**bounds))
    return diagnose(embed, pairs, dev, cfg, positive_from=None, seed=0)


def test_an_encoder_that_knows_the_truth_passes() -> None:
    found = diagnosed(knowing(TEST, DEV))
    assert (found.status, found.reasons) == ("passed", [])
    assert (found.metrics["roc_auc"], found.metrics["f1"]) == (1.0, 1.0)
    assert found.metrics["over_control"] == 1.0 - found.metrics["control_roc_auc"]
    assert found.intervals["over_control"].low > 0


def test_an_encoder_that_leans_on_the_category_fails() -> None:
    # All hard positives at the cosine of 1.5, all hard negatives at 1: none of the former is above one of the latter.
    found = diagnosed(leaning_on_the_category(TEST, DEV))
    assert found.status == "failed"
    assert found.metrics["roc_auc"] == 0.0
    assert [reason.partition(":")[0] for reason in found.reasons] == [
        "ROC-AUC 0.0000 is below 0.7",
        "F1 0.0000 is below 0.7",
        "ROC-AUC is not clear of TF-IDF's",
    ]


def test_words_alone_fail_even_where_they_reach_the_bounds() -> None:
    """Both at once, as where words define the labels: TF-IDF reaches the bounds, but is explained by itself."""
    pairs = more_words_in_positives(TEST)
    found = diagnosed(
        counting_words(pairs), pairs, more_words_in_positives(DEV), roc_auc=0.55, f1=0.5, lexical_roc_auc=0.7
    )
    assert (
        found.metrics["roc_auc"] == pytest.approx(found.metrics["control_roc_auc"], abs=1e-9)
        and found.metrics["roc_auc"] > 0.55
    )
    assert found.status == "failed"
    assert found.reasons == ["ROC-AUC is not clear of TF-IDF's: +0.0000, +0.0000 to +0.0000"]
    # Held to words that tell nothing, they reach nothing.
    assert diagnosed(counting_words(pairs), pairs).metrics["roc_auc"] <= 0.5


def more_words_in_positives(pairs: Pairs) -> Pairs:
    """Every other positive pair shares three words more."""
    added = [f" extra{row} more{row} again{row}" if label and row % 2 else "" for row, label in enumerate(pairs.labels)]
    return replace(
        pairs,
        text1=[text + words for text, words in zip(pairs.text1, added, strict=True)],
        text2=[text + words for text, words in zip(pairs.text2, added, strict=True)],
    )


def overlaps(pairs: Pairs) -> NDArray[np.float64]:
    """scikit-learn's TF-IDF cosines."""
    vectors = TfidfVectorizer().fit(list(dict.fromkeys(pairs.text1 + pairs.text2)))
    return np.asarray(vectors.transform(pairs.text1).multiply(vectors.transform(pairs.text2)).sum(axis=1)).ravel()


def test_labels_that_words_define_are_not_valid() -> None:
    """The old test sets: across categories and alike in words is 1, within one and unlike is 0. TF-IDF scores 1.0."""
    overlap = overlaps(TEST)
    alike = overlap > np.median(overlap)
    old = replace(
        TEST,
        labels=alike.astype(np.float64),
        category1=["Mail"] * len(TEST),
        category2=["Network" if each else "Mail" for each in alike],
    )
    found = diagnosed(never_asked, old)
    assert (found.status, found.metrics) == ("not valid", {})
    assert found.reasons == ["the labels are shared words: TF-IDF alone has ROC-AUC 1.0000"]
    # Categories at random don't hide it.
    mixed = replace(old, category2=["Network" if row % 2 else "Mail" for row in range(len(old))])
    assert diagnosed(never_asked, mixed).reasons == found.reasons


def test_labels_that_are_category_agreement_are_not_valid() -> None:
    same = np.array(TEST.category1) == np.array(TEST.category2)
    found = diagnosed(never_asked, replace(TEST, labels=same.astype(np.float64)))
    assert found.status == "not valid"
    assert found.reasons == ["the labels are the categories: agreement alone has ROC-AUC 1.0000"]
    # One label in twenty the other way is still agreement.
    noisy = np.where(np.arange(len(TEST)) % 25 == 0, ~same, same)
    assert 0.95 <= roc_auc_score(noisy, same) < 1
    assert diagnosed(never_asked, replace(TEST, labels=noisy.astype(np.float64))).status == "not valid"


@pytest.mark.parametrize(("across", "within"), [(LEAST - 1, 200), (200, LEAST - 1), (0, 200)])
def test_too_few_of_either_kind_is_not_run(across: int, within: int) -> None:
    found = diagnosed(never_asked, pairs_of(across, within, ordinary=300))
    assert found.status == "not run"
    assert found.reasons == [
        f"{across} positives across categories and {within} negatives within one: at least 50 of each"
    ]


def test_fifty_of_each_are_enough() -> None:
    pairs = few_words_in_positives(pairs_of(LEAST, LEAST))
    found = diagnosed(knowing(pairs, DEV), pairs)
    assert found.selection is not None and found.selection.chosen == (LEAST, LEAST)
    assert found.status == "passed"


def few_words_in_positives(pairs: Pairs) -> Pairs:
    """Positives across categories that share no word."""
    assert pairs.category1 is not None
    hard = (pairs.labels == 1) & (np.array(pairs.category1) != np.array(pairs.category2))
    return replace(
        pairs,
        text2=[
            f"other{n} new{n}" if is_hard else text
            for n, (text, is_hard) in enumerate(zip(pairs.text2, hard, strict=True))
        ],
    )


def test_too_few_that_words_do_not_tell_are_not_run() -> None:
    pairs = more_words_in_positives(pairs_of(60, 60))
    found = diagnosed(never_asked, pairs)
    assert found.status == "not run"
    assert found.selection is not None and min(found.selection.chosen) < LEAST
    across, within = found.selection.chosen
    assert found.reasons == [
        f"of 60 positives across categories and 60 negatives within one, {across} and {within} are left where TF-IDF"
        " has no more than ROC-AUC 0.5: at least 50 of each"
    ]


def test_without_categories_or_classes_it_is_not_run() -> None:
    assert diagnosed(never_asked, replace(TEST, category1=None, category2=None)).reasons == [NO_CATEGORIES]
    graded = replace(TEST, labels=np.linspace(0, 1, len(TEST)))
    assert (diagnosed(never_asked, graded).status, diagnosed(never_asked, graded).reasons) == ("not run", [GRADED])


def test_without_dev_nothing_passes_but_failing_shows() -> None:
    found = diagnosed(knowing(TEST), dev=None)
    assert (found.status, found.reasons) == ("not run", [f"no F1: {NO_DEV}"])
    assert (found.metrics["roc_auc"], "f1" in found.metrics) == (1.0, False)
    failed = diagnosed(leaning_on_the_category(TEST), dev=None)
    assert failed.status == "failed"
    assert failed.reasons[0] == "ROC-AUC 0.0000 is below 0.7"


def test_figures_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(3)
    noisy = [(pairs, np.abs(random.normal(np.where(pairs.labels == 1, 0.6, 1.1), 0.4))) for pairs in (TEST, DEV)]
    found = diagnosed(on_a_circle(*noisy))
    assert found.selection is not None
    rows, positive = found.selection.rows, found.selection.positive
    assert found.scores == pytest.approx(np.cos(noisy[0][1][rows]), abs=1e-6)
    assert found.selection.overlap == pytest.approx(overlaps(TEST)[rows], abs=1e-12)
    # As many positives as negatives: each weighs one over the number of its class.
    weights = np.where(positive, 1 / positive.sum(), 1 / (~positive).sum())
    dev_scores = {"": np.cos(noisy[1][1]), "control_": overlaps(DEV)}
    for prefix, scores in (("", found.scores), ("control_", found.selection.overlap)):
        assert found.metrics[f"{prefix}roc_auc"] == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
        at = max(sorted(dev_scores[prefix], reverse=True), key=lambda t: f1_score(DEV.labels, dev_scores[prefix] >= t))
        expected = f1_score(positive, scores >= at - 1e-7, sample_weight=weights)
        assert found.metrics[f"{prefix}f1"] == pytest.approx(expected, abs=1e-12)
    for name, interval in found.intervals.items():
        assert interval.low <= found.metrics[name] <= interval.high, name
    assert set(found.intervals) == {"roc_auc", "f1", "control_roc_auc", "control_f1", "over_control"}


def test_f1_does_not_follow_the_number_of_negatives() -> None:
    """One in ten negatives above the threshold, all positives: 2 TPR / (1 + TPR + FPR) = 2 / 2.1, however many."""
    for within in (100, 300):
        pairs = few_words_in_positives(pairs_of(60, within))
        wrong = (pairs.labels == 0) & (np.arange(len(pairs)) % 10 == 0)
        angles = np.where((pairs.labels == 1) | wrong, 0.1, 1.5)
        found = diagnosed(on_a_circle((pairs, angles), (DEV, np.where(DEV.labels == 1, 0.1, 1.5))), pairs)
        assert found.selection is not None and found.selection.chosen == (60, within)
        assert found.metrics["f1"] == pytest.approx(2 / 2.1, abs=1e-12)


def test_the_bounds_move_inward_until_words_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand. Positives 1 to 5 against negatives 0 to 4 have (25 - 10 + 4 / 2) / 25 = 0.68.

    The first step takes a hundredth of the way between the outermost two from each: 5 and 0 go, 1 to 4 against
    1 to 4 are left, which is 0.5.
    """
    pairs = pairs_of(5, 5, ordinary=0)
    overlap = np.array([1, 2, 3, 4, 5, 0, 1, 2, 3, 4]) / 10
    monkeypatch.setattr(adversarial, "tfidf_similarity", lambda *texts: overlap)
    found = select(pairs, pairs.labels == 1, 0.5)
    assert found.candidates_roc_auc == pytest.approx(0.68)
    assert (found.highest, found.lowest) == (pytest.approx(0.496), pytest.approx(0.004))
    assert found.rows.tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    assert (found.candidates, found.chosen) == ((5, 5), (4, 4))
    # Nothing goes where words may tell as much as they do.
    assert select(pairs, pairs.labels == 1, 0.68).chosen == (5, 5)


def test_the_choice_does_not_define_the_label() -> None:
    found = select(TEST, TEST.labels == 1, 0.5)
    of_positives, of_negatives = found.overlap[found.positive], found.overlap[~found.positive]
    assert of_positives.max() <= found.highest and of_negatives.min() >= found.lowest
    # TF-IDF is near chance, and turned round it is too.
    assert 0.4 < roc_auc_score(found.positive, found.overlap) <= 0.5
    assert of_positives.max() > np.median(of_negatives) > of_positives.min()


def test_the_choice_depends_on_no_order_of_rows() -> None:
    order = np.random.default_rng(0).permutation(len(TEST))
    moved = TEST.take(order)
    one, two = select(TEST, TEST.labels == 1, 0.5), select(moved, moved.labels == 1, 0.5)
    assert sorted(order[two.rows].tolist()) == one.rows.tolist()


def test_context_is_not_read() -> None:
    """It names the category: with it, the words of negatives within one category would look shared."""
    named = [f" (Context: [{category} | Desk] Group: {category} Operations.)" for category in TEST.category1 or []]
    contexts = replace(
        TEST,
        text1=[text + context for text, context in zip(TEST.text1, named, strict=True)],
        text2=[text + context for text, context in zip(TEST.text2, named, strict=True)],
    )
    dev = replace(DEV, text1=[f"{text} (Context: [Mail] Group: Mail.)" for text in DEV.text1])
    # This encoder knows no text with a context: being asked for one is a KeyError.
    found, plain = diagnosed(knowing(TEST, DEV), contexts, dev), diagnosed(knowing(TEST, DEV))
    assert found.metrics == plain.metrics
    assert found.intervals == plain.intervals


def test_categories_compare_as_texts_do_and_a_missing_one_takes_no_part() -> None:
    assert TEST.category1 is not None and TEST.category2 is not None
    spelt = replace(TEST, category1=[f" {name.upper()}" for name in TEST.category1])
    assert select(spelt, TEST.labels == 1, 0.5).rows.tolist() == select(TEST, TEST.labels == 1, 0.5).rows.tolist()
    missing = replace(TEST, category1=["", "", *TEST.category1[2:]], category2=["", *TEST.category2[1:]])
    found = select(missing, TEST.labels == 1, 0.5)
    assert found.candidates == (88, 120)
    assert not {0, 1} & set(found.rows.tolist())


def test_the_rule_of_one_category_on_all_pairs_is_reported() -> None:
    # 90 and 40 positives, 40 of them within one category; 120 and 40 negatives, 120 within: by hand from these.
    hits, alarms = 40 / 130, 120 / 160
    assert select(TEST, TEST.labels == 1, 0.5).category_roc_auc == pytest.approx((1 + hits - alarms) / 2)


def test_intervals_come_from_the_seed_alone() -> None:
    random = np.random.default_rng(4)
    embed = on_a_circle(*((pairs, np.abs(random.normal(1.0, 0.4, len(pairs)))) for pairs in (TEST, DEV)))
    one, two, three = (diagnose(embed, TEST, DEV, CFG, positive_from=None, seed=seed) for seed in (1, 1, 2))
    assert one.intervals == two.intervals != three.intervals
    assert one.metrics == three.metrics


def train(*overrides: str) -> dict[str, RunInfo]:
    """Train and return the runs of the study, by kind."""
    quick = ("device=cpu", "model.max_seq_length=8", "eval.bootstrap=100", "save=none")
    with pytest.raises(SystemExit) as ended:
        main(("train", *quick, *overrides))
    assert ended.value.code == 0
    return {run.tags["promax.kind"]: run for run in runs_of(open_store(), "promax")}


def test_a_run_on_the_embedded_corpus_leaves_the_record_and_the_tier_follows(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"count": 2000, "train_pairs": 20, "dev_pairs": 40, "test_pairs": 800}
    asked = [f"data.tickets.{name}={size}" for name, size in sizes.items()]
    # Any encoder would reach this tier, but for the diagnostic.
    asked += ["tiers.production.spearman=-1", "tiers.production.roc_auc=null", "optim.epochs=1", "optim.batch_size=10"]
    runs = train(*asked)
    reports = {kind: json.loads(read_text(open_store(), run.run_id, "adversarial.json")) for kind, run in runs.items()}
    assert set(runs) == {"baseline", "tuned"}
    for kind, run in runs.items():
        report, status = reports[kind], run.tags["promax.adversarial"]
        assert status == report["status"] and status in ("passed", "failed")
        assert (run.tags["promax.tier"] == "production") == (status == "passed")
        assert (run.tags.get("promax.adversarial_reason") or "").split("; ") == (report["reasons"] or [""])
        scores = read_scores(open_store(), run.run_id, "adversarial")
        assert (scores.label >= 1).sum() == report["chosen"]["positives_across_categories"] >= LEAST
        expected = roc_auc_score(scores.label >= 1, scores.score)
        assert run.metrics["test/adversarial_roc_auc"] == pytest.approx(expected, abs=1e-12)
        for name, metric in (("encoder", "roc_auc"), ("tfidf", "control_roc_auc")):
            ends = [run.metrics[f"test/adversarial_{metric}{end}"] for end in ("", "_low", "_high")]
            assert report["roc_auc"][name] == ends
        assert (Path(run.artifact_uri.removeprefix("file://")) / "figures" / "roc_adversarial.png").stat().st_size > 0
    # Side by side: the baseline's own figures, and one control.
    for metric in ("roc_auc", "f1"):
        assert reports["tuned"][metric]["baseline"] == reports["baseline"][metric]["encoder"]
        assert reports["tuned"][metric]["baseline"] == reports["baseline"][metric]["baseline"]
        assert reports["tuned"][metric]["tfidf"] == reports["baseline"][metric]["tfidf"]
        assert None not in reports["tuned"][metric]["encoder"]
    if runs["tuned"].tags["promax.adversarial"] == "failed":
        assert "withheld: production: adversarial diagnostic failed" in " ".join(capsys.readouterr().out.split())
    no_text_in(project, corpus.generate(sizes["count"], seed=0))


def no_text_in(project: Path, tickets: list[corpus.Ticket]) -> None:
    """No description of a ticket is in any file that the runs left."""
    texts = [ticket.incident.description.encode() for ticket in tickets if len(ticket.incident.description) > 40]
    files = [path.read_bytes() for path in (project / "mlruns").rglob("*") if path.suffix in (".json", ".csv", ".txt")]
    assert len(texts) > 1000 and len(files) > 10
    assert not any(text in file for file in files for text in texts)


def test_a_file_of_adversarial_pairs_is_judged_instead_of_test(project: Path) -> None:
    def write(name: str, pairs: Pairs) -> str:
        names = ("text1", "text2", "label", "category1", "category2")
        columns = (pairs.text1, pairs.text2, pairs.labels.tolist(), pairs.category1 or [], pairs.category2 or [])
        rows = [json.dumps(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
        (project / name).write_text("\n".join(rows), encoding="utf-8")
        return str(project / name)

    hard = pairs_of(70, 60, ordinary=0, seed=7, name="h")
    files = {"test": write("test.jsonl", pairs_of(2, 2, 5, 8, "s")), "dev": write("dev.jsonl", DEV)}
    sides = [f"data.{side}={path}" for side, path in files.items()]
    run = train("data=pairs", "model=minilm", "optim.epochs=0", *sides, f"data.adversarial={write('h.jsonl', hard)}")[
        "baseline"
    ]
    report = json.loads(read_text(open_store(), run.run_id, "adversarial.json"))
    assert report["candidates"] == {"positives_across_categories": 70, "negatives_within_one": 60}
    assert len(run.tags["promax.data.adversarial"]) == 64
    table = read_scores(open_store(), run.run_id, "adversarial")
    assert table.label.tolist() == hard.labels[table.pair].tolist()
