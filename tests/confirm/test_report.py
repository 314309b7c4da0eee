"""The page, the tables and the HTML file of a verdict, from studies in memory."""

from __future__ import annotations

import csv
import dataclasses
import io
import re

import numpy as np
import pytest

from promax.config import Config, ConfigError
from promax.confirm import tables
from promax.confirm.findings import find
from promax.confirm.folder import KEPT, html, written_by_hand
from promax.confirm.origin import Origin, Variant, commands
from promax.confirm.pictures import claims, learning_curves, pictures
from promax.confirm.report import page
from promax.figures import png

ORIGIN = Origin(
    ["promax train -m data=pairs optim.lr=2e-05,5e-05 optim.epochs=6,12 seed=0,1,2,3,4"],
    [("test", f"400 pairs: test.jsonl sha256:56cd; fingerprint {'cd' * 32}")],
    [("machine", "A Processor, 2 threads")],
)


@pytest.fixture(scope="module")
def gained(made):
    """A gain at home that costs elsewhere."""
    transfer = made.grid(0.77, 0.75, 0.76, 0.74)
    return find(made.study(made.grid(0.80, 0.82, 0.84, 0.86), spread=0.002, transfer=transfer), {})


@pytest.fixture(scope="module")
def lost(made):
    return find(made.study(made.grid(0.77, 0.76, 0.75, 0.74), spread=0.002), {})


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_page_begins_with_the_question_and_the_answer_in_words(gained, lost, made) -> None:
    lines = page(gained, ORIGIN, {}).splitlines()
    assert lines[:3] == ["# fix", "", "**Question.** Did the fix help?"]
    assert lines[4].startswith("**Answer.** 7 of 7 claims confirmed, 0 refuted, 0 undecided.")
    rho = {auc: np.mean([made.spearman(auc + 0.002 * (at - 2)) for at in range(5)]) for auc in (0.80, 0.86)}
    assert f"{made.spearman(0.78):.4f} un-tuned, {rho[0.80]:.4f} with 2e-05, 6 epochs (before), " in lines[4]
    assert f"{rho[0.86]:.4f} with 5e-05, 12 epochs (after)." in lines[4]
    assert f"After less before: {rho[0.86] - rho[0.80]:+.4f} [" in lines[4]
    assert lines[4].endswith(", a gain.")
    assert "**REFUTED** any gain: the fix (2e-05, 6 epochs to 5e-05, 12 epochs) loses: " in page(lost, ORIGIN, {})


def test_the_page_says_when_one_thing_is_measured_twice_and_what_labels_allow(gained) -> None:
    text = page(gained, ORIGIN, {})
    # sqrt(3) / 2, the ceiling of balanced 0/1 labels.
    assert "With 0/1 labels Spearman and ROC-AUC are one piece of evidence, not two." in text
    assert "No scoring without ties can pass Spearman 0.866 on these labels." in text


def test_the_page_tells_a_rule_that_was_there_first_from_one_that_was_not(gained) -> None:
    first = "The rule was logged with each run as it began, before there was a result."
    assert first in page(gained, ORIGIN, {})
    study = dataclasses.replace(gained.study, foretold=False, notes=["this rule was chosen after the runs"])
    later = page(dataclasses.replace(gained, study=study), ORIGIN, {})
    assert first not in later
    assert "Know this first:\n\n- this rule was chosen after the runs.\n" in later


def test_pairs_of_another_domain_have_a_section_where_there_are_any(gained, lost) -> None:
    assert "## Another domain" in page(gained, ORIGIN, {})
    assert "## Another domain" not in page(lost, ORIGIN, {})


def test_causes_are_told_where_something_disappoints(gained, lost) -> None:
    nothing = dataclasses.replace(gained, causes=[])
    assert "No setting is below the baseline and no claim is refuted: there is nothing to explain." in page(
        nothing, ORIGIN, {}
    )
    assert "- overfitting: not supported. Supported if the fall's interval over seeds lies above 0; from " in page(
        lost, ORIGIN, {}
    )


def test_results_have_a_row_for_each_run_and_the_baseline_first(gained, made) -> None:
    found = rows(tables.results(gained))
    assert len(found) == 21
    untuned, last = found[0], found[-1]
    assert (untuned["learning_rate"], untuned["epochs"], untuned["seed"]) == ("", "0", "")
    assert (last["learning_rate"], last["epochs"], last["seed"]) == ("5e-05", "12", "4")
    assert (last["run_id"], last["commit"][:4]) == ("34" * 8, "0123")
    assert float(last["test_roc_auc"]) == pytest.approx(made.auc(0.864), abs=1e-12)
    assert float(last["test_spearman"]) == pytest.approx(made.spearman(0.864), abs=1e-12)
    assert float(last["transfer_roc_auc"]) == pytest.approx(made.auc(0.744), abs=1e-12)
    course = ("best_epoch", "dev_spearman_best", "dev_spearman_last", "train_loss_last", "train_seconds")
    assert [last[name] for name in course] == ["2", "0.714", "0.714", "0.2", "61.5"]


