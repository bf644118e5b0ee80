"""Objects and pickles that run code when they are loaded without care."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Call:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._reduced = (function, args)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._reduced


def touching(mark: Path) -> Call:
    """An object that creates the file `mark` when it is loaded."""
    return Call(os.system, f"touch {mark}")


def hostile_pickles(mark: Path) -> dict[str, bytes]:
    """By the name that each calls: pickles that create the file `mark` when they are loaded."""
    opening = f"open({str(mark)!r}, 'w').close()"
    return {
        "posix.system": pickle.dumps({"weights": [touching(mark)]}),
        "builtins.eval": pickle.dumps([Call(eval, opening)], protocol=5),
        "__builtin__.eval": pickle.dumps([Call(eval, opening)], protocol=2),
        "builtins.exec": pickle.dumps(Call(exec, opening), protocol=4),
        "subprocess.check_call": pickle.dumps(Call(subprocess.check_call, ["touch", str(mark)])),
        "os.system": f"(S'touch {mark}'\nios\nsystem\n.".encode(),
        # A dotted name below a module whose own names are allowed.
        "numpy.f2py.os.system": _called("numpy.f2py", "os.system", f"touch {mark}"),
        "pandas.io.common.os.system": _called("pandas.io.common", "os.system", f"touch {mark}"),
        "torch.os.system": _called("torch", "os.system", f"touch {mark}"),
    }


def _called(module: str, name: str, argument: str) -> bytes:
    return b"".join((b"\x80\x04", _text(module), _text(name), b"\x93", _text(argument), b"\x85R."))


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + len(encoded).to_bytes(4, "little") + encoded
