"""The comparison of the arms, and its Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slowfast.evaluation.epic import KINDS
from slowfast.evaluation.tables import MISSING
from slowfast.lab.ablation.fingerprint import PARTS
from slowfast.lab.ablation.outcomes import ArmOutcome, Outcomes
from slowfast.lab.ablation.plan import Plan
from slowfast.lab.ablation.runs import Run
from slowfast.lab.ablation.statistics import (
    RESAMPLES,
    Difference,
    Mean,
    mean_over_seeds,
    paired_difference,
)
from slowfast.lab.ablation.text_files import write_text
from slowfast.utils.files import write_json

ESTIMATOR = (
    "top-1 in percent, mean ± standard deviation over seeds; differences are paired by seed and "
    "segment, with 95 % intervals over seeds and segments (both resampled, "
    f"{RESAMPLES} times)"
)

_COLUMNS = (
    *("arm", "reference", "subset", "segments", "kind", "seeds"),
    *("value", "deviation", "low", "high"),
)


@dataclass(frozen=True)
class _Style:
    """How signs are written; `bold` has a place {} for the text."""

    plus_minus: str
    minus: str
    bold: str


_MARKDOWN = _Style("±", "-", "**{}**")
_LATEX = _Style(r"$\pm$", "$-$", r"\textbf{{{}}}")


@dataclass(frozen=True)
class Comparison:
    """means[subset][arm][kind]; differences[subset][(arm, reference)][kind].

    sizes: segments of each subset. best: the arm with the highest mean of verb and noun.
    """

    plan: Plan
    sizes: dict[str, int]
    means: dict[str, dict[str, dict[str, Mean]]]
    differences: dict[str, dict[tuple[str, str], dict[str, Difference]]]
    best: str


def compare(plan: Plan, outcomes: Outcomes, resamples: int = RESAMPLES) -> Comparison:
    """All arms on all subsets; a difference is over the seeds that both arms have."""
    means: dict[str, dict[str, dict[str, Mean]]] = {}
    differences: dict[str, dict[tuple[str, str], dict[str, Difference]]] = {}
    for subset, mask in outcomes.subsets.items():
        means[subset] = {
            name: {kind: mean_over_seeds(arm.hits[kind][:, mask]) for kind in KINDS}
            for name, arm in outcomes.arms.items()
        }
        differences[subset] = {}
        for pair in plan.comparisons:
            if rows := _common_rows(outcomes, *pair):
                arm, reference = (outcomes.arms[name].hits for name in pair)
                differences[subset][pair] = {
                    kind: paired_difference(
                        arm[kind][rows[0]][:, mask], reference[kind][rows[1]][:, mask], resamples
                    )
                    for kind in KINDS
                }
    whole = means["all"]
    best = max(whole, key=lambda name: whole[name]["verb"].value + whole[name]["noun"].value)
    sizes = {name: int(mask.sum()) for name, mask in outcomes.subsets.items()}
    return Comparison(plan, sizes, means, differences, best)


def _common_rows(outcomes: Outcomes, arm: str, reference: str) -> tuple[list[int], ...] | None:
    """Rows of the seeds that both arms have, in one order; None where there is none."""
    found: list[ArmOutcome] = [
        outcomes.arms[name] for name in (arm, reference) if name in outcomes.arms
    ]
    common = sorted({*found[0].seeds} & {*found[1].seeds}) if len(found) == 2 else []
    if not common:
        return None
    return tuple([outcome.seeds.index(seed) for seed in common] for outcome in found)


def write_report(
    out: Path, comparison: Comparison, outcomes: Outcomes, runs: Sequence[Run]
) -> list[Path]:
    """Write table.md, table.tex, table.csv and table.json; returns their paths."""
    texts = {
        "table.md": markdown(comparison, runs),
        "table.tex": latex(comparison),
        "table.csv": csv_rows(comparison),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    written = write_json(out / "table.json", as_json(comparison, outcomes, runs))
    return [*(out / name for name in texts), written]


def markdown(comparison: Comparison, runs: Sequence[Run]) -> str:
    """One table per subset, one of the further comparisons, and what was run."""
    plan = comparison.plan
    parts = [f"# {plan.path.stem}: {plan.about}".rstrip(": "), _legend(comparison)]
    for subset, size in comparison.sizes.items():
        parts.append(f"## {_title(subset)}: {size} segments")
        heads = [f"{kind} | {kind} - {plan.compare_to}" for kind in KINDS]
        lines = [
            "| arm | | seeds | " + " | ".join(heads) + " |",
            "|---|---|---:|" + "---:|" * (2 * len(KINDS)),
        ]
        for name, means in comparison.means[subset].items():
            gains = comparison.differences[subset].get((name, plan.compare_to), {})
            cells = [name, plan.arm(name).about, str(means["verb"].seeds)]
            for kind in KINDS:
                cells += [_mean(means[kind], _MARKDOWN), _difference(gains.get(kind), _MARKDOWN)]
            lines.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    if further := _further(comparison, _MARKDOWN):
        lines = [
            "| difference | segments | " + " | ".join(KINDS) + " |",
            "|---|---|---:|---:|---:|",
        ]
        lines += ["| " + " | ".join(row) + " |" for row in further]
        parts += ["## Further comparisons", "\n".join(lines)]
    parts.append(f"Highest mean of verb and noun over all segments: {comparison.best}.")
    parts.append("; ".join(f"{part} {' '.join(found)}" for part, found in _made_with(runs).items()))
    return "\n\n".join(parts) + "\n"


def latex(comparison: Comparison) -> str:
    """A tabular of all subsets; needs no package."""
    plan = comparison.plan
    columns = "llr" + "rr" * len(KINDS)
    lines = [f"% {_legend(comparison)}", rf"\begin{{tabular}}{{{columns}}}", r"\hline"]
    heads = [f"{kind} & $\\Delta$ {kind}" for kind in KINDS]
    lines.append(" & ".join(["arm", "", "seeds", *heads]) + r" \\ \hline")
    for subset, size in comparison.sizes.items():
        title = rf"\emph{{{_title(subset)}, {size} segments}}"
        lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{{title}}} \\")
        for name, means in comparison.means[subset].items():
            gains = comparison.differences[subset].get((name, plan.compare_to), {})
            cells = [_escaped(name), _escaped(plan.arm(name).about), str(means["verb"].seeds)]
            for kind in KINDS:
                cells += [_mean(means[kind], _LATEX), _difference(gains.get(kind), _LATEX)]
            lines.append(" & ".join(cells) + r" \\")
        for row in (row for row in _further(comparison, _LATEX) if row[1] == subset):
            cells = [_escaped(row[0]), "", ""]
            for text in row[2:]:
                cells += ["", text]
            lines.append(" & ".join(cells) + r" \\")
        lines.append(r"\hline")
    return "\n".join([*lines, r"\end{tabular}"]) + "\n"


def csv_rows(comparison: Comparison) -> str:
    """One line per value: arm, reference (empty for a mean), subset, kind."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for subset, size in comparison.sizes.items():
        for arm, means in comparison.means[subset].items():
            for kind, mean in means.items():
                deviation = "" if mean.deviation != mean.deviation else f"{mean.deviation:.4f}"
                values = [f"{mean.value:.4f}", deviation, "", ""]
                rows.writerow([arm, "", subset, size, kind, mean.seeds, *values])
        for (arm, reference), gains in comparison.differences[subset].items():
            for kind, gain in gains.items():
                values = [f"{gain.value:.4f}", "", f"{gain.low:.4f}", f"{gain.high:.4f}"]
                rows.writerow([arm, reference, subset, size, kind, gain.seeds, *values])
    return text.getvalue()