def test_a_gap_in_a_curve_is_an_empty_cell_and_a_gap_in_the_picture(made) -> None:
    def collapsed(setting, seed):
        return [0.70, np.nan, 0.72, *[0.71] * (setting.epochs - 4), np.nan]

    found = find(made.study(made.grid(0.77, 0.76, 0.75, 0.74), spread=0.002, curve=collapsed), {})
    last = rows(tables.results(found))[-1]
    assert [last[name] for name in ("best_epoch", "dev_spearman_best", "dev_spearman_last")] == ["3", "0.72", ""]
    assert "nan" not in page(found, ORIGIN, {})
    # The first line is the baseline's, the second the one of 6 epochs.
    drawn = learning_curves(found.study).axes[0].lines[1].get_ydata()
    assert np.isnan(drawn).tolist() == [False, True, False, False, False, True]


def test_claims_and_effects_have_every_digit(gained) -> None:
    found = {each["claim"]: each for each in rows(tables.claims(gained))}
    assert len(found) == 7
    both = next(each for each in gained.judgements if each.claim.name == "both")
    assert float(found["both"]["effect"]) == both.measured.estimate
    assert (found["both"]["published"], found["both"]["at_least"], found["both"]["verdict"]) == (
        "+7-11 %",
        "0.07",
        both.verdict,
    )
    effects = rows(tables.effects(gained))
    # Eight effects in three metrics on two sides.
    assert len(effects) == 48
    for each in effects:
        parts = sum(float(each[f"from_{part}"]) ** 2 for part in ("tickets", "seeds", "both"))
        assert float(each["standard_error"]) ** 2 == pytest.approx(parts, abs=1e-15)


def test_graded_labels_have_spearman_alone(made) -> None:
    study = made.study(made.grid(0.80, 0.82, 0.84, 0.86), spread=0.002)
    graded = dataclasses.replace(study.sides["test"], positive=None, label=np.linspace(0, 1, 400))
    found = find(dataclasses.replace(study, sides={"test": graded}), {})
    assert "**ROC-AUC on test**: absent: graded labels; data.positive_from says which make a pair positive." in page(
        found, ORIGIN, {}
    )
    assert set(pictures(found)) == {"claims.png", "learning_curves.png", "surface.png", "scores.png"}
    about_roc = dataclasses.replace(
        study, sides={"test": graded}, rule=dataclasses.replace(made.rule, metric="roc_auc")
    )
    with pytest.raises(ConfigError) as refusal:
        find(about_roc, {})
    assert str(refusal.value) == (
        "study fix: its rule is about ROC-AUC, which has no value on test: "
        "graded labels; data.positive_from says which make a pair positive"
    )


def test_the_html_file_needs_nothing_beside_it(gained) -> None:
    drawn = pictures(gained)
    assert set(drawn) == {"claims.png", "learning_curves.png", "surface.png", "scores.png", "roc.png"}
    text = page(gained, ORIGIN, {file: shown for file, (_, shown) in drawn.items()})
    whole = html(text, "fix", {file: png(figure) for file, (figure, _) in drawn.items()})
    sources = re.findall(r'src="([^"]{0,30})', whole)
    assert len(sources) == 5
    assert all(each.startswith("data:image/png;base64,iVBOR") for each in sources)
    assert "http" not in whole
    assert not re.search(r"<(script|link|iframe)", whole)
    assert whole.count("<table>") == text.count("| --- |\n")
    assert all(f'alt="{shown}"' in whole for _, shown in drawn.values())


def test_markup_in_a_question_stays_text_in_the_html() -> None:
    assert "<script>" not in html("# fix\n\n**Question.** <script>alert(1)</script>", "<b>fix", {})


def test_what_a_person_wrote_is_found_below_the_marker(tmp_path) -> None:
    assert written_by_hand(tmp_path) == f"{KEPT}\n"
    (tmp_path / "README.md").write_text(f"# old\n\n{KEPT}\n\n## What we think\n\nMore data.\n")
    assert written_by_hand(tmp_path) == f"{KEPT}\n\n## What we think\n\nMore data.\n"


