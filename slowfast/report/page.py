"""One self-contained HTML page about one or more runs: no network, opens from disk."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slowfast.report.run import ReportRun
from slowfast.report.sections.classes import calibration, confusion, per_class
from slowfast.report.sections.curves import curves
from slowfast.report.sections.embedding import embedding
from slowfast.report.sections.examples import examples
from slowfast.report.sections.pairs import pairs
from slowfast.report.sections.results import differences, results
from slowfast.report.sections.summary import summary
from slowfast.utils.errors import UserError

_ASSETS = Path(__file__).parent / "assets"
# Filmstrips per group of pairs and of predictions on one page, divided among the runs.
_PAIRS, _EXAMPLES = 24, 12


def page(runs: Sequence[ReportRun], *, explain: bool = True) -> str:
    """The page. Other runs are compared with the first one.

    explain: with Grad-CAM maps of the shown predictions.

    Raises: UserError if plotly, which draws the charts, is not installed.
    """
    content = page_content(runs, explain=explain)
    title = html.escape(", ".join(run.name for run in runs))
    template = (_ASSETS / "page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": title,
        "STYLE": (_ASSETS / "style.css").read_text(encoding="utf-8"),
        "PLOTLY": _plotly(),
        "SCRIPT": (_ASSETS / "page.js").read_text(encoding="utf-8"),
        "DATA": _inside_script(content),
    }
    # Split at the markers, so that a marker in the data is not replaced.
    pieces = template.split("@@")
    return "".join(parts[piece] if k % 2 else piece for k, piece in enumerate(pieces))


def page_content(runs: Sequence[ReportRun], *, explain: bool) -> dict[str, Any]:
    """Content that the page's script draws."""
    num_pairs, num_examples = (max(1, n // len(runs)) for n in (_PAIRS, _EXAMPLES))
    return {
        "curves": curves(runs),
        "differences": differences(runs),
        "runs": [_of_run(run, num_pairs, num_examples, explain) for run in runs],
    }


def _of_run(run: ReportRun, num_pairs: int, num_examples: int, explain: bool) -> dict[str, Any]:
    content = {
        "name": run.name,
        **summary(run),
        "results": results(run),
        "classes": per_class(run),
        "confusion": confusion(run),
        "calibration": calibration(run),
        "pairs": pairs(run, num_pairs),
        "examples": examples(run, num_examples, explain=explain),
        "embedding": embedding(run),
    }
    # Filled by the sections.
    return {**content, "missing": list(dict.fromkeys(run.missing))}


def _inside_script(content: Any) -> str:
    """JSON that is safe inside a script element; NaN becomes null."""
    text = json.dumps(_finite(content), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        # Six digits are enough to draw, and halve the page.
        return float(f"{value:.6g}") if value == value and abs(value) != float("inf") else None
    return value


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise UserError("the report's charts need plotly; pip install plotly") from None
    return str(get_plotlyjs())
