"""Content of `results.json`: every value of one test, in percent.

Legend: n segments, K classes of a head.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowfast.config.heads import HeadSpec
from slowfast.evaluation.epic import EpicProtocol
from slowfast.evaluation.epic_values import EpicValues, epic_values
from slowfast.evaluation.head_values import Answered, answer, labelled_rows, with_means
from slowfast.evaluation.metrics import Statistic, bootstrap_intervals
from slowfast.utils.errors import UserError


def recognition_results(
    heads: Sequence[HeadSpec],
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    protocol: EpicProtocol | None = None,
    *,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Results of the heads of a model.

    scores: per head (n, K), as in `HeadAnswers`. labels: per head (n,) class ids, or multi-hot
    (n, K). A segment with a class id of -1 is unlabelled: it is left out and counted separately.
    protocol: EPIC-KITCHENS protocol; it applies to the single-label heads verb and noun together.

    Keys: the main values (`{head}_top{1,5}`, `{head}_mAP`), the same with the prefix `chance_` (a
    constant answer), `official` (EPIC-KITCHENS), `ours` (all other metrics), `segments` (sizes of
    the official subsets), `intervals` (95 %, bootstrap over segments).

    Raises: UserError if a label is beyond the classes of its head.
    """
    arrays, truths = _arrays(scores), _arrays(labels)
    rows = labelled_rows(heads, truths)
    results: dict[str, Any] = {"num_segments": len(rows)}
    if not all(head.multi_label for head in heads):
        results["num_unlabelled"] = int((~rows).sum())
    results["num_classes"] = {h.name: s.shape[1] for h, s in zip(heads, arrays, strict=True)}
    if not rows.any():
        return results
    answered = answer(heads, [s[rows] for s in arrays], [y[rows] for y in truths], ranked=True)
    epic = epic_values(answered, (protocol or EpicProtocol()).of_rows(rows))
    main, ours = _statistics(answered, epic)
    once = np.ones(int(rows.sum()))
    results |= epic.sections
    results |= with_means(heads, _values(main, once))
    results |= {**answered.chances(), **epic.chances}
    for name, section in (("official", epic.official), ("ours", ours)):
        if section:
            results[name] = with_means(heads, _values(section, once))
    results["intervals"] = bootstrap_intervals(main | epic.official | ours, len(once), resamples)
    return results


def recognition_statistics(
    heads: Sequence[HeadSpec],
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    protocol: EpicProtocol | None = None,
) -> dict[str, Statistic]:
    """Statistics by name that compute `recognition_results` for any resample of the segments.

    Same arguments; every segment must be labelled.
    """
    answered = answer(heads, _arrays(scores), _arrays(labels), ranked=True)
    epic = epic_values(answered, protocol or EpicProtocol())
    main, ours = _statistics(answered, epic)
    return main | epic.official | ours


def read_results(path: Path | str) -> dict[str, Any]:
    """Read a results file. Raises: UserError if it is missing or not a results file."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); did the run finish its test?"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: not a results file ({error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("num_segments"), int):
        raise UserError(f"{path}: not a results file (no num_segments)")
    return content


def _statistics(
    answered: Answered, epic: EpicValues
) -> tuple[dict[str, Statistic], dict[str, Statistic]]:
    """The main values and those under `ours`, by name."""
    main: dict[str, Statistic] = {}
    ours: dict[str, Statistic] = {}
    for named, statistic in answered.statistics().items():
        (main if named.metric.chance else ours)[named.name] = statistic
    return main | epic.main, ours | epic.ours


def _values(statistics: Mapping[str, Statistic], weights: NDArray) -> dict[str, float]:
    return {name: statistic(weights) for name, statistic in statistics.items()}


def _arrays(values: Sequence[ArrayLike]) -> list[NDArray]:
    return [np.asarray(value) for value in values]
