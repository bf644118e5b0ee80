"""Label maps by the text encoder: the nearest class, the threshold, and the file as LABEL_MAP."""

import csv
from pathlib import Path

import numpy as np
import pytest
from fvcore.common.config import CfgNode

from slowfast.datasets.pairing.ego_labels import vocabularies
from slowfast.datasets.pairing.label_map import ClassTable, readable
from slowfast.semantics import suggested_labels
from slowfast.semantics.build import exo_train_annotations
from slowfast.semantics.suggested_labels import suggest, write_label_map
from slowfast.utils.errors import UserError
from tests.semantics.test_build import cfg  # noqa: F401 (a fixture)

# Angles in degrees of the words in the plane of a stand-in for the encoder.
ANGLES = {"get": 0, "chopping board": 30, "grasp": 5, "heat": 200, "board for cutting": 40, "7": 90}


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(texts: list[str], _: CfgNode) -> np.ndarray:
        angles = np.deg2rad([ANGLES[text] for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    monkeypatch.setattr(suggested_labels, "encode_narrations", encode)


def test_nearest_name(plane: None, cfg: CfgNode) -> None:  # noqa: F811
    """The synonyms of the exo class against the names of the ego classes, not their words."""
    ids = {"get": 0, "grasp": 1, "board:chopping": 2, "7": 1}
    ego = ClassTable(ids, 3, ("get", "7", "board:chopping"))
    names = ["heat_(board_for_cutting,_grasp)", "get", "7"]
    found = suggest(names, ego, (None, 0, None), cfg)
    assert [(one.exo, one.ego) for one in found] == [(names[0], 0), ("get", 0), ("7", 1)]
    assert found[0].similarity == pytest.approx(np.cos(np.deg2rad(5)))
    assert found[1].similarity is None
    nameless = ClassTable({"get": 0, "grasp": 0}, 1)
    (one,) = suggest(["heat"], nameless, (None,), cfg)
    assert one.similarity == pytest.approx(np.cos(np.deg2rad(200)))


def test_readable() -> None:
    words = ["board:cutting", "turn-on", "pour_into"]
    assert [readable(word) for word in words] == ["cutting board", "turn on", "pour into"]


def test_written_map_is_a_label_map(cfg: CfgNode, tmp_path: Path) -> None:  # noqa: F811
    """At -1 every class has an ego class, at 1 only those that have one by their words."""
    known = vocabularies(cfg, exo_train_annotations(cfg))
    without = sum(ego is None for classes in known.maps() for ego in classes)
    assert without
    for threshold, missing in ((-1.0, 0), (1.0, without)):
        path = tmp_path / "map.csv"
        lines = write_label_map(cfg, path, threshold)
        assert [line.split(":")[0] for line in lines] == [
            f"{len(names)} {head}s" for head, names in zip(("verb", "noun"), known.exo, strict=True)
        ]
        with path.open() as file:
            rows = list(csv.DictReader(file))
        assert [row["exo"] for row in rows] == [name for names in known.exo for name in names]
        assert all(row["nearest"] for row in rows)
        maps = known.maps(str(path))
        assert sum(ego is None for classes in maps for ego in classes) == missing
        for before, after in zip(known.maps(), maps, strict=True):
            assert all(b in (None, a) for b, a in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("key", "value", "arguments", "message"),
    [
        ("RNG_SEED", 1, (float("nan"),), "--threshold is nan, but a cosine is between -1 and 1"),
        ("RNG_SEED", 1, (0.5, "wall"), r"--exo is wall, but the names in EXO.MORE are \[\]"),
        ("MODEL.HEAD_NAMES", ["a", "b"], (0.5,), r"MODEL\.HEAD_NAMES is .* name the heads verb"),
    ],
)
def test_refusals(
    cfg: CfgNode,  # noqa: F811
    tmp_path: Path,
    key: str,
    value: object,
    arguments: tuple[object, ...],
    message: str,
) -> None:
    cfg.merge_from_list([key, value])
    with pytest.raises(UserError, match=message):
        write_label_map(cfg, tmp_path / "map.csv", *arguments)
    assert not (tmp_path / "map.csv").exists()
