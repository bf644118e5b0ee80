"""Metrics that a user adds: files in a folder that the registry imports like its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slowfast.evaluation import head_metrics
from slowfast.evaluation.metric_registry import METRICS
from slowfast.utils.registry import import_modules
from tests.documented import block

# A main value, of the joint answer too, and lower is better.
ERROR = """
from functools import partial

from slowfast.evaluation.metric_registry import register_metric
from slowfast.evaluation.metrics import most_frequent_share, rate


@register_metric(
    "error",
    labels="single",
    joint="best",
    chance=lambda answers: 100 - most_frequent_share(answers.labels),
    lower_is_better=True,
)
def error(answers):
    return partial(rate, ~answers.hits)
"""

# Of multi-label heads: whether the most probable class is a right one.
HIT = """
from functools import partial

import numpy as np

from slowfast.evaluation.metric_registry import register_metric
from slowfast.evaluation.metrics import rate


@register_metric("hit", labels="multi")
def hit(answers):
    best = answers.scores.argmax(axis=1)
    return partial(rate, answers.labels[np.arange(len(best)), best])
"""


# The example of the documentation.
RECIPROCAL_RANK = block("docs/extending.md", "python", "@register_metric(")

FILES = {"reciprocal_rank": RECIPROCAL_RANK, "error": ERROR, "hit": HIT}


@contextmanager
def added(folder: Path, *names: str) -> Iterator[None]:
    """The metrics of `FILES` of these names, as files dropped next to the project's own."""
    # The project's own come first, as in a folder where a new file sorts last.
    list(METRICS)
    own_path, own = head_metrics.__path__, set(METRICS._entries)
    for name in names:
        (folder / f"zz_{name}.py").write_text(FILES[name])
    head_metrics.__path__ = [*own_path, str(folder)]
    try:
        import_modules(head_metrics)
        yield
    finally:
        head_metrics.__path__ = own_path
        for name in set(METRICS._entries) - own:
            del METRICS._entries[name]
        for name in names:
            del sys.modules[f"{head_metrics.__name__}.zz_{name}"]
