"""A small exo set in LEMMA's layout, of two videos: one person, and two who share the frames."""

import json
import pickle
from pathlib import Path

from tests.datasets.frames.tiny_videos import make_video

VERBS = ["get", "null", "put", "wash"]
NOUNS = ["cup", "knife", "plate", "sink", "table", "watermelon"]
HOIS = [
    "null$",
    "get${s0}@cup",
    "put${s0}@cup|plate:{m1}@table",
    "wash${m0}@knife:{s1}@sink",
]
# What a person does: (verb, objects per position), interaction.
IDLE = ([(1, [])], [0])
GET_CUP = ([(0, [[0]])], [1])
PUT_CUP = ([(2, [[0, 2], [4]])], [2])
WASH_KNIFE = ([(3, [[1], [3]])], [3])

# Video -> (first frame, frames, what each of its people does).
Span = tuple[int, int, tuple]
SPANS: dict[str, list[Span]] = {
    "v1": [(0, 10, (GET_CUP,)), (10, 4, (IDLE,)), (14, 12, (PUT_CUP,))],
    "v2": [(0, 12, (IDLE, WASH_KNIFE)), (12, 8, (GET_CUP, PUT_CUP))],
    "v3": [(0, 9, (WASH_KNIFE,))],
}
SPLITS = {"train": ["v1", "v2"], "val": ["v3"], "test": ["v3"]}


def records(spans: dict[str, list[Span]] = SPANS, first_id: int = 0) -> list[tuple]:
    """One record per video, frame and person."""
    rows: list[tuple] = []
    for video, parts in spans.items():
        for start, length, deeds in parts:
            for frame in range(start, start + length):
                for person, (actions, hois) in enumerate(deeds, 1):
                    image = f"frames/{video}/{frame:05d}.jpg"
                    box, tasks = [0.0, 0.0, 1.0, 1.0], [[0]]
                    rows.append(
                        (
                            video,
                            frame + first_id,
                            f"P{person}",
                            [],
                            [image],
                            box,
                            actions,
                            tasks,
                            hois,
                        )
                    )
    return rows


def segments(spans: dict[str, list[Span]] = SPANS) -> list[tuple[str, int, int]]:
    return [(video, start, length) for video, parts in spans.items() for start, length, _ in parts]


def write_annotations(
    root: Path,
    *,
    frames: list | None = None,
    indices: list | None = None,
    splits: dict[str, list[str]] = SPLITS,
    view: str = "tpv",
) -> Path:
    """The annotations below `root`; returns `root`."""
    folder = root / "annotations"
    for name in ("full", "splits", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    dump(folder / f"full/rec_{view}_frames.p", records() if frames is None else frames)
    chosen = segments() if indices is None else indices
    dump(folder / f"full/rec_{view}_segments_indices.p", chosen)
    for kind, words in (("acts", VERBS), ("objs", NOUNS), ("hois", HOIS), ("tasks", ["tea"])):
        (folder / f"metadata/all_{kind}.json").write_text(json.dumps(words))
    for split, names in splits.items():
        (folder / f"splits/all_{split}.json").write_text(json.dumps(names))
    return root


def write_frames(root: Path) -> None:
    """The images of all videos: frame n of a video shows picture(n + 1)."""
    for video, parts in SPANS.items():
        count = sum(length for _, length, _ in parts)
        make_video(root / "frames" / video, count, first=0, name="{:05d}.jpg")


def dump(path: Path, value: object) -> None:
    with path.open("wb") as file:
        pickle.dump(value, file)
