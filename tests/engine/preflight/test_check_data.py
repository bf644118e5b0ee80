"""tools/check_data.py: no fault in an intact sample, and every injected fault is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from slowfast.config import load_config
from slowfast.engine.preflight.check_data import BAD_FRAMES, check_data
from tests.commands import SUML_TINY, TOOLS, run_tool


@pytest.fixture
def home(sample_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sample with its pairs, as the working directory."""
    shutil.copytree(sample_home / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(*overrides: str) -> CfgNode:
    return load_config(SUML_TINY, ["OUTPUT_DIR", "runs/x", *overrides])


def video(home: Path, number: int) -> Path:
    """The folder of a training video."""
    lists = home / "data/sample/epic-100/annotations/EPIC_100_train.csv"
    names = sorted({line.split(",")[2] for line in lists.read_text().splitlines()[1:]})
    return next((home / "data/sample").glob(f"epic-*/**/{names[number]}"))


def frame(home: Path) -> Path:
    """The middle frame of the first training segment."""
    lists = home / "data/sample/epic-100/annotations/EPIC_100_train.csv"
    row = lists.read_text().splitlines()[1].split(",")
    folder = next((home / "data/sample").glob(f"epic-*/**/{row[2]}"))
    first = min(int(path.stem.split("_")[1]) for path in folder.iterdir())
    middle = (int(row[6]) + int(row[7])) // 2
    return folder / f"frame_{middle - 1 + first:010d}.jpg"


def test_a_sound_sample_has_no_fault(home: Path) -> None:
    findings = check_data(config(), deep=True)
    assert findings.mistakes == []
    text = str(findings)
    assert "train ego:    32 segments of" in text
    assert "pictures decoded: 84x72" in text
    assert "pairs:        96 in data/sample/pairs.npz" in text
    assert "0 cannot be read" in text
    assert not (home / "runs").exists()


def lose_a_video(home: Path) -> None:
    shutil.rmtree(video(home, 0))


def thin_out(home: Path) -> None:
    for number, path in enumerate(sorted(video(home, 1).iterdir())):
        if number % 2:
            path.unlink()


def cut(home: Path) -> None:
    # Longer than the slack that annotations have after the last frame.
    for path in sorted(video(home, 1).iterdir())[20:]:
        path.unlink()


def damage_a_frame(home: Path) -> None:
    frame(home).write_bytes(frame(home).read_bytes()[:200])


def video_file_cut(home: Path) -> None:
    folder = video(home, 0)
    shutil.rmtree(folder)
    folder.with_suffix(".mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(500))


def other_names(home: Path) -> None:
    for path in video(home, 0).iterdir():
        path.rename(path.with_suffix(".JPG"))


def label_outside(home: Path) -> None:
    path = home / "data/sample/epic-100/annotations/EPIC_100_train.csv"
    lines = path.read_text().splitlines()
    cells = lines[3].split(",")
    cells[10] = "96"
    path.write_text("\n".join([*lines[:3], ",".join(cells), *lines[4:]]) + "\n")


def other_narrations(home: Path) -> None:
    path = home / "data/sample/epic-100/annotations/EPIC_100_train.csv"
    path.write_text(path.read_text().replace("open", "unlock"))


def lose_the_cache(home: Path) -> None:
    shutil.rmtree(home / "data/sample/narrations")


def lose_the_list(home: Path) -> None:
    for suffix in ("csv", "pkl"):
        (home / f"data/sample/epic-100/annotations/EPIC_100_validation.{suffix}").unlink()


@pytest.mark.parametrize(
    ("inject", "said"),
    [
        (lose_a_video, "no frames for 1 of "),
        (thin_out, "only one in 2 exists"),
        (cut, "segments need files up to"),
        (damage_a_frame, "is not a readable JPEG file"),
        (video_file_cut, "P01_01.mp4 as a video"),
        (other_names, "but frames are called frame_0000000001.jpg"),
        (label_outside, "96"),
        (other_narrations, "is for other ego segments"),
        (lose_the_cache, "no narration embeddings"),
        (lose_the_list, "EPIC_100_validation"),
    ],
)
def test_injected_faults_are_found(home: Path, inject: Callable[[Path], None], said: str) -> None:
    inject(home)
    findings = check_data(config())
    assert any(said in mistake for mistake in findings.mistakes), findings.mistakes


def test_deep_check_lists_bad_frames(home: Path) -> None:
    """The bad frame is not in the decoded sample."""
    bad = sorted(video(home, 0).iterdir())[1]
    bad.write_bytes(b"no picture")
    findings = check_data(config(), deep=True)
    listed = (home / "runs/x" / BAD_FRAMES).read_text()
    assert bad.name in listed
    assert any("frames cannot be read; runs/x/bad_frames.txt lists" in m for m in findings.mistakes)


def test_command_has_status_2_for_a_fault(home: Path) -> None:
    assert (TOOLS / "check_data.py").exists()
    lose_a_video(home)
    ended = run_tool("check_data.py", "--cfg", SUML_TINY, cwd=home)
    assert ended.returncode == 2
    assert "error: 1 fault in the data, marked WRONG above" in ended.stderr
    assert "WRONG: no frames for" in ended.stdout
