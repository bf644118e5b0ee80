"""Each kind of bound: allowed values and their description; and the tree of declared keys."""

from __future__ import annotations

from typing import Any

import pytest

from slowfast.config import get_cfg
from slowfast.config.bounds import (
    Bound,
    Choice,
    NotEmpty,
    Numbers,
    Odd,
    Range,
    Span,
    Subset,
    check_bounds,
)
from slowfast.config.declare import Section, bounds_of, choice, number, to_cfg
from slowfast.config.defaults import BOUNDS
from slowfast.config.load import leaves
from slowfast.utils.errors import UserError

GRID = Numbers((2, 2), "2 x 2 numbers", Range(at_least=1))


@pytest.mark.parametrize(
    ("bound", "allowed", "refused", "fix"),
    [
        (Choice(("a", "b")), ["a", "b"], ["", "c"], "choose one of a, b"),
        (Choice((1, 3)), [1, 3], [2], "choose one of 1, 3"),
        (Subset(("a", "b")), [[], ["b"], ["b", "a"]], [["c"], ["a", 1]], "choose any of a, b"),
        (Range(at_least=2), [2, 9], [1, -9], "set it to 2 or more"),
        (Range(above=0), [1e-9, 2], [0, -1], "set it above 0"),
        (Range(at_least=0, below=1), [0, 0.9], [-0.1, 1], "set it from 0 to below 1"),
        (Range(at_least=-1, at_most=1), [-1, 1], [-1.1, 1.1], "set it from -1 to 1"),
        (Range(above=0, at_most=1), [0.1, 1], [0, 1.1], "set it from above 0 to 1"),
        (Odd(), [1, 5], [0, 4, -1], "set it to an odd number, 1 or more"),
        (
            Span(Range(at_least=1)),
            [[1, 1], [1, 2]],
            [[2, 1], [0, 1], [1], [1, 2, 3], []],
            "give [smallest, largest], both 1 or more",
        ),
        (
            GRID,
            [[[1, 2], [3, 4]]],
            [[], [[1, 2]], [[1, 2], [3]], [[1, 2], [3, 0]], [[1, 2], [3, 4], [5, 6]]],
            "give 2 x 2 numbers, all 1 or more",
        ),
        (Numbers((2,), "2 numbers"), [[0, -5]], [[0], [0, 1, 2]], "give 2 numbers"),
        (NotEmpty("a folder"), ["x"], [""], "name a folder"),
    ],
)
def test_bound(bound: Bound, allowed: list[Any], refused: list[Any], fix: str) -> None:
    assert all(map(bound.allows, allowed))
    assert not any(map(bound.allows, refused))
    assert bound.fix == fix


@pytest.mark.parametrize("bounds", [{}, {"at_most": 1}, {"at_least": 0, "above": 0}])
def test_range_has_one_lower_bound(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="either at_least or above"):
        Range(**bounds)


def test_error_names_the_first_key_out_of_bounds_in_their_order() -> None:
    root = Section()
    root.A = Section()
    root.A.B = number(0, at_least=1)
    root.C = choice("x", "y")
    cfg = to_cfg(root)
    cfg.C = "z"
    with pytest.raises(UserError) as caught:
        check_bounds(cfg, dict(bounds_of(root)))
    assert str(caught.value) == "A.B is 0; set it to 1 or more"
    cfg.A.B = 1
    with pytest.raises(UserError, match=r"^C is 'z'; choose one of x, y$"):
        check_bounds(cfg, dict(bounds_of(root)))
    cfg.C = "y"
    check_bounds(cfg, dict(bounds_of(root)))


def test_declarations_become_plain_values_in_their_order() -> None:
    root = Section()
    root.Z = number(1.5, above=0)
    root.A = Section()
    root.A.FLAG = True
    root.A.KIND = choice("second", "first")
    assert list(leaves(to_cfg(root))) == [("Z", 1.5), ("A.FLAG", True), ("A.KIND", "second")]
    assert list(bounds_of(root)) == [
        ("Z", Range(above=0)),
        ("A.KIND", Choice(("second", "first"))),
    ]


def test_bounds_are_of_keys_that_exist_and_allow_their_defaults() -> None:
    defaults = dict(leaves(get_cfg()))
    assert len(BOUNDS) > 100
    assert [key for key, bound in BOUNDS.items() if not bound.allows(defaults[key])] == []
    for value in defaults.values():
        assert type(value) in (bool, int, float, str, list)
