"""The challenge zip: read back independently, and refused if it breaks a rule."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slowfast.evaluation.predictions import Predictions
from slowfast.evaluation.submission import (
    SLS_LEVELS,
    SupervisionLevels,
    check_submission,
    write_submission,
)
from slowfast.utils.errors import UserError
from tests.evaluation.verb_noun import verb_noun

IDS = ["P01_14_0", "P36_101_12"]
LEVELS = SupervisionLevels(2, 3, 5)


def _predictions(num_verbs: int = 97) -> Predictions:
    generator = np.random.default_rng(5)
    verb = np.maximum(generator.normal(-8, 9, (2, num_verbs)), -30).astype(np.float32)
    noun = np.maximum(generator.normal(-8, 9, (2, 300)), -30).astype(np.float32)
    return verb_noun(verb, noun, IDS)


def _content(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("test.json"))


def _zip(
    path: Path, text: str, member: str = "test.json", kind: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr(member, text)
    return path


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    return write_submission(tmp_path / "out" / "submission.zip", _predictions(), LEVELS)


def test_an_independent_reading_finds_every_score(submission: Path) -> None:
    with zipfile.ZipFile(submission) as archive:
        (member,) = archive.infolist()
        assert (member.filename, member.compress_type) == ("test.json", zipfile.ZIP_DEFLATED)
    content = _content(submission)
    results = content.pop("results")
    assert content == {
        "version": "0.2",
        "challenge": "action_recognition",
        "sls_pt": 2,
        "sls_tl": 3,
        "sls_td": 5,
    }
    assert list(results) == IDS
    predictions = _predictions()
    for row, name in enumerate(IDS):
        assert sorted(results[name]) == ["noun", "verb"]
        for kind, scores in predictions.scores.items():
            values = results[name][kind]
            assert list(values) == [str(i) for i in range(scores.shape[1])]
            read = np.array(list(values.values()), dtype=np.float32)
            np.testing.assert_array_equal(read, scores[row])


def test_a_good_file_passes_and_declares_its_levels(submission: Path) -> None:
    levels = check_submission(submission, IDS[::-1])
    assert levels == LEVELS
    assert levels.described()[2] == "sls_td 5: training and validation set and other data"


def test_every_level_from_0_to_5_has_a_meaning() -> None:
    assert {name: len(meanings) for name, meanings in SLS_LEVELS.items()} == {
        "sls_pt": 6,
        "sls_tl": 6,
        "sls_td": 6,
    }


@pytest.mark.parametrize("levels", [(6, 3, 4), (2, -1, 4), (2, 3, True), (2, 3, 4.0)])
def test_levels_outside_0_to_5_are_refused(levels: tuple[Any, Any, Any]) -> None:
    with pytest.raises(UserError, match="0 to 5"):
        SupervisionLevels(*levels)


def test_an_existing_file_is_kept_unless_forced(submission: Path) -> None:
    before = submission.read_bytes()
    with pytest.raises(UserError, match="--force"):
        write_submission(submission, _predictions(), SupervisionLevels(0, 0, 0))
    assert submission.read_bytes() == before
    write_submission(submission, _predictions(), SupervisionLevels(0, 0, 0), force=True)
    assert _content(submission)["sls_td"] == 0


def test_predictions_that_cannot_be_submitted_leave_no_file(tmp_path: Path) -> None:
    infinite = _predictions()
    infinite.scores["verb"][0, 0] = -np.inf
    action = Predictions({"action": np.zeros((2, 9))}, np.array(IDS))
    for predictions, message in (
        (_predictions(96), "96 verb"),
        (infinite, "infinite"),
        (action, r"heads action \(9 classes\), but .* needs single-label heads verb and noun"),
    ):
        with pytest.raises(UserError, match=message):
            write_submission(tmp_path / "s.zip", predictions, LEVELS)
    assert list(tmp_path.iterdir()) == []


def _without_version(content: dict) -> None:
    del content["version"]


def _other_challenge(content: dict) -> None:
    content["challenge"] = "action_detection"


def _level_as_text(content: dict) -> None:
    content["sls_pt"] = "2"


def _with_actions(content: dict) -> None:
    content["results"][IDS[0]]["action"] = {}


def _one_class_less(content: dict) -> None:
    del content["results"][IDS[1]]["noun"]["299"]


def _segment_missing(content: dict) -> None:
    del content["results"][IDS[1]]


def _segment_unknown(content: dict) -> None:
    content["results"]["P99_01_0"] = content["results"][IDS[0]]


def _score_as_text(content: dict) -> None:
    content["results"][IDS[0]]["verb"]["3"] = "high"


def _score_not_finite(content: dict) -> None:
    content["results"][IDS[0]]["verb"]["3"] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_version, "expected the keys"),
        (_other_challenge, "action_detection"),
        (_level_as_text, "sls_pt '2'"),
        (_with_actions, "exactly the keys verb and noun"),
        (_one_class_less, "keys 0 to 299"),
        (_segment_missing, "1 segments of the list are missing"),
        (_segment_unknown, "1 are not in the list"),
        (_score_as_text, "not a finite number"),
        (_score_not_finite, "not a finite number"),
    ],
)
def test_a_broken_rule_is_named(
    submission: Path, tmp_path: Path, change: Callable[[dict], None], message: str
) -> None:
    content = _content(submission)
    change(content)
    path = _zip(tmp_path / "changed.zip", json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        check_submission(path, IDS)
    assert "changed.zip" in str(caught.value)


def test_a_segment_that_stands_twice_is_refused(submission: Path, tmp_path: Path) -> None:
    text = json.dumps(_content(submission))
    doubled = text.replace(f'"{IDS[1]}"', f'"{IDS[0]}"')
    with pytest.raises(UserError, match=f"{IDS[0]} occurs twice"):
        check_submission(_zip(tmp_path / "twice.zip", doubled), IDS)


def test_other_containers_are_refused(submission: Path, tmp_path: Path) -> None:
    text = json.dumps(_content(submission))
    (tmp_path / "plain.zip").write_text(text)
    for path, message in (
        (_zip(tmp_path / "name.zip", text, member="results.json"), "expected only test.json"),
        (_zip(tmp_path / "stored.zip", text, kind=zipfile.ZIP_STORED), "not deflated"),
        (_zip(tmp_path / "text.zip", text[:-5]), "a challenge zip"),
        (tmp_path / "plain.zip", "a challenge zip"),
        (tmp_path / "absent.zip", "a challenge zip"),
    ):
        with pytest.raises(UserError, match=message):
            check_submission(path, IDS)
