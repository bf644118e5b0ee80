"""Content of `results.json`, and its table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slowfast.config.heads import HeadSpec
from slowfast.evaluation.epic import (
    EpicProtocol,
    ManyShot,
    Subsets,
    many_shot,
    read_many_shot,
    read_subsets,
)
from slowfast.evaluation.results import read_results, recognition_results
from slowfast.evaluation.tables import format_table
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_json
from tests.evaluation.official import official_metrics
from tests.evaluation.verb_noun import verb_noun_heads

N = 120
RNG = np.random.default_rng(21)
HEADS = verb_noun_heads(8, 10)
MULTI_LABEL = tuple(head._replace(multi_label=True) for head in HEADS)
VERBS, NOUNS = RNG.integers(0, 6, N), RNG.integers(0, 9, N)
SCORES = [RNG.standard_normal((N, 8)), RNG.standard_normal((N, 10))]
SCORES[0][np.arange(N), VERBS] += 1.5
SCORES[1][np.arange(N), NOUNS] += 1.5
PARTICIPANTS = RNG.choice(["P01", "P18", "P32"], N).tolist()
ACTIONS = np.array([[0, 1], [0, 3], [2, 1], [2, 4], [5, 8], [5, 3], [2, 3]])
MANY_SHOT = ManyShot(np.array([0, 2, 5, 7]), np.array([1, 3, 4, 8]), ACTIONS)
SUBSETS = Subsets(frozenset({4, 5}), frozenset({7, 8}), frozenset({"P18", "P32"}))


def _top(scores: np.ndarray, k: int) -> list[set[int]]:
    return [set(np.argsort(-row)[:k].tolist()) for row in scores]


def _naive_official() -> dict[str, float]:
    """The official values by loops over segments."""
    hits: dict[str, list[bool]] = {}
    for i in range(N):
        unseen = PARTICIPANTS[i] in SUBSETS.unseen_participants
        rare_verb = VERBS[i] in SUBSETS.tail_verbs
        rare_noun = NOUNS[i] in SUBSETS.tail_nouns
        rare = {"verb": rare_verb, "noun": rare_noun, "action": rare_verb or rare_noun}
        pairs = {(v, n): SCORES[0][i, v] + SCORES[1][i, n] for v in range(8) for n in range(10)}
        rankings = {
            "verb": (np.argsort(-SCORES[0][i]).tolist(), VERBS[i]),
            "noun": (np.argsort(-SCORES[1][i]).tolist(), NOUNS[i]),
            "action": (sorted(pairs, key=lambda p: -pairs[p]), (VERBS[i], NOUNS[i])),
        }
        for kind, (ranking, label) in rankings.items():
            place = ranking.index(label)
            for k in (1, 5):
                hits.setdefault(f"all_{kind}_accuracy_at_{k}", []).append(place < k)
            if unseen:
                hits.setdefault(f"unseen_{kind}_accuracy_at_1", []).append(place < 1)
            if rare[kind]:
                hits.setdefault(f"tail_{kind}_accuracy_at_1", []).append(place < 1)
    return {name: 100 * float(np.mean(values)) for name, values in hits.items()}


@pytest.fixture(scope="module")
def results() -> dict:
    protocol = EpicProtocol(PARTICIPANTS, SUBSETS, MANY_SHOT, scorer_compat=True)
    return recognition_results(HEADS, SCORES, [VERBS, NOUNS], protocol, resamples=100)


def test_official_values_equal_naive_loops(results: dict) -> None:
    expected = _naive_official()
    assert len(expected) == 12
    assert results["official"] == pytest.approx(expected)
    assert official_metrics(*SCORES, VERBS, NOUNS, PARTICIPANTS, SUBSETS) == pytest.approx(expected)


def test_main_values_repeat_the_official_ones(results: dict) -> None:
    for kind in ("verb", "noun", "action"):
        for k in (1, 5):
            assert results[f"{kind}_top{k}"] == results["official"][f"all_{kind}_accuracy_at_{k}"]
    top5 = [_top(s, 5) for s in SCORES]
    both = [v in a and n in b for v, n, a, b in zip(VERBS, NOUNS, *top5, strict=True)]
    assert results["action_both_top5"] == pytest.approx(100 * np.mean(both))
    assert results["num_segments"] == N
    assert results["segments"]["tail_action"] == int(
        np.sum(np.isin(VERBS, [4, 5]) | np.isin(NOUNS, [7, 8]))
    )


def test_chance_is_the_share_of_the_most_frequent_classes(results: dict) -> None:
    counts = np.sort(np.bincount(VERBS))[::-1]
    assert results["chance_verb_top1"] == pytest.approx(100 * counts[0] / N)
    assert results["chance_verb_top5"] == pytest.approx(100 * counts[:5].sum() / N)
    actions = np.bincount(VERBS * 10 + NOUNS)
    assert results["chance_action_top1"] == pytest.approx(100 * actions.max() / N)


def test_every_value_has_an_interval_around_it(results: dict) -> None:
    flat = {**results, **results["official"], **results["ours"]}
    assert set(results["intervals"]) >= {*results["official"], *results["ours"], "action_top5"}
    for name, (low, high) in results["intervals"].items():
        assert low < high, name
        # A calibration error is never negative, so its resamples are above it.
        assert low <= flat[name] <= high or "calibration" in name


def test_many_shot_values_equal_naive_loops(results: dict) -> None:
    predicted = [s.argmax(axis=1).tolist() for s in SCORES]
    answers = {
        "verb": (predicted[0], VERBS.tolist(), MANY_SHOT.verbs.tolist()),
        "noun": (predicted[1], NOUNS.tolist(), MANY_SHOT.nouns.tolist()),
        "action": (
            list(zip(*predicted, strict=True)),
            list(zip(VERBS.tolist(), NOUNS.tolist(), strict=True)),
            [tuple(pair) for pair in ACTIONS.tolist()],
        ),
    }
    for kind, (given, true, classes) in answers.items():
        precisions, recalls = [], []
        for c in [c for c in classes if c in true]:
            right = sum(g == t == c for g, t in zip(given, true, strict=True))
            precisions.append(right / max(given.count(c), 1))
            recalls.append(right / true.count(c))
        assert results["ours"][f"many_shot_{kind}_precision"] == pytest.approx(
            100 * np.mean(precisions)
        )
        assert results["ours"][f"many_shot_{kind}_recall"] == pytest.approx(100 * np.mean(recalls))
        assert 0 < np.mean(recalls) < 1


def test_many_shot_means_more_than_a_hundred_rows() -> None:
    verbs, nouns = [0] * 100 + [1] * 101 + [1], [2] * 201 + [3]
    chosen = many_shot(verbs, nouns)
    assert (chosen.verbs.tolist(), chosen.nouns.tolist()) == ([1], [2])
    assert chosen.actions.tolist() == [[1, 2]]


def test_many_shot_classes_of_epic_55(real: Path) -> None:
    chosen = read_many_shot(real)
    assert chosen is not None
    assert [len(part) for part in (chosen.verbs, chosen.nouns, chosen.actions)] == [26, 71, 819]


def test_unlabelled_segments_are_counted_and_left_out() -> None:
    verbs = VERBS.copy()
    verbs[:20] = -1
    protocol = EpicProtocol(PARTICIPANTS, SUBSETS)
    partly = recognition_results(HEADS, SCORES, [verbs, NOUNS], protocol, resamples=5)
    protocol = EpicProtocol(PARTICIPANTS[20:], SUBSETS)
    labels = [VERBS[20:], NOUNS[20:]]
    rest = recognition_results(HEADS, [s[20:] for s in SCORES], labels, protocol, resamples=5)
    assert (partly["num_segments"], partly["num_unlabelled"]) == (N, 20)
    assert partly["official"] == rest["official"]
    none = recognition_results(HEADS, SCORES, [np.full(N, -1), np.full(N, -1)])
    assert "verb_top1" not in none
    assert format_table(none) == f"{N} segments, {N} of them without labels"


def test_a_label_beyond_the_head_is_refused() -> None:
    with pytest.raises(UserError, match="verb label 8 is beyond the 8 verb classes"):
        recognition_results(HEADS, SCORES, [np.full(N, 8), NOUNS])


def test_one_head_has_no_actions() -> None:
    results = recognition_results([HeadSpec("class", 8, False)], SCORES[:1], [VERBS], resamples=5)
    assert "official" not in results
    assert results["class_top1"] == pytest.approx(100 * np.mean(SCORES[0].argmax(1) == VERBS))
    assert "class" in format_table(results)


def test_multilabel_results() -> None:
    targets = [RNG.random((N, 8)) < 0.3, RNG.random((N, 10)) < 0.1]
    perfect = [t.astype(float) for t in targets]
    results = recognition_results(MULTI_LABEL, perfect, targets, resamples=20)
    assert results["verb_mAP"] == results["noun_mAP"] == results["mAP"] == 100.0
    constant = recognition_results(
        MULTI_LABEL, [np.zeros((N, 8)), np.zeros((N, 10))], targets, resamples=20
    )
    for head in ("verb", "noun"):
        assert constant[f"{head}_mAP"] == pytest.approx(constant[f"chance_{head}_mAP"])
    table = format_table(results)
    assert "mean average precision" in table
    assert "100.00" in table


def test_the_table_shows_values_chance_subsets_and_sizes(results: dict) -> None:
    table = format_table(results)
    for name in ("verb_top1", "noun_top5", "action_top1", "chance_noun_top1"):
        assert f"{results[name]:.2f}" in table
    assert f"{N} segments" in table
    assert f"{results['official']['unseen_action_accuracy_at_1']:.2f}" in table
    assert "verb_class_mean_recall_at_1" in table
    assert "published" not in table


def test_published_numbers_stand_beside_a_test_of_that_size() -> None:
    results = {"num_segments": 2398, "num_classes": {"verb": 125, "noun": 352}, "verb_top1": 50.0}
    table = format_table(results)
    line = next(line for line in table.splitlines() if "Ego-Exo" in line)
    assert line.split()[-4:] == ["64.05", "88.49", "48.58", "70.06"]


def test_a_value_that_no_segment_has_is_a_dash(tmp_path: Path) -> None:
    nothing = ManyShot(np.array([50]), np.array([60]), np.array([[50, 60]]))
    results = recognition_results(
        HEADS, SCORES, [VERBS, NOUNS], EpicProtocol(many_shot=nothing), resamples=3
    )
    write_json(tmp_path / "results.json", results)
    for content in (results, read_results(tmp_path / "results.json")):
        lines = format_table(content).splitlines()
        (line,) = (line for line in lines if line.startswith("many_shot_noun_recall"))
        assert line.split() == ["many_shot_noun_recall", "-", "-"]


def test_json_is_written_whole_and_without_nan(tmp_path: Path) -> None:
    path = write_json(tmp_path / "new" / "results.json", {"a": float("nan"), "b": [1.5, (2,)]})
    assert json.loads(path.read_text()) == {"a": None, "b": [1.5, [2]]}
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text())["b"] == [1.5, [2]]
    assert len(list(path.parent.iterdir())) == 1


def test_subset_tables_are_read_by_name_or_path(tmp_path: Path) -> None:
    (tmp_path / "EPIC_100_tail_verbs.csv").write_text("verb\n3\n5\n")
    (tmp_path / "mine.csv").write_text("noun\n7\n")
    subsets = read_subsets(tmp_path, tail_nouns=tmp_path / "mine.csv")
    assert subsets == Subsets(frozenset({3, 5}), frozenset({7}), frozenset())
    (tmp_path / "mine.csv").write_text("verb\n7\n")
    with pytest.raises(UserError, match=r"mine\.csv: no column noun"):
        read_subsets(tmp_path, tail_nouns=tmp_path / "mine.csv")
    with pytest.raises(UserError, match=r"absent\.csv, a table of EPIC-KITCHENS, does not exist"):
        read_subsets(tmp_path, unseen=tmp_path / "absent.csv")
    (tmp_path / "mine.csv").write_text("noun\nspoon\n")
    with pytest.raises(UserError, match="class ids"):
        read_subsets(tmp_path, tail_nouns=tmp_path / "mine.csv")
