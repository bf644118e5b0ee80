"""The comparison of the arms as one table of values, and the files that show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from slowfast.evaluation.report_links import report_links
from slowfast.evaluation.tables import MISSING
from slowfast.lab.ablation.fingerprint import PARTS
from slowfast.lab.ablation.outcomes import Outcomes
from slowfast.lab.ablation.plan import Plan
from slowfast.lab.ablation.runs import Run
from slowfast.lab.ablation.statistics import RESAMPLES, mean_over_seeds, paired_difference
from slowfast.utils.files import write_json, write_text

ESTIMATOR = (
    "top-1 in percent, mean ± standard deviation over seeds; differences are paired by seed and "
    "segment, with 95 % intervals over seeds and segments (both resampled, "
    f"{RESAMPLES} times)"
)
_COLUMNS = (
    *("arm", "reference", "subset", "segments", "kind", "seeds"),
    *("value", "deviation", "low", "high"),
)
_TITLES = {"all": "All", "seen": "Seen combinations", "unseen": "Unseen combinations"}


@dataclass(frozen=True)
class Comparison:
    """All arms on all subsets.

    values: one row per arm, reference, subset and kind. With an empty reference it is the mean of
        the arm (value, deviation), else its difference to the reference (value, low, high).
    sizes: segments of each subset. best: the arm with the highest mean over the heads.
    """

    plan: Plan
    values: pd.DataFrame
    sizes: dict[str, int]
    best: str

    @property
    def kinds(self) -> list[str]:
        """The heads, then the joint answer of several."""
        return list(self.values.kind.unique())

    @property
    def means(self) -> pd.DataFrame:
        return self.values[self.values.reference == ""]


def compare(plan: Plan, outcomes: Outcomes, resamples: int = RESAMPLES) -> Comparison:
    """All arms on all subsets; a difference is over the seeds that both arms have."""
    values = pd.DataFrame(_rows(plan, outcomes, resamples), columns=_COLUMNS)
    whole = values[(values.subset == "all") & (values.reference == "")]
    heads = _heads(list(values.kind.unique()))
    summed = whole[whole.kind.isin(heads)].groupby("arm", sort=False).value.sum()
    sizes = {name: int(mask.sum()) for name, mask in outcomes.subsets.items()}
    return Comparison(plan, values, sizes, str(summed.idxmax()))


def _heads(kinds: list[str]) -> list[str]:
    """The kinds without the joint answer."""
    return kinds[:-1] or kinds


def _rows(plan: Plan, outcomes: Outcomes, resamples: int) -> Iterator[dict[str, Any]]:
    """The rows of `Comparison.values`."""
    arms = outcomes.arms
    for subset, mask in outcomes.subsets.items():
        common = {"subset": subset, "segments": int(mask.sum())}
        for name, arm in arms.items():
            for kind in arm.hits:
                mean = mean_over_seeds(arm.hits[kind][:, mask])
                yield {"arm": name, "reference": "", **common, "kind": kind, **asdict(mean)}
        for name, reference in plan.comparisons:
            if name not in arms or reference not in arms:
                continue
            seeds = [arms[name].seeds, arms[reference].seeds]
            shared = sorted({*seeds[0]} & {*seeds[1]})
            rows = [[own.index(seed) for seed in shared] for own in seeds]
            for kind in arms[name].hits if shared else ():
                gain = paired_difference(
                    arms[name].hits[kind][rows[0]][:, mask],
                    arms[reference].hits[kind][rows[1]][:, mask],
                    resamples,
                )
                yield {"arm": name, "reference": reference, **common, "kind": kind, **asdict(gain)}


def write_report(
    out: Path, comparison: Comparison, outcomes: Outcomes, runs: Sequence[Run]
) -> list[Path]:
    """Write table.md, table.tex, table.csv and table.json; returns their paths."""
    texts = {
        "table.md": markdown(comparison, runs, seen_from=out),
        "table.tex": latex(comparison),
        "table.csv": csv_rows(comparison),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    written = write_json(out / "table.json", as_json(comparison, outcomes, runs))
    return [*(out / name for name in texts), written]


class _Style(NamedTuple):
    """Spelling of signs in a format. bold: has a place {} for the text. escaped: signs of names."""

    plus_minus: str
    minus: str
    bold: str
    escaped: str = ""

    def name(self, text: str) -> str:
        for sign in self.escaped:
            text = text.replace(sign, rf"\{sign}")
        return text

    def cell(self, row: Any) -> str:
        """A row of `Comparison.values` as text."""
        if not row.reference:
            deviation = MISSING if pd.isna(row.deviation) else f"{row.deviation:.1f}"
            return f"{row.value:.1f} {self.plus_minus} {deviation}"
        text = f"{row.value:+.1f} [{row.low:+.1f}, {row.high:+.1f}]".replace("-", self.minus)
        return self.bold.format(text) if row.low > 0 or row.high < 0 else text


_MARKDOWN = _Style("±", "-", "**{}**")
_LATEX = _Style(r"$\pm$", "$-$", r"\textbf{{{}}}", "&%#_")


def _tables(comparison: Comparison, style: _Style) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The arms with their differences to the base, and the further comparisons, as text."""
    plan, base, kinds = comparison.plan, comparison.plan.compare_to, comparison.kinds
    seeds = {str(row.arm): row.seeds for row in comparison.means.itertuples()}
    cells = {
        (row.subset, row.arm, row.reference, row.kind): style.cell(row)
        for row in comparison.values.itertuples()
    }
    arms = [
        {
            "segments": subset,
            "arm": style.name(arm),
            "": style.name(plan.arm(arm).about),
            "seeds": seeds[arm],
        }
        | {
            style.name(column): cells.get((subset, arm, reference, kind), "")
            for kind in kinds
            for column, reference in ((kind, ""), (f"{kind} - {base}", base))
        }
        for subset in comparison.sizes
        for arm in seeds
    ]
    further = [
        {"difference": style.name(f"{arm} - {reference}"), "segments": subset}
        | {kind: cells[subset, arm, reference, kind] for kind in kinds}
        for arm, reference in plan.also_compare
        for subset in comparison.sizes
        if (subset, arm, reference, kinds[0]) in cells
    ]
    return pd.DataFrame(arms), pd.DataFrame(further)


