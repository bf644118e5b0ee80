"""The map from exo words to ego classes: class tables, spellings, overrides."""

from pathlib import Path

import pytest

from slowfast.datasets.pairing.label_map import (
    build_label_map,
    ego_class,
    read_class_table,
)
from slowfast.datasets.sources.epic import class_table_paths
from slowfast.utils.errors import UserError

VERB_TABLE = """id,key,instances,category
0,take,"['take', 'get', 'pick-up']",retrieve
1,put,"['put', 'place']",leave
2,turn-on,"['turn-on', 'switch-on']",access
"""
NOUN_TABLE = """id,key,instances,category
0,board:chopping,"['board:chopping', 'board:cutting']",cutlery
1,hand,"['hand', 'finger']",other
2,cup,"['cup', 'mug']",crockery
"""


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    paths = class_table_paths(tmp_path, epic_100=True)
    for path, text in zip(paths, (VERB_TABLE, NOUN_TABLE), strict=True):
        path.write_text(text)
    return paths


def test_words_and_spellings(tables: tuple[Path, Path]) -> None:
    verbs = ("get", "Turn On", "point-to", "place")
    nouns = ("cutting-board", "hands", "mug", "watermelon", "cupcake")
    found = build_label_map((verbs, nouns), tables)
    assert found == ((0, 2, None, 1), (0, 1, 2, None, None))


def test_a_class_key_wins_over_another_class(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(
        "id,key,instances\n0,take,\"['take', 'do']\"\n1,do,\"['do']\"\n2,x,\"['take']\"\n"
    )
    table = read_class_table(path)
    assert (ego_class("do", table.ids), ego_class("take", table.ids)) == (1, 0)
    assert table.num_classes == 3


def test_override(tables: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "override.csv"
    path.write_text(
        "kind,exo,ego_class\nverb,point-to,1\nverb,get,\nnoun,watermelon,mug\nnoun,hands,0\n"
    )
    found = build_label_map((("get", "point-to"), ("watermelon", "hands")), tables, path)
    assert found == ((None, 1), (2, 0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind,exo,ego_class\nverb,jump,1\n", "line 2: the exo set has no verb 'jump'"),
        ("kind,exo,ego_class\nverb,get,3\n", "line 2: '3' is not an ego class.*below 3"),
        ("kind,exo,ego_class\nverb,get,-1\n", "line 2: '-1' is not an ego class"),
        ("kind,exo,ego_class\nverbs,get,1\n", "line 2 has kind 'verbs'; use verb or noun"),
        ("kind,exo,ego_class\nverb,get\n", "line 2 has no cell for ego_class"),
        ("kind,word,ego_class\nverb,get,1\n", "the columns are kind,exo,ego_class"),
    ],
)
def test_bad_override(tables: tuple[Path, Path], tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "override.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        build_label_map((("get",), ("mug",)), tables, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,key\n0,take\n", "line 2 is not a row of a class table"),
        ("id,key,instances\n0,take,\"['take'\"\n", "line 2 is not a row of a class table"),
        ("id,key,instances\nzero,take,\"['take']\"\n", "line 2 is not a row of a class table"),
        ("id,key,instances\n", "has no rows"),
        ("", "a class table, is empty"),
    ],
)
def test_bad_table(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "EPIC_100_verb_classes.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_class_table(path)


def test_missing_table(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"EPIC_verb_classes.csv, a class table, does not exist; link EPIC's class"
    ):
        read_class_table(class_table_paths(tmp_path, epic_100=False)[0])


def test_public_tables_of_epic_100(real: Path) -> None:
    """Verbs that the published map has, by the public table; some words have no class."""
    verbs, nouns = (read_class_table(path) for path in class_table_paths(real, epic_100=True))
    assert (verbs.num_classes, nouns.num_classes) == (97, 300)
    # fmt: off
    expected = {
        "get": 0, "put": 1, "wash": 2, "open": 3, "close": 4, "cut": 7, "fill": 26, "cook": 45,
        "sweep": 57, "point-to": None, "work-on": None,
    }
    # fmt: on
    assert {word: ego_class(word, verbs.ids) for word in expected} == expected
    assert ego_class("watermelon", nouns.ids) is None


def test_public_tables_of_epic_55(real: Path) -> None:
    verbs, nouns = (read_class_table(path) for path in class_table_paths(real, epic_100=False))
    assert (verbs.num_classes, nouns.num_classes) == (125, 352)
    assert [ego_class(word, verbs.ids) for word in ("get", "put", "open", "close")] == [0, 1, 2, 3]
