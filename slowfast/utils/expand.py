"""`~` and `$NAME` in paths, of YAML files and of options, replaced as a shell does.

A shell replaces them in the words of a command only, not in YAML files and not in quotes. The
config expands every key that `config.defaults.PATHS` lists, the tools every option that is a path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, input_path, is_remote

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_OPTION = "a path on the command line"


def expanded(path: str, where: str) -> str:
    """`path` with its `~`, `~user`, `$NAME` and `${NAME}` replaced; a URL as it is.

    where: key or option that names the path, for the error.

    Raises: UserError for a variable that is not set or empty, and for an unknown user.
    """
    if is_remote(path):
        return path

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if not os.environ.get(name):
            raise UserError(
                f"{where} is {path}, but the environment variable {name} is not set; set it or "
                "write the path out"
            )
        return os.environ[name]

    home = os.path.expanduser(path)  # noqa: PTH111 (Path would fold `./~name` into `~name`)
    if home == path and path.startswith("~"):
        user = path.partition("/")[0]
        raise UserError(
            f"{where} is {path}, but {user} is not a home folder; write the path out, or ./{path} "
            "for a file of that name"
        )
    return _VARIABLE.sub(value, home)


def input_option(text: str) -> InputPath:
    """A path or URL on the command line; for `type=` of argparse. Raises: UserError."""
    return input_path(expanded(text, _OPTION))


def path_option(text: str) -> Path:
    """A local path on the command line; for `type=` of argparse. Raises: UserError."""
    return Path(expanded(text, _OPTION))