def markdown(comparison: Comparison, runs: Sequence[Run], seen_from: Path = Path()) -> str:
    """One table per subset, one of the further comparisons, and what was run.

    seen_from: folder of the text, for links to the reports of the runs that have one.
    """
    plan = comparison.plan
    arms, further = _tables(comparison, _MARKDOWN)
    parts = [f"# {plan.path.stem}: {plan.about}".rstrip(": "), _legend(comparison)]
    for subset, size in comparison.sizes.items():
        table = arms[arms.segments == subset].drop(columns="segments")
        parts += [f"## {_TITLES[subset]}: {size} segments", _to_markdown(table)]
    if len(further):
        parts += ["## Further comparisons", _to_markdown(further)]
    heads = " and ".join(_heads(comparison.kinds))
    parts.append(f"Highest mean of {heads} over all segments: {comparison.best}.")
    if links := report_links(((run.name, run.folder) for run in runs), seen_from):
        parts.append("Reports: " + ", ".join(links) + ".")
    parts.append("; ".join(f"{part} {' '.join(found)}" for part, found in _made_with(runs).items()))
    return "\n\n".join(parts) + "\n"


def _to_markdown(table: pd.DataFrame) -> str:
    align = ["left", "left", *["right"] * (len(table.columns) - 2)]
    # Without disable_numparse, tabulate would reformat the numbers among the texts.
    return str(table.to_markdown(index=False, disable_numparse=True, colalign=align))


def latex(comparison: Comparison) -> str:
    """A tabular of the arms on all subsets, and one of the further comparisons."""
    sizes = ", ".join(f"{subset} {size}" for subset, size in comparison.sizes.items())
    parts = [f"% {_legend(comparison)}\n% Segments: {sizes}. Needs the package booktabs.\n"]
    for table, names in zip(_tables(comparison, _LATEX), (3, 2), strict=True):
        if len(table):
            align = "l" * names + "r" * (len(table.columns) - names)
            parts.append(table.to_latex(index=False, column_format=align))
    return "\n".join(parts)


def csv_rows(comparison: Comparison) -> str:
    """The table of `Comparison.values` as CSV text."""
    return str(comparison.values.to_csv(index=False, float_format="%.4f"))


def as_json(comparison: Comparison, outcomes: Outcomes, runs: Sequence[Run]) -> dict[str, Any]:
    """The whole comparison as JSON values, with the result of each seed."""
    plan = comparison.plan
    by_seed = [
        {"arm": name, "seed": seed, "subset": subset, "kind": kind, "value": 100 * hits.mean()}
        for name, arm in outcomes.arms.items()
        for subset, mask in outcomes.subsets.items()
        for kind, found in arm.hits.items()
        for seed, hits in zip(arm.seeds, found[:, mask], strict=True)
    ]
    return {
        "plan": str(plan.path),
        "about": plan.about,
        "estimator": ESTIMATOR,
        "compare_to": plan.compare_to,
        "best": comparison.best,
        "segments": comparison.sizes,
        "made_with": _made_with(runs),
        "arms": {
            name: {"about": plan.arm(name).about, "overrides": list(plan.arm(name).overrides)}
            for name in outcomes.arms
        },
        "values": comparison.values.to_dict("records"),
        "by_seed": by_seed,
    }


def _made_with(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The hashes of the runs that test, by part; several where arms differ."""
    scored = [run for run in runs if run.arm.scored]
    parts = {part: sorted({run.made_with[part] for run in scored}) for part in PARTS}
    return {part: found for part, found in parts.items() if part != "config"}


def _legend(comparison: Comparison) -> str:
    one_seed = comparison.means.seeds.min() == 1
    alone = " With one seed the interval is over segments alone." if one_seed else ""
    return (
        f"{ESTIMATOR[0].upper()}{ESTIMATOR[1:]}; bold: the interval excludes zero.{alone} "
        f"Differences are to {comparison.plan.compare_to}. Unseen: combinations of labels "
        "without a segment in ego training."
    )
