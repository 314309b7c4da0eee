"""Makes results.json, power.png and the tables of the README from the chunks that simulate.py has drawn.

python experiments/coverage/summary.py [--chunks FOLDER]
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from simulate import ALPHAS, COVERAGE, GAINS, REGIMES, read

HERE = Path(__file__).parent
# What each published rule is called in the figure and the table.
RULES = {
    "2511.19794, as published: BCa above 0 and two-sided sign-flip p < 0.05": "2511.19794",
    "2511.19794, one-sided: BCa above 0 and one-sided sign-flip p < 0.05": "2511.19794, one-sided flips",
    "2511.19794, half: BCa above 0": "2511.19794, BCa alone",
    "2103.03098: P(A > B) above 0.75, its interval above 0.5": "2103.03098",
}
CLAIMED = {"fix": "after against before", "after less baseline": "after against the baseline"}


def totals(records: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """By scenario, its studies and the tallies as shares of them; a scenario of other gains counts as another."""
    found: dict[str, dict[str, Any]] = {}
    for record in (each for each in records if each["kind"] == kind):
        scenario = record["scenario"]
        name = scenario["name"] if kind != "power" else f"{scenario['name']} {scenario['gains'][3]:g}"
        entry = found.setdefault(name, {"studies": 0, "confirmed": 0, "cpu": 0.0, "tallies": defaultdict(dict)})
        entry["studies"] += record["studies"]
        entry["confirmed"] += record.get("confirmed", 0)
        entry["cpu"] += record["cpu_seconds"]
        for contrast, tally in record["tallies"].items():
            kept = entry["tallies"][contrast]
            for what, value in tally.items():
                kept[what] = kept.get(what, 0.0) + value
    for entry in found.values():
        for tally in entry["tallies"].values():
            for what in tally:
                tally[what] /= entry["studies"]
    return found


def coverage_rows(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a scenario: coverage of every contrast, the errors against the true ones, false confirmations."""
    rows = []
    for scenario in COVERAGE:
        if scenario.name not in found:
            continue
        entry = found[scenario.name]
        rows.append(
            {
                "scenario": scenario.name,
                "studies": entry["studies"],
                "coverage": {name: round(tally["covered"], 4) for name, tally in entry["tallies"].items()},
                "error over true": {
                    name: round(math.sqrt(tally["variance"] / tally["squared"]), 3)
                    for name, tally in entry["tallies"].items()
                },
                "lost": {
                    what.removeprefix("lost: "): round(float(np.mean([t[what] for t in entry["tallies"].values()])), 4)
                    for what in next(iter(entry["tallies"].values()))
                    if what.startswith("lost: ")
                },
                "falsely confirmed": None if any(scenario.gains) else round(entry["confirmed"] / entry["studies"], 4),
            }
        )
    return rows


def power_rows(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """By regime, claim and true gain: the share confirmed by each rule, and by promax at each rule's false rate."""
    rows = []
    for regime, scenario in REGIMES.items():
        for claim in CLAIMED:
            curves = [found.get(f"{scenario.name} {gain:g}") for gain in GAINS]
            if not all(curves):
                continue
            tallies = [entry["tallies"][claim] for entry in curves if entry]
            levels = np.array([[tally[f"promax at {alpha:g}"] for alpha in ALPHAS] for tally in tallies])
            for gain, tally, level in zip(GAINS, tallies, levels, strict=True):
                row = {"regime": regime, "claim": claim, "gain": gain, "promax": round(tally["promax at 0.05"], 4)}
                row["smallest"] = round(tally["smallest"], 5)
                for rule, short in RULES.items():
                    row[short] = round(tally[rule], 4)
                    # Both at the same share of false confirmations: promax's level is moved until it has the rule's.
                    row[f"promax as often wrong as {short}"] = round(
                        float(np.interp(tallies[0][rule], levels[0], level)), 4
                    )
                rows.append(row)
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Power by true gain: a column a regime, a row a claim; promax, and the published rules."""
    mpl.use("agg")
    figure, axes = plt.subplots(len(CLAIMED), len(REGIMES), figsize=(12, 6.5), sharex=True, sharey=True)
    for line, claim in zip(axes, CLAIMED, strict=True):
        for axis, regime in zip(line, REGIMES, strict=True):
            here = [row for row in rows if row["regime"] == regime and row["claim"] == claim]
            gains = [row["gain"] for row in here]
            axis.plot(gains, [row["promax"] for row in here], "o-", color="C0", lw=2, label="promax")
            for short, style in zip(RULES.values(), ("s:", "^--", "v-.", "x-"), strict=True):
                axis.plot(gains, [row[short] for row in here], style, color="0.35", lw=1, ms=4, label=short)
            axis.axhline(0.05, color="C3", lw=0.8)
            axis.set_title(f"{CLAIMED[claim]}, {regime}", fontsize=9)
            axis.grid(alpha=0.3)
    axes[1][1].set_xlabel("true gain in Spearman")
    axes[0][0].set_ylabel("share confirmed")
    axes[1][0].set_ylabel("share confirmed")
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def tables(results: dict[str, Any]) -> str:
    """The README's tables."""
    lines = [
        "| scenario | studies | coverage, % | error / true error | falsely confirmed, % |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in results["coverage"]:
        shares, errors = [100 * each for each in row["coverage"].values()], row["error over true"].values()
        false = "" if row["falsely confirmed"] is None else f"{100 * row['falsely confirmed']:.1f}"
        lines.append(
            f"| {row['scenario']} | {row['studies']:,} | {min(shares):.1f} to {max(shares):.1f}, "
            f"mean {np.mean(shares):.1f} "
            f"| {min(errors):.2f} to {max(errors):.2f} | {false} |"
        )
    for regime in REGIMES:
        lines += [
            "",
            f"{regime}:",
            "",
            "| claim | gain | promax | " + " | ".join(RULES.values()) + " | promax as often wrong as 2103.03098 |",
        ]
        lines.append("| --- " * (len(RULES) + 4) + "|")
        for row in (each for each in results["power"] if each["regime"] == regime):
            shares = [
                row["promax"],
                *(row[short] for short in RULES.values()),
                row["promax as often wrong as 2103.03098"],
            ]
            lines.append(
                f"| {CLAIMED[row['claim']]} | {row['gain']:g} | " + " | ".join(f"{100 * s:.1f}" for s in shares) + " |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=Path, default=HERE / "chunks")
    records = read(parser.parse_args().chunks)
    power = totals(records, "power")
    results = {
        "coverage": coverage_rows(totals(records, "coverage")),
        "bootstrap": totals(records, "bootstrap"),
        "power": power_rows(power),
        "falsely confirmed, any claim": {
            name: round(entry["confirmed"] / entry["studies"], 4)
            for name, entry in power.items()
            if name.endswith(" 0")
        },
        "cpu_minutes": round(sum(record["cpu_seconds"] for record in records) / 60, 1),
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if results["power"]:
        draw(results["power"], HERE / "power.png")
    print(tables(results))


if __name__ == "__main__":
    main()
