"""A diagnosis as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Sequence[str]


def markdown(diagnoses: Sequence[Mapping[str, Any]]) -> str:
    """Four tables over all runs; `docs/ablation.md` says what each number means."""
    tables = (
        ("Pairs: share with the same label, in percent", _PAIRS, _pair_rows),
        ("Alignment: similarity of pairs, and recall in percent", _ALIGNMENT, _alignment_rows),
        ("Gradient at the ego backbone", _GRADIENTS, _gradient_rows),
        ("Linear probes, top-1 in percent", _PROBES, _probe_rows),
    )
    parts = ["# Diagnosis", *(_run_line(one) for one in diagnoses)]
    for title, columns, rows in tables:
        body = [row for one in diagnoses for row in rows(one)]
        if body:
            lines = [columns, ["---"] * len(columns), *body]
            parts += [f"## {title}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join(parts) + "\n"


_PAIRS = ["run", "label", "pairs", "chance", "most possible"]
_ALIGNMENT = [
    *("run", "epoch", "training: mined pairs", "random", "gap", "test: same label", "random"),
    *("gap", "ego to exo R@1", "chance", "exo to ego R@1", "chance"),
]
_GRADIENTS = ["run", "epoch", "term", "norm", "share", "cosine with classification"]
_PROBES = ["run", "epoch", "label", "z_ego", "pooled"]


def _run_line(one: Mapping[str, Any]) -> str:
    counts = "; ".join(
        f"{split} " + ", ".join(f"{count} {view}" for view, count in views.items())
        for split, views in one["segments"].items()
    )
    return (
        f"{one['run']}: seed {one['seed']}; segments: {counts}; gradients on {one['batches']} "
        f"batches of {one['batch_size']}."
    )


def _pair_rows(one: Mapping[str, Any]) -> Iterator[Row]:
    for head, shares in (one["pairs"] or {}).items():
        yield [one["run"], head, *(f"{shares[k]:.1f}" for k in ("pairs", "chance", "most"))]


def _alignment_rows(one: Mapping[str, Any]) -> Iterator[Row]:
    for row in one["checkpoints"]:
        train, test = row["alignment"]["train"], row["alignment"]["test"]
        if train is None or test is None:
            continue
        similarity = [
            _number(found, f"{pairs}_{key}")
            for found, pairs in ((train, "table_pairs"), (test, "label_pairs"))
            for key in ("positive", "random", "gap")
        ]
        recall = [
            _number(test, f"{prefix}{direction}_recall_at_1", 1)
            for direction in ("ego_to_exo", "exo_to_ego")
            for prefix in ("", "chance_")
        ]
        yield [one["run"], str(row["epoch"]), *similarity, *recall]


def _gradient_rows(one: Mapping[str, Any]) -> Iterator[Row]:
    for row in one["checkpoints"]:
        for term, found in row["gradients"].items():
            # Terms of the exo half alone do not reach the ego backbone.
            if found["norm"] > 0:
                numbers = [f"{found[key]:.3f}" for key in ("norm", "share", "cosine")]
                yield [one["run"], str(row["epoch"]), term, *numbers]


def _probe_rows(one: Mapping[str, Any]) -> Iterator[Row]:
    for row in one["checkpoints"]:
        for head in row["probes"]["z_ego"]:
            values = [f"{row['probes'][name][head]:.1f}" for name in ("z_ego", "pooled")]
            yield [one["run"], str(row["epoch"]), head, *values]


def _number(values: Mapping[str, float], name: str, digits: int = 3) -> str:
    return f"{values[name]:.{digits}f}" if name in values else "-"