def test_a_page_that_no_verdict_wrote_is_not_overwritten(tmp_path) -> None:
    (tmp_path / "README.md").write_text("# my notes\n")
    with pytest.raises(ConfigError) as refusal:
        written_by_hand(tmp_path)
    assert str(refusal.value) == (
        f"{tmp_path}/README.md: was not written by promax confirm, and would be lost; name another folder with --out,\n"
        "or end it with the line <!-- written by hand below: kept when the report is written again -->, "
        "below which your text is kept"
    )


def test_a_command_makes_all_runs_and_names_no_folder_of_the_machine(made) -> None:
    words = [
        "data=pairs",
        "data.train=/home/someone/train.jsonl",
        "data.test='~/pairs/test.jsonl'",
        "data.dev=C:\\pairs\\dev.jsonl",
        "data.transfer=pairs/bugs.jsonl",
        "optim.lr=2e-05",
        "optim.epochs=6",
        "optim.loss=cosent",
        "seed=0",
        "device=cpu",
        "tracking.uri=postgresql://host/db",
        "",
    ]
    assert commands([Variant({}, words)], made.study(made.grid(0.7, 0.7, 0.7, 0.7))) == [
        "promax train -m data=pairs data.train=train.jsonl data.test=test.jsonl data.dev=dev.jsonl "
        "data.transfer=pairs/bugs.jsonl optim.loss=cosent optim.lr=2e-05,5e-05 optim.epochs=6,12 seed=0,1,2,3,4"
    ]


def test_files_of_one_name_in_two_folders_are_told_apart(made) -> None:
    words = ["data.test=/home/someone/ask/test.jsonl", "data.transfer=/home/someone/bugs/test.jsonl"]
    (said,) = commands([Variant({}, words)], made.study({made.after: 0.7}, seeds=[0, 1]))
    assert said.startswith("promax train -m data.test=test/test.jsonl data.transfer=transfer/test.jsonl ")


def test_training_files_of_one_name_are_told_apart_by_the_name_of_their_pairs(made) -> None:
    few, many = made.variants("data.name", "old", "mined")
    study = made.study({few: 0.7, many: 0.7}, seeds=[0, 1])
    variants = [
        Variant(each.also, [f"data.name={name}", f"data.train=/home/{name}/train.jsonl", "data.test=/home/test.jsonl"])
        for each, name in ((few, "old"), (many, "mined"))
    ]
    assert [line.split()[4:6] for line in commands(variants, study)] == [
        ["data.train=old/train/train.jsonl", "data.test=test.jsonl"],
        ["data.train=mined/train/train.jsonl", "data.test=test.jsonl"],
    ]


def test_a_rate_that_a_sampler_drew_is_written_with_every_digit(made) -> None:
    drawn = dataclasses.replace(made.before, lr=3.4217893412e-05)
    study = made.study({drawn: 0.7, dataclasses.replace(made.before, lr=0.0002): 0.7}, seeds=[0, 1])
    (said,) = commands([Variant({}, [])], study)
    assert said == "promax train -m optim.lr=3.4217893412e-05,0.0002 optim.epochs=6 seed=0,1"


def test_settings_that_are_no_grid_take_several_commands(made) -> None:
    study = made.study({made.before: 0.7, made.rate: 0.7, made.after: 0.7}, seeds=[0, 1], config=Config())
    assert commands([Variant({}, [])], study) == [
        "promax train -m optim.lr=2e-05 optim.epochs=6 seed=0,1",
        "promax train -m optim.lr=5e-05 optim.epochs=6,12 seed=0,1",
    ]


def test_variants_of_a_grid_are_made_by_one_command_and_others_by_one_each(made) -> None:
    """A study of the sweeper's is one search: it goes on by the command that began it, not by two halves of it."""
    cosine, cosent = made.variants("optim.loss", "cosine", "cosent")
    study = made.study({cosent: 0.7, cosine: 0.7}, seeds=[0, 1])
    words = ["experiment=loss", "seed=0"]
    variants = [Variant(each.also, [*words, f"optim.loss={each.also['optim.loss']}"]) for each in (cosent, cosine)]
    rest = "optim.lr=5e-05 optim.epochs=12 seed=0,1"
    assert commands(variants, study) == [f"promax train -m experiment=loss optim.loss=cosent,cosine {rest}"]
    # One of them by the config's own default: there is no list to write.
    silent = [variants[0], Variant(cosine.also, words)]
    each = [f"promax train -m experiment=loss optim.loss=cosent {rest}", f"promax train -m experiment=loss {rest}"]
    assert commands(silent, study) == each
    # Other rates: no grid.
    slower = dataclasses.replace(cosine, lr=2e-5)
    assert commands(variants, made.study({cosent: 0.7, slower: 0.7}, seeds=[0, 1])) == [
        f"promax train -m experiment=loss optim.loss=cosent {rest}",
        "promax train -m experiment=loss optim.loss=cosine optim.lr=2e-05 optim.epochs=12 seed=0,1",
    ]
    # Two keys of which two of four combinations were made.
    both = [Variant(each.also, [*each.words, f"optim.batch_size={16 * at}"]) for at, each in enumerate(variants, 1)]
    assert [line.split()[3:5] for line in commands(both, study)] == [
        ["experiment=loss", "optim.loss=cosent"],
        ["experiment=loss", "optim.loss=cosine"],
    ]


