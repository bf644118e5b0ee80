"""Names of heads and of their joint answer."""

from __future__ import annotations

import pytest

from slowfast.config.heads import joint_name


@pytest.mark.parametrize(
    ("names", "joint"),
    [
        (["verb", "noun"], "action"),
        (["noun", "verb"], "action"),
        (["verb", "noun", "action"], "all"),
        (["scene", "task"], "all"),
        (["action"], ""),
        ([], ""),
    ],
)
def test_name_of_the_joint_answer(names: list[str], joint: str) -> None:
    assert joint_name(names) == joint
