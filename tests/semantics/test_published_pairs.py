"""Reading the published pseudo-pair files."""

import json
from pathlib import Path

import pytest

from slowfast.datasets.pairing.pairs import Tier
from slowfast.datasets.sources.lemma_annotations import read_lemma
from slowfast.datasets.types import ImageListAnnotations
from slowfast.semantics import published_pairs
from slowfast.semantics.published_pairs import import_pairs, read_choices, read_members
from slowfast.utils.errors import UserError
from tests.datasets.sources.tiny_lemma import NOUNS, VERBS, write_annotations

# The training segments of the tiny set: video and first frame.
STARTS = [("v1", 0), ("v1", 14), ("v2", 0), ("v2", 12)]


@pytest.fixture
def exo(tmp_path: Path) -> ImageListAnnotations:
    found = read_lemma(
        write_annotations(tmp_path) / "annotations",
        "train",
        view="tpv",
        segments_view="tpv",
        video_type="all",
        num_classes=(len(VERBS), len(NOUNS)),
    )
    assert [(s.video_id, s.start_frame) for s in found.segments] == STARTS
    return found


def candidate(segment: int, copy: int = 0, entry: int | None = None) -> dict:
    """Paths that the author's search wrote for a segment: 8 frames at step 2 near its start."""
    video, start = STARTS[segment]
    last = {"v1": 25, "v2": 19}[video]
    frames = [min(max(start + step, 0), last) for step in range(-8, 8, 2)]
    images = [[f"/author/LEMMA/frames/{video}/{frame:05d}.jpg"] for frame in frames]
    return {str(3 * segment + copy if entry is None else entry): [[0], [-1], images, "get cup"]}


def row(**tiers: list) -> dict:
    return {**{name: [] for name in ("same", "sub", "sub_verb", "sub_noun")}, **tiers}


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_first_tier_each_segment_once(tmp_path: Path, exo: ImageListAnnotations) -> None:
    content = {
        "0": row(same=[candidate(1, copy) for copy in range(3)], sub=[candidate(0)]),
        "1": row(sub_verb=[candidate(3), candidate(2, 1), candidate(2, 2)]),
        "3": row(sub_noun=[candidate(0, 2)]),
        "2": row(),
    }
    found = import_pairs(write(tmp_path / "p.json", content), 5, exo)
    assert found.tolist() == [[1, -1], [3, 2], [-1, -1], [0, -1], [-1, -1]]


def test_the_text_file_chooses(tmp_path: Path, exo: ImageListAnnotations) -> None:
    content = {
        "0": row(same=[candidate(1)], sub=[candidate(0), candidate(2)]),
        "1": row(same=[candidate(1)]),
    }
    text = tmp_path / "p.txt"
    text.write_text("0,1,x,1,0.9,1.0\n1,0\n")
    found = import_pairs(write(tmp_path / "p.json", content), 2, exo, text)
    assert found.tolist() == [[2], [-1]]


def test_images_win_over_the_entry_number(tmp_path: Path, exo: ImageListAnnotations) -> None:
    """In a list in another order, the images identify the segment."""
    content = {"0": row(same=[candidate(2, entry=0)]), "1": row(same=[candidate(1, entry=999)])}
    found = import_pairs(write(tmp_path / "p.json", content), 2, exo)
    assert found.tolist() == [[2], [1]]


def test_the_entry_number_decides_among_segments_of_one_start(
    tmp_path: Path, exo: ImageListAnnotations
) -> None:
    twins = ImageListAnnotations(
        segments=[exo.segments[0], exo.segments[0], exo.segments[1]],
        class_names=exo.class_names,
        image_paths=exo.image_paths,
    )
    content = {str(i): row(same=[candidate(0, entry=3 * i)]) for i in range(3)}
    found = import_pairs(write(tmp_path / "p.json", content), 3, twins)
    assert found.tolist() == [[0], [1], [0]]


def test_a_clip_inside_its_segment(tmp_path: Path, exo: ImageListAnnotations) -> None:
    images = [[f"/x/frames/v1/{frame:05d}.jpg"] for frame in (15, 17, 19, 21)]
    content = {"0": row(sub=[{"3": [[0], [0], images, "get cup"]}])}
    assert import_pairs(write(tmp_path / "p.json", content), 1, exo).tolist() == [[1]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"7": row(same=[candidate(0)])}, r"has a row 7, but the ego list has 2 segments"),
        ({"x": row()}, r"'x' is not a row of a pair file"),
        ({"0": [1]}, r"'0' is not a row of a pair file"),
        ({"0": row(same=[{"0": [[0], [0], []]}])}, r"row 0 has a candidate that is not"),
        ({"0": row(same=[{"zero": [[0], [0], [["a"]], ""]}])}, r"row 0 has a candidate that is"),
        ({"0": row(same=["text"])}, r"row 0 has a candidate that is not"),
        (
            {"0": row(same=[{"0": [[0], [0], [["/x/frames/v9/00000.jpg"]], ""]}])},
            r"row 0 has image /x/frames/v9/00000.jpg, which no exo segment shows; set EXO.VIDEO",
        ),
    ],
)
def test_bad_content(
    tmp_path: Path, exo: ImageListAnnotations, content: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        import_pairs(write(tmp_path / "p.json", content), 2, exo)


def test_a_text_file_of_another_search(tmp_path: Path, exo: ImageListAnnotations) -> None:
    text = tmp_path / "p.txt"
    text.write_text("0,2,5,0,0\n")
    content = {"0": row(same=[candidate(1)])}
    with pytest.raises(UserError, match=r"row 0 has 1 candidates in its tier same.*number 5"):
        import_pairs(write(tmp_path / "p.json", content), 1, exo, text)
    text.write_text("0,9,5,0,0\n")
    with pytest.raises(UserError, match=r"p.txt: line 1 is not a line of a pair file"):
        read_choices(text)
    with pytest.raises(UserError, match=r"none.txt, a file of pseudo-pairs, does not exist"):
        read_choices(tmp_path / "none.txt")


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_members_one_by_one(
    tmp_path: Path, block: int, indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_pairs, "_READ_CHARACTERS", block)
    content = {"0": {"a": [1, 2.5, "}"]}, "1": [], "ü": "x,y", "2": -17, "3": None}
    path = tmp_path / "p.json"
    path.write_text(f" \n{json.dumps(content, indent=indent)} \n")
    assert list(read_members(path)) == list(content.items())
    path.write_text(" { } ")
    assert list(read_members(path)) == []


@pytest.mark.parametrize(
    "text",
    ["", "[1]", '{"0": {}', '{"0" {}}', '{"0": {}, "1": nul}', '{"0": {} "1": {}}', "{1: 2}"],
)
def test_text_that_is_no_object(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"p.json is not a complete JSON object; copy it again"):
        list(read_members(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.json, a file of pseudo-pairs, does not exist"):
        list(read_members(tmp_path / "none.json"))


def test_tier_codes(golden: Path, tmp_path: Path) -> None:
    stored = json.loads((golden / "pseudo_pairs_textfile.json").read_text())
    path = tmp_path / "p.txt"
    path.write_text(stored["text"])
    parsed = {int(row): (Tier(code), number) for row, (code, number) in stored["parsed"].items()}
    assert read_choices(path) == parsed
