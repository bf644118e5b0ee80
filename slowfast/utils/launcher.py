"""Environment variables with which a launcher numbers the processes of a run."""

from __future__ import annotations

import os

from slowfast.utils.errors import UserError

_VARIABLES = (
    *("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK"),
    *("MASTER_ADDR", "MASTER_PORT"),
)


def unset_empty_variables() -> None:
    """Remove empty launcher variables, as job templates leave them; torch reads them too."""
    for name in _VARIABLES:
        if not os.environ.get(name, "unset").strip():
            del os.environ[name]


def launcher_number(name: str, default: int) -> int:
    """The value of a launcher variable, 0 or more. Raises: UserError for any other text."""
    text = os.environ.get(name, str(default))
    if not text.strip().isdecimal():
        raise UserError(
            f"the environment variable {name} is {text!r}, not a number; unset it, or start the "
            "run with torchrun"
        )
    return int(text)
