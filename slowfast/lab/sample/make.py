"""Renders the sample into a folder, once; a marker file holds its settings."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slowfast.lab.sample.settings import SampleSettings
from slowfast.lab.sample.write_epic import write_ego
from slowfast.lab.sample.write_lemma import write_exo
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

MARKER = "sample.json"
_MADE_BY = "tools/make_sample.py"
# Raised whenever equal settings no longer give equal bytes.
VERSION = 1


def make_sample(out: Path, settings: SampleSettings, force: bool = False) -> bool:
    """Render the sample into `out`; False if it exists already.

    force: replace a sample with other settings.
    Raises: UserError, without changing anything, for a folder with other files.
    """
    content = _content(settings)
    target = out.absolute()
    partial = target.with_name(target.name + ".partial")
    if _holds_sample(out):
        found = _read_marker(out / MARKER)
        if found == content:
            return False
        if not force:
            raise UserError(
                f"{out} holds a sample made with {_differences(found, content)}: "
                "give --force to replace it, or another --out"
            )
    if _holds_sample(partial):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    (partial / MARKER).write_text(json.dumps(content, indent=1) + "\n")
    write_ego(partial, settings)
    write_exo(partial, settings)
    if out.exists():
        shutil.rmtree(out)
    partial.rename(target)
    logger.info("rendered the sample into %s", out)
    return True


def _content(settings: SampleSettings) -> dict[str, Any]:
    content = {"made_by": _MADE_BY, "version": VERSION, **asdict(settings)}
    return dict(json.loads(json.dumps(content)))


def _read_marker(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("made_by") != _MADE_BY:
        raise UserError(f"{path} is not the marker of a rendered sample: give another --out")
    return content


def _holds_sample(folder: Path) -> bool:
    """Whether the folder is a sample (True) or missing or empty (False); else a UserError."""
    if (folder / MARKER).is_file():
        _read_marker(folder / MARKER)
        return True
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"{folder} exists and is not a rendered sample (it has no {MARKER}): give another --out"
        )
    return False


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    changed = [
        f"{key}={found.get(key)} (now {wanted.get(key)})"
        for key in {**found, **wanted}
        if found.get(key) != wanted.get(key)
    ]
    return ", ".join(changed)