def as_json(comparison: Comparison, outcomes: Outcomes, runs: Sequence[Run]) -> dict[str, Any]:
    """Everything, and what each seed reached."""
    plan = comparison.plan
    return {
        "plan": str(plan.path),
        "about": plan.about,
        "estimator": ESTIMATOR,
        "compare_to": plan.compare_to,
        "best": comparison.best,
        "segments": comparison.sizes,
        "made_with": _made_with(runs),
        "arms": {
            name: {
                "about": plan.arm(name).about,
                "overrides": list(plan.arm(name).overrides),
                "seeds": list(arm.seeds),
                "means": {s: _dicts(comparison.means[s][name]) for s in comparison.sizes},
                "by_seed": {
                    subset: {
                        kind: (100 * arm.hits[kind][:, mask].mean(axis=1)).tolist()
                        for kind in KINDS
                    }
                    for subset, mask in outcomes.subsets.items()
                },
            }
            for name, arm in outcomes.arms.items()
        },
        "differences": [
            {"arm": arm, "reference": reference, "subset": subset, **_dicts(gains)}
            for subset, pairs in comparison.differences.items()
            for (arm, reference), gains in pairs.items()
        ],
    }


def _dicts(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {kind: asdict(value) for kind, value in values.items()}


def _made_with(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The hashes of the runs that test, by part; several where arms differ."""
    scored = [run for run in runs if run.arm.scored]
    parts = {part: sorted({run.made_with[part] for run in scored}) for part in PARTS}
    return {part: found for part, found in parts.items() if part != "config"}


def _further(comparison: Comparison, style: _Style) -> list[list[str]]:
    """Rows (arm - reference, subset, one difference per kind) beside those to the base."""
    return [
        [f"{arm} - {reference}", subset, *(_difference(gains[kind], style) for kind in KINDS)]
        for (arm, reference) in comparison.plan.also_compare
        for subset, pairs in comparison.differences.items()
        if (gains := pairs.get((arm, reference)))
    ]


def _legend(comparison: Comparison) -> str:
    counts = [means["verb"].seeds for means in comparison.means["all"].values()]
    alone = " With one seed the interval is over segments alone." if min(counts) == 1 else ""
    return (
        f"{ESTIMATOR[0].upper()}{ESTIMATOR[1:]}; bold: the interval excludes zero.{alone} "
        f"Differences are to {comparison.plan.compare_to}. Unseen: verb-noun combinations without "
        "a segment in ego training."
    )


def _title(subset: str) -> str:
    return {"all": "All", "seen": "Seen combinations", "unseen": "Unseen combinations"}[subset]


def _mean(mean: Mean, style: _Style) -> str:
    deviation = MISSING if np.isnan(mean.deviation) else f"{mean.deviation:.1f}"
    return f"{mean.value:.1f} {style.plus_minus} {deviation}"


def _difference(gain: Difference | None, style: _Style) -> str:
    if gain is None:
        return ""
    text = f"{gain.value:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]".replace("-", style.minus)
    return style.bold.format(text) if gain.excludes_zero else text


def _escaped(text: str) -> str:
    for sign in "&%#_":
        text = text.replace(sign, rf"\{sign}")
    return text
