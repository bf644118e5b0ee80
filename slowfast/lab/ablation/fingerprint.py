"""Hashes of everything a run depends on: its code, its merged config, its data."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode

import slowfast
from slowfast.config.exo_sources import exo_sources
from slowfast.datasets.features.files import feature_files
from slowfast.datasets.sources.frame_lists import list_paths, present_form
from slowfast.lab.ablation.references import is_reference
from slowfast.models.registry import model_spec
from slowfast.utils.digests import file_digest, text_digest
from slowfast.utils.paths import local_path

PARTS = ("code", "config", "data")
# No run imports it; the sample that a part of it makes is data.
NOT_IN_A_RUN = ("lab",)
_SAMPLE_MARKER = "sample.json"
# Frames are too many to read; their lists and annotations tell data sets apart.
_FRAMES = (
    *(".jpg", ".jpeg", ".png", ".mp4", ".avi", ".mkv", ".mov", ".webm"),
    *(".tar", ".zip", ".gz"),
)

Fingerprint = dict[str, str]


def fingerprint(
    cfg: CfgNode, seed: int, code: str, starts: Sequence[Fingerprint] = ()
) -> Fingerprint:
    """Hashes of a run by PARTS.

    cfg: of its arm; its folder does not matter.
    starts: those of the runs that it starts from.
    """
    config = cfg.clone()
    config.defrost()
    config.OUTPUT_DIR, config.RNG_SEED = "", seed
    data = [*(f"{path} {file_digest(path)}" for path in data_files(cfg))]
    data += [f"starts from {start}" for start in starts]
    return {"code": code, "config": _digest([config.dump()]), "data": _digest(data)}


def code_hash(package: Path | None = None) -> str:
    """Of the package's sources that a run imports, and the versions that its numbers depend on."""
    root = package or Path(slowfast.__file__).parent
    files = sorted(
        path for path in root.rglob("*.py") if path.relative_to(root).parts[0] not in NOT_IN_A_RUN
    )
    sources = [f"{path.relative_to(root)} {file_digest(path)}" for path in files]
    versions = [f"python {platform.python_version()}", torch.__version__, np.__version__]
    return _digest([*sources, *versions])


def data_files(cfg: CfgNode) -> list[Path]:
    """The files that tell one data set from another: lists, annotations, features, pair table,
    weights.

    Frames are not read; a rendered sample is known by its marker. Of annotations in the folder of a
    URL, which cannot be listed, the config's hash has the address.
    """
    files = set()
    views = model_spec(cfg).views
    if "ego" in views:
        folder = cfg.DATA.PATH_TO_DATA_DIR
        lists = {cfg.TRAIN.TRAIN_DATA_LIST, cfg.TRAIN.VAL_DATA_LIST}
        lists |= {cfg.TEST.DATA_LIST} if cfg.TEST.ENABLE else set()
        paths = [path for names in lists if names for path in list_paths(folder, names)]
        files |= {present_form(local_path(path, "DATA.PATH_TO_DATA_DIR")) for path in paths}
        files |= {*_markers(Path(folder))}
    if "exo" in views:
        for source in exo_sources(cfg):
            root = Path(source.cfg.EXO.PATH_TO_DATA_DIR)
            files |= {*_annotations(root), *_markers(root)}
    if cfg.TRAIN.ON_FEATURES:
        for view in map(str.upper, views):
            places = [place for place in cfg.FEATURES[view] if not is_reference(place)]
            files |= {*feature_files(places, f"FEATURES.{view}")} if places else set()
    if cfg.SUML.ENABLE:
        files |= {local_path(cfg.SUML.PAIRS.FILE, "SUML.PAIRS.FILE")}
    weights = [cfg[name].CHECKPOINT_FILE_PATH for name in ("TRAIN", "EXO", "TEST")]
    files |= {
        local_path(name, "*.CHECKPOINT_FILE_PATH")
        for name in weights
        if name and not is_reference(name)
    }
    return sorted(files)


def difference(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """The PARTS that differ."""
    return [part for part in PARTS if found.get(part) != wanted[part]]


@lru_cache(maxsize=64)
def _annotations(root: Path) -> tuple[Path, ...]:
    """All files below a folder except frames; searched once, as there may be a million frames."""
    return tuple(
        Path(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
        if not name.lower().endswith(_FRAMES)
    )


def _markers(folder: Path) -> list[Path]:
    """The marker of the rendered sample that the folder is part of."""
    return [
        parent / _SAMPLE_MARKER
        for parent in (folder, *folder.parents)
        if (parent / _SAMPLE_MARKER).is_file()
    ]


def _digest(lines: Iterable[str]) -> str:
    return text_digest("\n".join(lines))[:16]
