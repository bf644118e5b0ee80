"""Prediction files: written for the public scorer, read back, selected, fused."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from slowfast.config.heads import HeadSpec
from slowfast.evaluation.predictions import (
    Predictions,
    for_epic,
    fuse,
    read_predictions,
    select,
    write_predictions,
)
from slowfast.evaluation.scores import are_probabilities, log_scores, log_softmax
from slowfast.utils.errors import UserError
from tests.evaluation.verb_noun import verb_noun

IDS = ["P01_11_0", "P01_11_1", "P18_07_10"]


def _predictions(seed: int = 0, ids: list[str] = IDS) -> Predictions:
    generator = np.random.default_rng(seed)
    verb, noun = (log_softmax(generator.standard_normal((len(ids), k))) for k in (4, 6))
    return verb_noun(verb.astype(np.float32), noun.astype(np.float32), ids)


def test_scores_are_bounded_logarithms() -> None:
    scores = log_scores([[1.0, 0.5, 1e-20, 0.0]])
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [[0, np.log(0.5), -30, -30]], rtol=1e-7)


def test_probabilities_are_told_from_their_logarithms() -> None:
    predictions = _predictions()
    assert not are_probabilities(predictions.scores["verb"])
    assert are_probabilities(np.exp(predictions.scores["verb"]))


def test_a_plain_unpickler_reads_what_the_scorer_needs(tmp_path: Path) -> None:
    written = _predictions()
    path = write_predictions(tmp_path / "run" / "predictions.pkl", written)
    content = pickle.loads(path.read_bytes())
    assert list(content) == ["verb_output", "noun_output", "narration_id"]
    for head, scores in written.scores.items():
        array = content[f"{head}_output"]
        assert type(array) is np.ndarray
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, scores)
    assert content["narration_id"].dtype.kind == "U"
    assert content["narration_id"].tolist() == IDS
    assert [p.name for p in path.parent.iterdir()] == ["predictions.pkl"]


def test_the_file_names_only_what_every_version_of_numpy_has(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "predictions.pkl", _predictions())
    operations = [(op, arg) for op, arg, _ in pickletools.genops(path.read_bytes())]
    names = {arg for op, arg in operations if op.name == "GLOBAL"}
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    assert max(op.proto for op, _ in operations) <= 3


def test_a_file_is_read_back(tmp_path: Path) -> None:
    written = _predictions()
    read = read_predictions(write_predictions(tmp_path / "predictions.pkl", written))
    np.testing.assert_array_equal(read.scores["verb"], written.scores["verb"])
    np.testing.assert_array_equal(read.scores["noun"], written.scores["noun"])
    assert read.narration_id.tolist() == IDS


def test_a_list_of_segments_is_read(tmp_path: Path) -> None:
    written = _predictions()
    rows = [
        {"verb_output": v, "noun_output": n, "narration_id": i}
        for v, n, i in zip(*written.scores.values(), IDS, strict=True)
    ]
    path = tmp_path / "rows.pkl"
    path.write_bytes(pickle.dumps(rows))
    read = read_predictions(path)
    np.testing.assert_array_equal(read.scores["noun"], written.scores["noun"])
    assert read.narration_id.tolist() == IDS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"narration_id": np.array(["a", "b", "a"])}, "1 segments repeated"),
        ({"verb_output": np.zeros((2, 4), np.float32)}, "verb_output has shape"),
        ({"noun_output": np.full((3, 6), np.nan, np.float32)}, "3 segments have NaN"),
        ({"noun_output": np.zeros((3, 6), np.int64)}, "expected float32"),
        ({"verb_output": None}, "verb_output"),
    ],
)
def test_wrong_content_is_one_line(tmp_path: Path, change: dict, message: str) -> None:
    good = _predictions()
    content = {f"{head}_output": scores for head, scores in good.scores.items()}
    content["narration_id"] = good.narration_id
    path = tmp_path / "wrong.pkl"
    path.write_bytes(pickle.dumps({**content, **change}))
    with pytest.raises(UserError, match=message) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"verb_output": 1}, [1, 2], "text"])
def test_another_structure_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="verb_output"):
        read_predictions(path)


def test_missing_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pkl"
    broken.write_bytes(b"\x80\x04nonsense")
    for path in (broken, tmp_path / "absent.pkl", tmp_path / "scores.pt"):
        with pytest.raises(UserError, match=path.name):
            read_predictions(path)


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    class Payload:
        def __reduce__(self) -> tuple:
            return Path.touch, (mark,)

    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps({"verb_output": Payload()}))
    with pytest.raises(UserError, match=r"hostile\.pkl"):
        read_predictions(path)
    assert not mark.exists()


def test_nothing_is_left_of_a_refusedwrite_predictions(tmp_path: Path) -> None:
    bad = _predictions()
    with pytest.raises(ValueError, match="repeated"):
        write_predictions(tmp_path / "p.pkl", verb_noun(*bad.scores.values(), ["a", "a", "b"]))
    assert list(tmp_path.iterdir()) == []


def test_segments_are_selected_in_the_order_of_the_list() -> None:
    predictions = _predictions()
    chosen = select(predictions, IDS[::-1], "file")
    np.testing.assert_array_equal(chosen.scores["verb"], predictions.scores["verb"][::-1])
    assert chosen.narration_id.tolist() == IDS[::-1]


def test_missing_and_unknown_segments_are_counted() -> None:
    with pytest.raises(UserError, match=r"2 segments missing .*1 segments not in the list"):
        select(_predictions(), [IDS[0], IDS[1], "x", "y"], "file")


def test_fusing_is_the_weighted_mean_of_log_probabilities() -> None:
    first, second = _predictions(1), _predictions(2)
    fused = fuse([first, second], [3, 1])
    mean = (3 * first.scores["verb"].astype(float) + second.scores["verb"]) / 4
    np.testing.assert_allclose(fused.scores["verb"], log_softmax(mean), atol=1e-6)
    alone = fuse([first])
    np.testing.assert_allclose(alone.scores["noun"], first.scores["noun"], atol=1e-6)


def test_heads_of_any_name_are_written_read_and_fused(tmp_path: Path) -> None:
    draw = np.random.default_rng(6)
    parts = [
        Predictions(
            {
                "action": log_scores(draw.dirichlet(np.ones(9), 3)),
                "object": log_scores(draw.random((3, 157))),
            },
            np.array(IDS),
            frozenset({"object"}),
        )
        for _ in range(2)
    ]
    path = write_predictions(tmp_path / "p.pkl", parts[0])
    content = pickle.loads(path.read_bytes())
    assert set(content) == {"action_output", "object_output", "narration_id", "multi_label"}
    read = read_predictions(path)
    assert read.heads == (HeadSpec("action", 9, False), HeadSpec("object", 157, True))
    fused = fuse([read, select(parts[1], IDS[::-1], "file")], [1, 1])
    assert fused.heads == read.heads
    for name, classes in (("action", log_softmax), ("object", np.asarray)):
        mean = (parts[0].scores[name].astype(float) + parts[1].scores[name]) / 2
        np.testing.assert_allclose(fused.scores[name], classes(mean), atol=1e-6)


def test_files_of_other_heads_do_not_fuse() -> None:
    action = Predictions({"action": np.zeros((3, 4))}, np.array(IDS))
    with pytest.raises(UserError, match=r"part 2 has the heads action \(4 classes\)"):
        fuse([_predictions(), action])
    turned = Predictions(dict(reversed(_predictions().scores.items())), np.array(IDS))
    assert fuse([_predictions(), turned]).scores.keys() == {"verb", "noun"}


@pytest.mark.parametrize("multi_label", [True, False])
def test_the_epic_protocol_needs_verb_and_noun(multi_label: bool) -> None:
    scores = {"noun": np.zeros((3, 4)), "verb": np.ones((3, 5)), "hand": np.zeros((3, 2))}
    if multi_label:
        predictions = Predictions(scores, np.array(IDS), frozenset({"verb", "noun"}))
    else:
        assert list(for_epic(Predictions(scores, np.array(IDS)), "p.pkl").scores) == [
            "verb",
            "noun",
        ]
        predictions = Predictions({"noun": scores["noun"]}, np.array(IDS))
    with pytest.raises(UserError, match=r"^p\.pkl has the heads noun .*needs single-label heads"):
        for_epic(predictions, "p.pkl")


def test_fusing_goes_by_segment_not_by_row() -> None:
    first, second = _predictions(1), _predictions(2)
    turned = select(second, IDS[::-1], "file")
    np.testing.assert_array_equal(
        fuse([first, turned]).scores["noun"], fuse([first, second]).scores["noun"]
    )


def test_logits_are_fused_like_their_log_probabilities() -> None:
    first, second = _predictions(1), _predictions(2)
    logits = verb_noun(second.scores["verb"] + 50, second.scores["noun"] - 7, IDS)
    np.testing.assert_allclose(
        fuse([first, logits]).scores["verb"], fuse([first, second]).scores["verb"], atol=1e-5
    )


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], [1, float("inf")]])
def test_wrong_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(UserError, match="positive weights"):
        fuse([_predictions(1), _predictions(2)], weights)


def test_files_of_other_segments_do_not_fuse() -> None:
    with pytest.raises(UserError, match="1 segments missing"):
        fuse([_predictions(1), _predictions(2, IDS[:2])])
