"""Values of heads of any name and number, against naive counts."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from slowfast.config.heads import HeadSpec
from slowfast.evaluation.answers import HeadAnswers, JointAnswers
from slowfast.evaluation.head_values import check_metrics, head_values
from slowfast.evaluation.metric_names import validation_metrics
from slowfast.evaluation.metric_registry import METRICS, register_metric
from slowfast.evaluation.metrics import rate
from slowfast.evaluation.results import recognition_results
from slowfast.evaluation.tables import format_table
from slowfast.utils.errors import UserError
from tests.evaluation.added_metrics import added
from tests.evaluation.verb_noun import verb_noun_heads

N = 90
RNG = np.random.default_rng(4)
THREE = tuple(HeadSpec(name, 4 + i, False) for i, name in enumerate(("verb", "noun", "hand")))
MANY = HeadSpec("label", 157, True)


def _single(heads: tuple[HeadSpec, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    labels = [RNG.integers(0, head.num_classes, N) for head in heads]
    scores = [RNG.standard_normal((N, head.num_classes)) for head in heads]
    for s, y in zip(scores, labels, strict=True):
        s[np.arange(N), y] += 1.5
    return scores, labels


def _right(scores: list[np.ndarray], labels: list[np.ndarray]) -> np.ndarray:
    return np.all([s.argmax(1) == y for s, y in zip(scores, labels, strict=True)], axis=0)


@pytest.mark.parametrize(
    "heads",
    [(HeadSpec("action", 9, False),), verb_noun_heads(5, 7), THREE, (MANY,)],
    ids=["action", "verb and noun", "three", "multi-label"],
)
def test_training_gives_the_names_that_are_promised(heads: tuple[HeadSpec, ...]) -> None:
    if heads[0].multi_label:
        scores, labels = [RNG.random((N, 157))], [RNG.random((N, 157)) < 0.1]
    else:
        scores, labels = _single(heads)
    values = head_values(heads, scores, labels)
    assert set(values) == set(validation_metrics(heads))
    results = recognition_results(heads, scores, labels, resamples=5)
    flat = {**results, **results.get("ours", {})}
    # Without ties the joint answer is right where its best pair is.
    for name, value in values.items():
        assert value == pytest.approx(flat[name], rel=1e-12), name
    for name, (low, high) in results["intervals"].items():
        assert low <= high, name


def test_one_head_called_action_has_no_joint_answer() -> None:
    heads = (HeadSpec("action", 9, False),)
    scores, labels = _single(heads)
    results = recognition_results(heads, scores, labels, resamples=5)
    assert results["action_top1"] == pytest.approx(100 * _right(scores, labels).mean())
    assert not {"official", "segments", "all_top1", "action_both_top5"} & set(results)
    table = format_table(results).splitlines()
    assert table[0].split()[:2] == ["%", "top-1"]
    assert table[1].split()[:2] == ["action", f"{results['action_top1']:.2f}"]


def test_three_heads_have_a_joint_answer_called_all() -> None:
    scores, labels = _single(THREE)
    results = recognition_results(THREE, scores, labels, resamples=5)
    all_right = _right(scores, labels)
    assert 0 < all_right.mean() < 1
    assert results["all_top1"] == pytest.approx(100 * all_right.mean())
    combinations = list(zip(*(y.tolist() for y in labels), strict=True))
    most = max(combinations.count(c) for c in combinations)
    assert results["chance_all_top1"] == pytest.approx(100 * most / N)
    recalls = [all_right[[d == c for d in combinations]].mean() for c in sorted(set(combinations))]
    assert results["ours"]["all_class_mean_recall_at_1"] == pytest.approx(100 * np.mean(recalls))
    assert not {"official", "segments", "all_top5", "action_top1"} & set(results)
    lines = format_table(results).splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["%", "verb", "noun", "hand", "all"]
    # No rank of the combinations: dashes for top-5.
    assert lines[4].split()[-3:] == ["-", "-", "-"]


def test_verb_and_noun_in_the_other_order_follow_the_protocol_too() -> None:
    heads = verb_noun_heads(5, 7)
    scores, labels = _single(heads)
    there = recognition_results(heads, scores, labels, resamples=5)
    back = recognition_results(heads[::-1], scores[::-1], labels[::-1], resamples=5)
    assert there["official"] == back["official"]
    assert there["action_top5"] == back["action_top5"]
    assert there["ours"] == pytest.approx(back["ours"])


def test_many_classes_of_which_a_segment_has_several() -> None:
    scores, labels = RNG.random((N, 157)), RNG.random((N, 157)) < 0.05
    results = recognition_results([MANY], [scores], [labels.astype(np.float32)], resamples=5)
    assert results["num_classes"] == {"label": 157}
    assert results["label_mAP"] == results["mAP"] > 0
    assert "num_unlabelled" not in results
    assert "ours" not in results
    assert format_table(results).splitlines()[1].split()[0] == "label"


def test_unlabelled_segments_do_not_count() -> None:
    scores, labels = _single(THREE)
    labels[1] = np.where(np.arange(N) < 30, -1, labels[1])
    expected = head_values(THREE, [s[30:] for s in scores], [y[30:] for y in labels])
    assert head_values(THREE, scores, labels) == expected
    assert head_values(THREE, scores, [np.full(N, -1)] * 3) == {}


def test_the_joint_answer_without_ranks_knows_the_best_one_alone() -> None:
    scores, labels = _single(THREE)
    joint = JointAnswers([HeadAnswers(s, y) for s, y in zip(scores, labels, strict=True)])
    np.testing.assert_array_equal(joint.in_top(1), _right(scores, labels))
    with pytest.raises(ValueError, match="are not ranked"):
        joint.in_top(5)


def test_a_new_metric_is_one_file(tmp_path: Path) -> None:
    heads = verb_noun_heads(5, 7)
    scores, labels = _single(heads)
    with added(tmp_path, "reciprocal_rank", "error"):
        values = head_values(heads, scores, labels)
        results = recognition_results(heads, scores, labels, resamples=5)
        table = format_table(results)
        names = validation_metrics(heads)
    order = np.argsort(-scores[0], axis=1)
    places = 1 + (order == labels[0][:, None]).argmax(axis=1)
    expected = 100 * np.mean(1 / places)
    assert values["verb_reciprocal_rank"] == pytest.approx(expected)
    assert results["ours"]["verb_reciprocal_rank"] == pytest.approx(expected)
    assert "action_reciprocal_rank" not in {*values, *results["ours"]}
    assert results["action_error"] == pytest.approx(100 * (1 - _right(scores, labels).mean()))
    assert results["chance_action_error"] == pytest.approx(100 - results["chance_action_top1"])
    assert {"verb_reciprocal_rank", "noun_reciprocal_rank", "action_error"} < set(names)
    lines = table.splitlines()
    assert "error" in lines[0].split()
    assert f"{results['action_error']:.2f}" in lines[3]
    assert any(line.startswith("noun_reciprocal_rank ") for line in lines)
    low, high = results["intervals"]["verb_reciprocal_rank"]
    assert low <= expected <= high
    assert "verb_error" not in recognition_results(heads, scores, labels, resamples=5)


def test_a_new_metric_of_multi_label_heads_has_a_mean_over_them(tmp_path: Path) -> None:
    heads = [head._replace(multi_label=True) for head in verb_noun_heads(5, 7)]
    scores = [RNG.random((N, head.num_classes)) for head in heads]
    labels = [RNG.random((N, head.num_classes)) < 0.3 for head in heads]
    with added(tmp_path, "hit"):
        values = head_values(heads, scores, labels)
        results = recognition_results(heads, scores, labels, resamples=5)
    hits = [y[np.arange(N), s.argmax(1)].mean() for s, y in zip(scores, labels, strict=True)]
    assert values["noun_hit"] == pytest.approx(100 * hits[1])
    assert values["hit"] == results["ours"]["hit"] == pytest.approx(50 * sum(hits))


@pytest.mark.parametrize(
    ("joint", "function", "message"),
    [
        ("none", lambda answers: 1.0, "verb_mine .* metric mine returns a float, not a function"),
        (
            "best",
            lambda answers: partial(rate, answers.in_top(5)),
            'action_mine .* joint="ranking"',
        ),
        ("none", lambda answers: partial(rate, answers.missing), "verb_mine .* no attribute"),
    ],
)
def test_a_metric_that_fails_is_named_before_training(monkeypatch, joint, function, message):
    monkeypatch.setattr(METRICS, "_entries", {name: METRICS.get(name) for name in METRICS})
    heads = (HeadSpec("verb", 97, False), HeadSpec("noun", 3, False))
    check_metrics(heads)
    check_metrics((HeadSpec("step", 2, True),))
    register_metric("mine", labels="single", joint=joint)(function)
    with pytest.raises(UserError, match=message):
        check_metrics(heads)


def test_a_title_needs_a_chance_level():
    with pytest.raises(ValueError, match="give chance="):
        register_metric("mine", labels="single", title="Mine")