def test_a_gain_without_a_percentage_is_drawn_in_the_metrics_units(gained) -> None:
    """As over an un-tuned encoder whose Spearman isn't clear of 0; alone in a rule, and beside others."""
    (bare,) = (each for each in gained.judgements if each.claim.of == "baseline")
    bare = dataclasses.replace(bare, relative=None)
    for judgements in ([bare], [bare, *gained.judgements]):
        figure = claims(dataclasses.replace(gained, judgements=judgements))
        shown = {axes.get_xlabel(): [text.get_text() for text in axes.get_yticklabels()] for axes in figure.axes}
        assert shown["effect, in Spearman on test"] == ["beats the baseline"]
        axes = next(each for each in figure.axes if each.get_xlabel() == "effect, in Spearman on test")
        assert [bare.measured.estimate] in [
            line.get_xdata().tolist() for line in axes.lines if len(line.get_xdata()) == 1
        ]


def test_pictures_are_drawn_for_other_grids(made) -> None:
    """One rate alone; four rates, of which one has fewer settings."""
    only = dataclasses.replace(
        made.rule, before=None, claims=[each for each in made.rule.claims if each.of in ("baseline", "level")]
    )
    single = made.study({made.rate: 0.8, made.after: 0.81}, rule=only)
    more = {dataclasses.replace(made.after, lr=lr): 0.8 for lr in (1e-5, 2e-5, 2e-4)} | {
        made.rate: 0.8,
        made.after: 0.8,
    }
    for study in (single, made.study(more, rule=only)):
        assert len(pictures(find(study, {}))) == 5


def test_a_change_of_something_else_in_words_tables_and_pictures(made) -> None:
    cosine, cosent = made.variants("optim.loss", "cosine", "cosent")
    study = made.study({cosent: 0.84, cosine: 0.80}, spread=0.002, rule=made.about(cosine, cosent))
    found = find(study, {})
    drawn = pictures(found)
    text = page(found, ORIGIN, {file: shown for file, (_, shown) in drawn.items()})
    assert "**CONFIRMED** any gain: the change of optim.loss (cosine to cosent) gains: +" in text
    change = "5e-05, 12 epochs, optim.loss=cosent less 5e-05, 12 epochs, optim.loss=cosine"
    assert f"*the change* is {change}. The settings are less the un-tuned baseline." in text
    assert "with 5e-05, 12 epochs, optim.loss=cosent (after). After less before: +" in text
    assert "| the change | +" in text and "the fix" not in text
    told = rows(tables.results(found))
    assert [each["optim.loss"] for each in told] == ["", *["cosent"] * 5, *["cosine"] * 5]
    assert {each["learning_rate"] for each in told[1:]} == {"5e-05"}
    (curves, _), (surface, _) = drawn["learning_curves.png"], drawn["surface.png"]
    shown = [axes.get_title() for axes in curves.axes]
    assert shown == ["learning rate 5e-05\noptim.loss=cosent", "learning rate 5e-05\noptim.loss=cosine"]
    ticks = [each.get_text() for each in surface.axes[0].get_yticklabels()]
    assert ticks == ["5e-05\noptim.loss=cosent", "5e-05\noptim.loss=cosine"]
    roc, _ = drawn["roc.png"]
    assert [each.get_text() for each in roc.axes[0].get_legend().get_texts()] == ["un-tuned", "before", "after"]


def test_a_change_of_rate_and_of_something_else_is_named_whole(made) -> None:
    cosine, cosent = made.variants("optim.loss", "cosine", "cosent")
    slower = dataclasses.replace(cosine, lr=2e-5)
    study = made.study({cosent: 0.84, slower: 0.80}, spread=0.002, rule=made.about(slower, cosent))
    whole = "the change (2e-05, 12 epochs, optim.loss=cosine to 5e-05, 12 epochs, optim.loss=cosent) gains: +"
    assert f"**CONFIRMED** any gain: {whole}" in page(find(study, {}), ORIGIN, {})
