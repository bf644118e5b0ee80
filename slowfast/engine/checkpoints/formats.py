"""Reads checkpoint files of every format, without running code from them.

PyTorch files (.pyth: published, PySlowFast's, ours; checkpoints or bare state dicts), safetensors,
and Caffe2 pickles. Whatever the format, the weights get their published names.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slowfast.engine.checkpoints.checkpoint_file import CheckpointFile, tensors_in
from slowfast.engine.checkpoints.files import damage, is_archive
from slowfast.engine.checkpoints.foreign import foreign_classes, without_foreign
from slowfast.engine.checkpoints.weight_names import from_caffe2
from slowfast.engine.checkpoints.weights import Weights
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, local_path
from slowfast.utils.reading import found_in_place, reading, require_file
from slowfast.utils.safe_pickle.load import load_plain
from slowfast.utils.safe_pickle.records import Record
from slowfast.utils.safe_pickle.values import NUMPY_MAKERS, Values
from slowfast.utils.text_files import read_json

logger = logging.getLogger(__name__)

_SAFE_TORCH = (2, 10)
# Parts of a sharded checkpoint are next to its index, in formats without a separate index.
_SHARD = re.compile(r"[^./\\][^/\\]*\.(safetensors|bin|pt|pth|pyth)")
_TORCH_VALUES = (Tensor, torch.Size, torch.dtype, torch.device)


def read_checkpoint(
    path: InputPath, checkpoint_type: str = "pytorch", *, key: str = "*.CHECKPOINT_FILE_PATH"
) -> CheckpointFile:
    """Read a checkpoint file.

    checkpoint_type: pytorch (which takes .safetensors too) or caffe2.
    key: the configuration key that names the file, for errors.

    Raises: UserError for a missing, damaged or foreign file, and for one that could run code.
    """
    path = local_path(path, key)
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}; download it there or set {key}")
    with reading(path, "a checkpoint", "copy or download it again"):
        if path.name.endswith(".index.json"):
            return _read_sharded(path)
        if _is_safetensors(path):
            return _read_safetensors(path)
        if checkpoint_type == "caffe2":
            return CheckpointFile(Weights.named(str(path), _read_caffe2(path)))
        return CheckpointFile.from_content(str(path), _read_torch(path))


def _is_safetensors(path: Path) -> bool:
    """By content: the length of a JSON header, then the header."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and length < path.stat().st_size


def _read_sharded(path: Path) -> CheckpointFile:
    """The weights of all files that an index (`model.safetensors.index.json`) names."""
    content = read_json(path, "the index of a sharded checkpoint", "download it again")
    places = content.get("weight_map") if isinstance(content, dict) else None
    files = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
    if not places or not files or not all(_SHARD.fullmatch(name) for name in files):
        raise UserError(f"{path} names no files of weights (weight_map); download it again")
    tensors: dict[str, Any] = {}
    for name in files:
        shard = require_file(path.parent / name, f"a part of {path.name}", "download it too")
        with reading(shard, "a part of a checkpoint", "download it again"):
            if _is_safetensors(shard):
                tensors |= _safetensors_content(shard)[0]
            else:
                tensors |= tensors_in(str(shard), _read_torch(shard))
    if missing := [name for name in places if name not in tensors]:
        raise UserError(f"{path} lists {missing[0]}, which {places[missing[0]]} does not have")
    return CheckpointFile.from_content(str(path), tensors)


def _read_safetensors(path: Path) -> CheckpointFile:
    """The weights, plus the config and class names that an export stores in the metadata."""
    with reading(path, "a safetensors file", "copy or download it again"):
        content, metadata = _safetensors_content(path)
        names = json.loads(metadata.get("class_names", "{}"))
    weights = CheckpointFile.from_content(str(path), content).weights
    return CheckpointFile(weights, {"cfg": metadata.get("cfg", ""), "class_names": names})


def _safetensors_content(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(weights by name, metadata)."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def _read_caffe2(path: Path) -> dict[str, Tensor]:
    content = load_plain(path)
    blobs = content.get("blobs", content) if isinstance(content, dict) else None
    if not isinstance(blobs, dict):
        raise UserError(
            f"{path} is not a Caffe2 file: expected a dict of blobs; for other files set "
            "CHECKPOINT_TYPE pytorch, or name an exo file .pyth"
        )
    arrays = {
        name: blob
        for name, blob in blobs.items()
        if isinstance(name, str) and isinstance(blob, np.ndarray) and blob.dtype.kind == "f"
    }
    return {
        name: torch.from_numpy(np.array(blob, dtype=np.float32))
        for name, blob in from_caffe2(arrays).items()
    }


def _read_torch(path: Path) -> dict[str, Any]:
    _warn_of_old_torch()
    if is_archive(path):
        fault = damage(path)
        if fault:
            raise UserError(f"checkpoint {path} is damaged: {fault}; copy or download it again")
    try:
        with torch.serialization.safe_globals(list(_inert_numpy())), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the text of the error is enough
            others = foreign_classes(path) if is_archive(path) else []
            with torch.serialization.safe_globals(others):
                content = torch.load(path, map_location="cpu", weights_only=True)
        if others:
            content = without_foreign(path, content)
        return Values(NUMPY_MAKERS, leaves=_TORCH_VALUES)(content)
    except UserError:
        raise
    except Exception as error:  # a damaged or hostile file can raise any error
        raise _unreadable(path, error) from error


@functools.cache
def _inert_numpy() -> tuple[tuple[type, str], ...]:
    """Records in place of numpy's constructors, since files may hold numpy scalars and arrays."""
    names = {
        "scalar": ("numpy.core.multiarray", "numpy._core.multiarray"),
        "_reconstruct": ("numpy.core.multiarray", "numpy._core.multiarray"),
        "dtype": ("numpy",),
        "ndarray": ("numpy",),
    }
    return tuple(
        (type(kind, (Record,), {"kind": kind}), f"{module}.{kind}")
        for kind, modules in names.items()
        for module in modules
    )


def _unreadable(path: Path, error: Exception) -> UserError:
    if found := found_in_place(path, "copy or download it again"):
        return UserError(f"{path}, a checkpoint, {found}")
    forbidden = re.search(r"GLOBAL (\S+)", str(error))
    if forbidden:
        return UserError(
            f"{path} is refused: weights do not need {forbidden[1]}, and calling that could run "
            "code; ask its author to save the weights alone, or as .safetensors"
        )
    # torch's text before this advises to load the file unsafely.
    said = str(error).split("WeightsUnpickler error:")[-1].strip()
    reason = (said.splitlines() or [type(error).__name__])[0][:200]
    return UserError(
        f"{path} cannot be read as a PyTorch checkpoint ({reason}); copy it again if it is "
        "truncated; if it is a Caffe2 file, set CHECKPOINT_TYPE caffe2, or name an exo file .pkl"
    )


@functools.cache
def _warn_of_old_torch() -> None:
    major, minor = torch.__version__.split(".")[:2]
    if (int(major), int(minor)) < _SAFE_TORCH:
        logger.warning(
            "torch %s: a crafted .pyth file can corrupt memory and run code despite "
            "weights_only before torch 2.10 (CVE-2026-24747); upgrade, or use .safetensors",
            torch.__version__,
        )
