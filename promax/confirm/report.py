"""A verdict for people: the page that stands in the study's folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from promax import metrics
from promax.compare import TITLES
from promax.confirm import wording
from promax.confirm.claims import change
from promax.confirm.findings import Findings, Measured
from promax.confirm.origin import Origin
from promax.confirm.settings import label
from promax.confirm.study import Judged, Study, compared
from promax.confirm.tables import markdown
from promax.data.pairs import is_binary
from promax.metrics import UndefinedMetric


def page(findings: Findings, origin: Origin, pictures: dict[str, str]) -> str:
    """The report as Markdown; `pictures` are file name -> what it shows, in the order in which they are shown.

    The same record gives the same page: it says when the runs were made, not when it was written.
    """
    study = findings.study
    parts = [
        f"# {study.name}",
        f"**Question.** {study.rule.question}",
        f"**Answer.** {answer(findings)}",
        _list(
            f"**{each.verdict}** {each.claim.name}: {wording.sentence(each, study)}." for each in findings.judgements
        ),
        *_know_first(study),
        *_picture("claims.png", pictures),
        "## The claims",
        _claims(findings),
        _how_to_read(study),
        "## What was measured",
        *_effects(findings, pictures),
        *_transfer(findings),
        *_diagnosis(findings),
        "## What would change this verdict",
        _list(_what_would_change(findings)),
        "## How it was made",
        *_design(findings, origin),
        "## Run it again",
        *_again(study, origin),
    ]
    return "\n\n".join(parts) + "\n"


def answer(findings: Findings) -> str:
    """The verdict in three sentences: the counts, the means, and what the change came to."""
    study, evidence, rule = findings.study, findings.deciding, findings.study.rule
    counts = Counter(each.verdict for each in findings.judgements)
    confirmed, refuted, undecided = (counts[verdict] for verdict in ("CONFIRMED", "REFUTED", "UNDECIDED"))
    means = dict(zip([*study.settings, None], evidence.means.tolist(), strict=True))
    reached = [f"{means[None]:.4f} un-tuned"]
    for name, setting in compared(study):
        which = f" ({name})" if rule.before is not None else ""
        reached.append(f"{means[setting]:.4f} with {label(setting)}{which}")
    sentences = [
        f"{confirmed} of {len(findings.judgements)} claims confirmed, {refuted} refuted, {undecided} undecided.",
        f"{TITLES[rule.metric]} on test, mean of {len(study.seeds)} seeds: {', '.join(reached)}.",
    ]
    headline = {label(rule.after): "Tuned less un-tuned"}
    if rule.before is not None:
        headline = {change(rule): "After less before", label(rule.after): "After less un-tuned"}
    for each in findings.of("test", rule.metric):
        if each.contrast.name in headline:
            share = f", {wording.percent(each.relative)}" if each.relative else ""
            told = each.effect.interval.low > 0 or each.effect.interval.high < 0
            seen = "" if told else f"; one of {each.effect.smallest:.4f} would be seen in 80 % of such studies"
            size = wording.difference(each.effect.estimate, each.effect.interval)
            sentences.append(f"{headline[each.contrast.name]}: {size}{share}, {wording.change(each.effect)}{seen}.")
    return " ".join(sentences)


def _know_first(study: Study) -> list[str]:
    return ["Know this first:", _list(f"{note}." for note in study.notes)] if study.notes else []


def _claims(findings: Findings) -> str:
    rule = findings.study.rule
    rows = [
        (
            each.claim.name,
            each.claim.published or "",
            wording.bound(each, rule),
            wording.measured(each),
            wording.difference(each.measured.estimate, each.measured.interval) if each.claim.of != "level" else "",
            wording.probability(each.p),
            f"**{each.verdict}**",
        )
        for each in findings.judgements
    ]
    metric = TITLES[rule.metric]
    return markdown(("claim", "published", "holds from", "measured", f"in {metric}", "p (Holm)", "verdict"), rows)


def _how_to_read(study: Study) -> str:
    rule = study.rule
    level = f"{100 * rule.confidence:g} %"
    told = (
        f"A claim is confirmed where its effect on test is above its bound, refuted where it is below, and undecided "
        f"where the difference from the bound could be chance. That is judged at {level} over all {len(rule.claims)} "
        f"claims together (Holm's procedure), and only with {rule.seeds} seeds or more in every cell. The intervals in "
        f"brackets are at {level} each by itself: they hold both the tickets of the test side and the seeds of the "
        "runs as drawn at random. Percentages are of the mean that the effect is set against, with Fieller's interval."
    )
    if study.foretold:
        return f"{told} The rule was logged with each run as it began, before there was a result."
    return told


def _effects(findings: Findings, pictures: dict[str, str]) -> list[str]:
    parts = [" ".join(_what_effects_are(findings))]
    for metric, title in TITLES.items():
        if ("test", metric) in findings.absent:
            parts.append(f"**{title} on test**: absent: {findings.absent['test', metric]}.")
        else:
            parts += [f"**{title} on test**", _effect_table(findings.of("test", metric))]
    parts.append(
        "The standard error is split into what other tickets and what other seeds would change; the noise of a seed on "
        "a ticket is the rest. *seen from* is the smallest effect that a study like this one sees with 80 % power."
    )
    parts += [*labels(findings), *_picture("surface.png", pictures), *_picture("learning_curves.png", pictures)]
    parts += [*_picture("scores.png", pictures), *_picture("roc.png", pictures)]
    return parts


def _what_effects_are(findings: Findings) -> Iterator[str]:
    rule, shown = findings.study.rule, {each.contrast.name for each in findings.effects}
    if "interaction" in shown:
        yield "*learning rate* and *epochs* are main effects: of changing one, averaged over both values of the other."
        yield "*interaction* is what both together do beyond the sum."
        yield "The settings below are less the un-tuned baseline."
        return
    if rule.before is not None and change(rule) in shown:
        yield f"*{change(rule)}* is {label(rule.after)} less {label(rule.before)}."
    yield "The settings are less the un-tuned baseline."


def _effect_table(rows: Sequence[Measured]) -> str:
    header = ("effect", "estimate", "relative", "standard error", "from tickets", "from seeds", "seen from")
    return markdown(
        header,
        [
            (
                each.contrast.name,
                wording.difference(each.effect.estimate, each.effect.interval),
                wording.percent(each.relative),
                f"{each.effect.spread.error:.4f}",
                f"{each.effect.spread.tickets**0.5:.4f}",
                f"{each.effect.spread.seeds**0.5:.4f}",
                f"{each.effect.smallest:.4f}",
            )
            for each in rows
        ],
    )


def labels(findings: Findings) -> list[str]:
    """What the labels of test allow, and what they make one."""
    of_test, told = findings.study.sides["test"].label, []
    if is_binary(of_test):
        told.append("With 0/1 labels Spearman and ROC-AUC are one piece of evidence, not two.")
    try:
        ceiling = metrics.spearman_ceiling(of_test)
    except UndefinedMetric:
        return told
    if ceiling < 0.9995:
        told.append(f"No scoring without ties can pass Spearman {ceiling:.3f} on these labels.")
    return [" ".join(told)] if told else []


def _transfer(findings: Findings) -> list[str]:
    metric = findings.study.rule.metric
    rows = findings.of("transfer", metric)
    if not rows:
        return []
    told = (
        "The same encoders on pairs of another domain, on which nothing was trained and by which nothing was chosen. "
        "Nothing is claimed of them: this is what a gain at home costs elsewhere."
    )
    return ["## Another domain", told, f"**{TITLES[metric]} on transfer**", _effect_table(rows)]


def _diagnosis(findings: Findings) -> list[str]:
    title = "## Why not better"
    if not findings.causes:
        return [title, "No setting is below the baseline and no claim is refuted: there is nothing to explain."]
    told = (
        "Looked for in the settings below the baseline, on test or in another domain; where none is, in that after the "
        "change. *Supported* means that the record is in keeping with a cause, not that it is proven."
    )
    lines = []
    for each in findings.causes:
        standing = f"**{each.standing}**" if each.standing == "supported" else each.standing
        lines.append(f"- {each.name}: {standing}. Supported if {each.bound}; from {each.source}.")
        lines += [f"  - {figure}" for figure in each.figures]
    return [title, told, "\n".join(lines)]


def _what_would_change(findings: Findings) -> list[str]:
    study = findings.study
    lines = [
        f"*{each.claim.name}* is undecided; {wording.lack(each, study)}."
        for each in findings.judgements
        if each.verdict == "UNDECIDED"
    ]
    decided = [each for each in findings.judgements if each.verdict != "UNDECIDED"]
    if decided:
        least = max(decided, key=lambda each: each.p)
        lines.append(
            f"Of the decided claims *{least.claim.name}* is the least sure, with p {wording.probability(least.p)}."
        )
    lines.append(
        "Other pairs, another encoder or other training settings than those below: the verdict is about these."
    )
    return lines


def _design(findings: Findings, origin: Origin) -> list[str]:
    study = findings.study
    rows = [
        ("settings", "; ".join(label(each) for each in study.settings)),
        ("seeds", ", ".join(map(str, study.seeds))),
        ("runs", f"{len(study.settings) * len(study.seeds)} trained, and one un-tuned baseline beside all of them"),
        *origin.data,
        *((f"{side}, resampled", _units(study, side)) for side in study.sides),
        *origin.lines,
    ]
    return [markdown(("", ""), rows), _files()]


def _units(study: Study, side: Judged) -> str:
    scored = study.sides[side]
    positive = (
        "" if scored.positive is None else f"{int(scored.positive.sum())} of {len(scored.label)} pairs positive, in "
    )
    return f"{positive}{len(np.unique(scored.units))} groups of tickets"


def _files() -> str:
    return (
        "[results.csv](results.csv) has a row for each run, [claims.csv](claims.csv) and [effects.csv](effects.csv) "
        "have every digit of the tables above."
    )


def _again(study: Study, origin: Origin) -> list[str]:
    whole = "\n".join([*origin.commands, f"promax confirm {study.name}"])
    one = study.members[0][0].run.first_id
    return [
        "The whole study, and its verdict:",
        f"```\n{whole}\n```",
        "Any one of its runs, by its id in results.csv, from what the record holds of it:",
        f"```\npromax reproduce {one}\n```",
    ]


def _picture(file: str, pictures: dict[str, str]) -> list[str]:
    return [f"![{pictures[file]}]({file})"] if file in pictures else []


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
