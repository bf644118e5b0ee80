"""Rendering into a folder: determinism, and what is refused."""

import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from slowfast.lab.sample.make import MARKER, make_sample
from slowfast.utils.errors import UserError


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tiny(settings):
    return replace(
        settings,
        train_segments=6,
        validation_segments=4,
        exo_train_segments=16,
        exo_validation_segments=2,
    )


def test_equal_settings_give_equal_bytes_and_another_seed_others(tiny, tmp_path):
    for name, settings in (("a", tiny), ("b", tiny), ("c", replace(tiny, seed=1))):
        assert make_sample(tmp_path / name, settings)
    first, second, other = (digests(tmp_path / name) for name in "abc")
    assert first == second
    pictures = [path for path in first if path.endswith(".jpg") and path in other]
    assert pictures
    assert all(first[path] != other[path] for path in pictures)


def test_a_complete_sample_is_left_alone(tiny, tmp_path):
    out = tmp_path / "out"
    assert make_sample(out, tiny)
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert not make_sample(out, tiny)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == made


def test_other_settings_need_force(tiny, tmp_path):
    out = tmp_path / "out"
    make_sample(out, tiny)
    before = digests(out)
    with pytest.raises(UserError, match=r"seed=0 \(now 5\).*--force"):
        make_sample(out, replace(tiny, seed=5))
    assert digests(out) == before
    assert make_sample(out, replace(tiny, seed=5), force=True)
    assert digests(out) != before


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_with_anything_else_is_never_touched(tiny, tmp_path, force):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=MARKER):
        make_sample(out, tiny, force)
    assert list(tmp_path.rglob("*")) == [out, out / "thesis.txt"]


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
@pytest.mark.parametrize("name", ["out", "out.partial"])
def test_a_foreign_file_of_the_same_name_is_no_marker(tiny, tmp_path, text, name):
    (tmp_path / name).mkdir()
    marker = tmp_path / name / MARKER
    marker.write_text(text)
    with pytest.raises(UserError, match="not the marker"):
        make_sample(tmp_path / "out", tiny, force=True)
    assert marker.read_text() == text


def test_what_an_interrupted_run_left_is_replaced(tiny, tmp_path):
    make_sample(tmp_path / "out.partial", tiny)
    assert make_sample(tmp_path / "out", replace(tiny, seed=2))
    assert not (tmp_path / "out.partial").exists()


def test_the_command_renders_and_refuses_with_status_2(tiny, tmp_path, root):
    knobs = [
        f"{name}={getattr(tiny, name)}"
        for name in ("train_segments", "validation_segments", "exo_train_segments", "height")
    ]

    def call(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "tools/make_sample.py", "--out", str(tmp_path / "out")]
        return subprocess.run([*command, *more], cwd=root, capture_output=True, text=True)

    assert call(*knobs).returncode == 0
    assert "already" in call(*knobs).stdout
    refused = call(*knobs, "--seed", "3")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1
    misspelt = call("train_segment=3")
    assert misspelt.returncode == 2
    assert "train_segment" in misspelt.stderr
