"""Names of values, and the one that selects the best checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from slowfast.config.heads import HeadSpec
from slowfast.evaluation.metric_names import best_metric, main_value, validation_metrics
from slowfast.evaluation.metric_registry import METRICS, register_metric
from slowfast.utils.errors import UserError
from tests.evaluation.added_metrics import added
from tests.evaluation.verb_noun import verb_noun_heads

VERB_NOUN = verb_noun_heads(5, 7)
ACTION = (HeadSpec("action", 9, False),)
LABEL = (HeadSpec("label", 9, False),)
THREE = tuple(HeadSpec(name, 4, False) for name in ("verb", "noun", "hand"))
MANY = (HeadSpec("label", 157, True),)
EXO = tuple(head._replace(multi_label=True) for head in VERB_NOUN)


@pytest.mark.parametrize(
    ("heads", "expected", "default"),
    [
        (
            VERB_NOUN,
            {"verb_top1", "verb_top5", "noun_top1", "noun_top5", "action_top1"},
            "action_top1",
        ),
        (ACTION, {"action_top1", "action_top5"}, "action_top1"),
        (LABEL, {"label_top1", "label_top5"}, "label_top1"),
        (THREE, {*(f"{h.name}_top{k}" for h in THREE for k in (1, 5)), "all_top1"}, "all_top1"),
        (MANY, {"label_mAP", "mAP"}, "mAP"),
        (EXO, {"verb_mAP", "noun_mAP", "mAP"}, "mAP"),
    ],
)
def test_names_follow_from_the_heads(
    heads: tuple[HeadSpec, ...], expected: set[str], default: str
) -> None:
    names = tuple(validation_metrics(heads))
    assert len(names) == len(set(names))
    assert {name for name in names if "top" in name or "mAP" in name} == expected
    assert best_metric(heads).name == default
    # What a message lists first.
    assert default in names[:1]


@pytest.mark.parametrize("asked", ["action_top5", "top1", "mAP", "sideways"])
def test_what_is_not_validated_selects_nothing(asked: str) -> None:
    with pytest.raises(UserError, match=f"TRAIN.BEST_METRIC {asked} .*choose one of action_top1"):
        best_metric(VERB_NOUN, asked)


def test_the_better_value_is_the_higher_or_the_lower_one(tmp_path: Path) -> None:
    higher = best_metric(VERB_NOUN, "noun_top5")
    assert higher.improves(1.0, None)
    assert higher.improves(2.0, 1.0)
    assert not higher.improves(1.0, 1.0)
    lower = best_metric(VERB_NOUN, "verb_calibration_error")
    assert lower.improves(1.0, 2.0)
    assert not lower.improves(2.0, 1.0)
    for metric in (higher, lower):
        assert not metric.improves(math.nan, None)
        assert not metric.improves(math.nan, 1.0)
    with added(tmp_path, "error"):
        assert best_metric(THREE, "all_error").lower_is_better


def test_main_values_are_told_by_their_longest_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(key: str) -> tuple[str, str] | None:
        named = main_value(key)
        return None if named is None else (named[0], named[1].name)

    assert found("my_head_top1") == ("my_head", "top1")
    assert found("mAP") == ("", "mAP")
    assert found("verb_mAP") == ("verb", "mAP")
    for key in ("chance_verb_top1", "num_segments", "verb_calibration_error", "desktop1"):
        assert found(key) is None
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    register_metric("strict_top1", labels="single", chance=lambda answers: 0.0)(lambda answers: 0)
    assert found("verb_strict_top1") == ("verb", "strict_top1")


def test_a_name_is_taken_once() -> None:
    list(METRICS)
    with pytest.raises(ValueError, match="two metric entries are called top1"):
        register_metric("top1", labels="single")(lambda answers: 0)
