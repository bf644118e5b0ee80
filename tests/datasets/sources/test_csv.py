"""The data set `csv`: rows and refused lists."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from slowfast.config import load_config
from slowfast.datasets.from_cfg import checked_annotations
from slowfast.datasets.pairing.label_map import ClassNamesMissing
from slowfast.datasets.registry import DataSource, build_source
from slowfast.datasets.sources.csv_template import write_template
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from tests.datasets.frames.test_video_forms import write_video
from tests.datasets.frames.tiny_videos import make_video

FRAMES = 72  # at 24 per second: 3 seconds
HEADER = "video,start_sec,stop_sec,narration,verb,noun\n"
ROW = "v,0.5,1.5,take cup,take,cup\n"
GOOD = HEADER + ROW + "v,1,2,,put,cup\n"


@pytest.fixture
def make_source(tmp_path: Path) -> Callable[..., DataSource]:
    """The source over list.csv with the given text, and a video `v` of 72 frames."""

    def build(text: str, *overrides: object, split: str = "train", view: str = "ego") -> DataSource:
        (tmp_path / "list.csv").write_text(text, newline="")
        if not (tmp_path / "v").exists():
            make_video(tmp_path / "v", FRAMES)
        section = {"ego": "MODEL", "exo": "EXO"}[view]
        path = tmp_path / "own.yaml"
        path.write_text("{}")
        settings: dict[str, object] = {
            "OUTPUT_DIR": str(tmp_path / "run"),
            "DATA.PATH_TO_DATA_DIR": str(tmp_path),
            "DATA.PATH_PREFIX": str(tmp_path),
            "DATA.FALLBACK_PATH_PREFIXES": [],
            "DATA.TARGET_FPS": 24.0,
            "EXO.PATH_TO_DATA_DIR": str(tmp_path),
            "EXO.TARGET_FPS": 24.0,
            "EXO.DATA_LIST": "list.csv",
            "TRAIN.TRAIN_DATA_LIST": "list.csv",
            "TRAIN.VAL_DATA_LIST": "list.csv",
            "TEST.DATA_LIST": "list.csv",
            f"{section}.NUM_CLASSES_LIST": [2, 1],
        }
        settings.update(zip(overrides[::2], overrides[1::2], strict=True))
        cfg = load_config(path, [part for item in settings.items() for part in item])
        return build_source("csv", cfg, split, view)

    return build


def segments(source: DataSource) -> list[Segment]:
    """The segments, once their videos are found."""
    annotations = checked_annotations(source)
    source.frames(annotations).check(annotations.segments)
    return annotations.segments


def test_rows(make_source: Callable[..., DataSource]) -> None:
    source = make_source(GOOD)
    first, second = segments(source)
    assert first == Segment("v_0", "v", "", 13, 36, "take cup", ((1,), (0,)))
    # Without a narration: the words of its classes.
    assert second == Segment("v_1", "v", "", 25, 48, "put cup", ((0,), (0,)))
    verbs, nouns = source.class_tables()
    assert (verbs.keys, nouns.keys) == (("put", "take"), ("cup",))


def test_several_labels_and_splits(make_source: Callable[..., DataSource]) -> None:
    text = (
        "id,video,participant,split,start_frame,stop_frame,verb,noun\n"
        "a,v,P1,train,1,10,take;put,\nb,v,P2,val,72,72,put,cup\n"
    )
    (only,) = segments(make_source(text, view="exo"))
    assert only == Segment("a", "v", "P1", 1, 10, "take put", ((0, 1), ()))
    (other,) = segments(make_source(text, view="exo", split="val"))
    assert (other.segment_id, other.start_frame, other.labels) == ("b", 72, ((0,), (0,)))


def test_every_form_of_a_whole_video(
    tmp_path: Path, make_source: Callable[..., DataSource]
) -> None:
    """Found without and with its suffix; the last frame is the same in each form."""
    write_video(tmp_path / "sub" / "file.mp4", 1, FRAMES)
    make_video(tmp_path / "folder", FRAMES)
    with tarfile.open(tmp_path / "archive.tar", "w") as tar:
        tar.add(tmp_path / "folder", arcname=".")
    videos = ("folder", "archive", "archive.tar", "sub/file", "sub/file.mp4", "./sub//file.mp4")
    text = "video,verb,noun\n" + "".join(f"{video},take,cup\n" for video in videos)
    source = make_source(text, "MODEL.NUM_CLASSES_LIST", [1, 1])
    found = segments(source)
    assert [(s.start_frame, s.stop_frame) for s in found] == [(1, FRAMES)] * len(videos)
    frames = source.frames(source.annotations())
    for segment in found:
        (last,) = frames.open(segment).read([FRAMES])
        assert abs(float(np.mean(last)) - 172) < 3


def test_a_spreadsheet_with_a_byte_order_mark(make_source: Callable[..., DataSource]) -> None:
    assert segments(make_source("\ufeff" + GOOD.replace("\n", "\r\n"))) == segments(
        make_source(GOOD)
    )


def test_numbers_as_classes_are_sorted_by_value(make_source: Callable[..., DataSource]) -> None:
    text = HEADER + "v,0,1,,10,0\nv,1,2,,2,0\n"
    assert [s.labels[0] for s in segments(make_source(text))] == [(1,), (0,)]


def test_a_later_test_has_the_classes_of_the_training(
    tmp_path: Path, make_source: Callable[..., DataSource]
) -> None:
    make_source(GOOD).write_down(tmp_path / "run")
    later = HEADER + "v,0,1,,take,cup\n"
    (only,) = segments(make_source(later, split="test"))
    assert only.labels == ((1,), (0,))
    with pytest.raises(UserError, match=r"line 2 has verb 'Take'.*classes_ego\.csv; write it as"):
        segments(make_source(later.replace("take", "Take"), split="test"))
    # A list to predict on needs no labels.
    assert segments(make_source("video\nv\n", split="test"))[0].labels == ((), ())


def test_class_names_from_a_file(tmp_path: Path, make_source: Callable[..., DataSource]) -> None:
    path = tmp_path / "names.csv"
    key = ("DATA.CLASS_NAMES", "names.csv")
    path.write_text("head,id,name\nverb,1,put\nverb,0,take\nnoun,0,cup\nplace,0,x\n")
    assert segments(make_source(GOOD, *key))[0].labels == ((0,), (0,))
    with pytest.raises(UserError, match=r"line 2 has verb 'throw', which is not a class of .*csv"):
        segments(make_source(GOOD.replace("take,", "throw,"), *key))
    for text, reason in (
        ("head,id,name\nverb,0,take\n", "no classes of noun"),
        ("head,id,name\nverb,0,take\nverb,2,put\nnoun,0,cup\n", "no class 1 of verb"),
        ("head,id,name\nverb,0,take\nverb,1,Take\n", r"line 3 repeats .*'Take'"),
        ("head,id,name\nverb,x,take\n", "line 2 has id 'x'"),
        ("head,name\nverb,take\n", "no column id"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=reason):
            segments(make_source(GOOD, *key))


def test_no_labels(make_source: Callable[..., DataSource]) -> None:
    none = ("EXO.HEAD_NAMES", [], "EXO.NUM_CLASSES_LIST", [])
    source = make_source("video,narration\nv,somebody walks\n", *none, view="exo")
    assert segments(source)[0].labels == ()
    with pytest.raises(ClassNamesMissing):
        source.class_tables()


def test_the_error_says_how_many_classes_there_are(
    make_source: Callable[..., DataSource],
) -> None:
    with pytest.raises(UserError, match=r"set MODEL\.NUM_CLASSES_LIST \[2,1\]$"):
        segments(make_source(GOOD, "MODEL.NUM_CLASSES_LIST", [1, 1]))


BAD = {
    "no video column": ("file,verb,noun\nv,a,b\n", "no column video; its columns are file, verb"),
    "no label column": (HEADER.replace("verb", "action") + ROW, "no column verb, which MODEL.HEAD"),
    "one time only": ("video,start_sec,verb,noun\nv,1,a,b\n", "no column stop_sec; give both"),
    "both times": (
        "video,start_sec,stop_sec,start_frame,stop_frame,verb,noun\nv,1,2,1,2,a,b\n",
        "seconds and in frames; remove",
    ),
    "doubled column": (HEADER.replace("noun", "verb") + ROW, "column verb twice; remove"),
    "semicolons": (GOOD.replace(",", ";"), "semicolons"),
    "two columns with a semicolon": (
        "video;narration\nv;a, b\n",
        "semicolons; save it with commas",
    ),
    "too few cells": (GOOD + "v,1\n", "line 4 has no cell for stop_sec"),
    "too many cells": (GOOD + "v,1,2,a, b,take,cup\n", "line 4 has more cells .* quotes"),
    "no rows": (HEADER, "no rows; add"),
    "no video": (HEADER + ",1,2,,take,cup\n", "line 2 has no video; name"),
    "reversed": (
        GOOD + "v,2,1,,take,cup\n",
        "line 4 has stop_sec 1, which is not after start_sec 2",
    ),
    "no length": (GOOD + "v,1,1,,take,cup\n", "line 4 has stop_sec 1, which is not after"),
    "reversed frames": (
        "video,start_frame,stop_frame,verb,noun\nv,9,3,a,b\n",
        "line 2 has stop_frame 3, which is not after start_frame 9",
    ),
    "frame 0": ("video,start_frame,stop_frame,verb,noun\nv,0,3,a,b\n", "from 1"),
    "negative": (GOOD + "v,-1,1,,take,cup\n", "line 4 has start_sec '-1'; give seconds"),
    "not finite": (GOOD + "v,1,inf,,take,cup\n", "line 4 has stop_sec 'inf'; give seconds"),
    "a clock": (GOOD + "v,00:01,00:02,,take,cup\n", "line 4 has start_sec '00:01'; give seconds"),
    "half a time": (GOOD + "v,1,,,take,cup\n", "line 4 has stop_sec ''; give seconds"),
    "beyond the end": (
        GOOD + "v,2,9,,take,cup\n",
        r"line 4 ends at second 9\.00, but video v has 3\.00 seconds; correct stop_sec",
    ),
    "begins after the end": (GOOD + "v,3.1,3.3,,take,cup\n", "line 4 ends at .* correct stop_sec"),
    "frames beyond the end": (
        "video,start_frame,stop_frame,verb,noun\nv,9,90,take,cup\nv,1,2,put,cup\n",
        "line 2 ends at frame 90, but video v has 72 frames; correct stop_frame",
    ),
    "same id": (
        "id,video,verb,noun\na,v,take,cup\na,v,put,cup\n",
        "line 3 has the id a, which line 2 has too",
    ),
    "case": (
        GOOD + "v,1,2,,Take,cup\n",
        "line 4 has verb 'Take', which differs from 'take' of .*2",
    ),
    "outer space": (GOOD + "v,1,2,,take ,cup\n", "line 4 has verb 'take ', which differs"),
    "inner space": (
        HEADER + "v,1,2,,pick up,cup\nv,1,2,,pick  up,cup\n",
        "line 3 has verb 'pick up', which differs",
    ),
    "two labels": (GOOD + "v,1,2,,take;put,cup\n", "line 4 has 2 labels of verb, which takes one"),
    "split": ("video,split,verb,noun\nv,validation,a,b\n", "line 2 has split 'validation'; use"),
    "other splits only": ("video,split,verb,noun\nv,val,a,b\n", "no row with split train"),
    "no label in a column": (HEADER + "v,1,2,,take,\n", "column noun has no label; remove it"),
    "missing video": (GOOD + "w,1,2,,take,cup\n", "line 4: video w .* set DATA.PATH_PREFIX"),
    "missing whole video": ("video,verb,noun\nv,take,cup\nw,put,cup\n", "line 3: video w"),
}


def test_a_test_takes_the_validation_rows_of_a_list_without_test_rows(
    make_source: Callable[..., DataSource],
) -> None:
    text = "video,split,verb,noun\nv,train,a,b\nv,val,a,b\n"
    counts = ("MODEL.NUM_CLASSES_LIST", [1, 1])
    assert [s.segment_id for s in segments(make_source(text, *counts, split="test"))] == ["v_1"]
    with_test = text + "v,test,a,b\n"
    found = segments(make_source(with_test, *counts, split="test"))
    assert [s.segment_id for s in found] == ["v_2"]


@pytest.mark.parametrize("name", BAD)
def test_bad_input(make_source: Callable[..., DataSource], name: str) -> None:
    text, reason = BAD[name]
    counts = [1, 1] if text.startswith(("file", "video,split")) else [2, 1]
    with pytest.raises(UserError, match=reason) as error:
        segments(make_source(text, "MODEL.NUM_CLASSES_LIST", counts))
    assert "list.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_lists_that_overlap(tmp_path: Path, make_source: Callable[..., DataSource]) -> None:
    shutil.copy(make_source(GOOD).cfg.DATA.PATH_TO_DATA_DIR + "/list.csv", tmp_path / "more.csv")
    with pytest.raises(
        UserError, match=r"more\.csv: line 2 has the id v_0, which .*line 2 has too"
    ):
        segments(make_source(GOOD, "TRAIN.TRAIN_DATA_LIST", "list.csv,more.csv"))


def cut(path: Path) -> None:
    write_video(path, 1, FRAMES)
    path.write_bytes(path.read_bytes()[:200])


def silent(path: Path) -> None:
    """A file with sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def no_frames(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width = stream.height = 32
        container.start_encoding()


@pytest.mark.parametrize("make", [cut, silent, no_frames, Path.touch])
def test_a_video_that_cannot_be_read(
    tmp_path: Path, make_source: Callable[..., DataSource], make: Callable[[Path], None]
) -> None:
    make(tmp_path / "bad.mp4")
    for times in ("1,2", ","):
        source = make_source(GOOD + f"bad.mp4,{times},,take,cup\n")
        with pytest.raises(UserError, match=r"list\.csv: line 4: .*bad\.mp4.*;") as error:
            segments(source)
        assert "\n" not in str(error.value)


def test_template(tmp_path: Path, make_source: Callable[..., DataSource]) -> None:
    root = tmp_path / "videos"
    make_video(root / "P01" / "frames", 3)
    write_video(root / "b.mp4", 1, FRAMES)
    (root / "notes.txt").touch()
    out = tmp_path / "made.csv"
    assert write_template(root, out, ["verb"]) == 2
    assert out.read_text() == (
        "video,start_sec,stop_sec,narration,verb\nP01/frames,,,,\nb.mp4,,,,\n"
    )
    keys = ("MODEL.HEAD_NAMES", ["verb"], "MODEL.NUM_CLASSES_LIST", [1])
    listed = out.read_text().replace(",\n", ",take\n")
    source = make_source(listed, *keys, "DATA.PATH_PREFIX", str(root))
    assert [s.stop_frame for s in segments(source)] == [3, FRAMES]
    with pytest.raises(UserError, match="exists; choose another --out"):
        write_template(root, out, [])
    for folder, reason in ((out, "is not a folder"), (tmp_path / "run", "is not a folder")):
        with pytest.raises(UserError, match=reason):
            write_template(folder, tmp_path / "new.csv", [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="contains no videos"):
        write_template(tmp_path / "empty", tmp_path / "new.csv", [])
    with pytest.raises(UserError, match="--labels video"):
        write_template(root, tmp_path / "new.csv", ["video"])
