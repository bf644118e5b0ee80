"""Files of extracted features: `.npz` and `.safetensors`, with segment ids.

Legend: n segments of a file, V views of a segment, R views of all of them, L tokens, F channels.
A file holds

- `segment_id` (n,) text; in safetensors the metadata `segment_id`, a JSON list of n texts;
- `views` (n, V, F), or (n, V, L, F) with the tokens of every view; or, where the number of views
  differs, (R, F) or (R, L, F) in the order of the segments, with `views.rows` (n,) int, the number
  of each. Without `views`, `pooled` (n, F) counts as one view.
- `weights`, optional, integers of the shape of `views` without L and F: the number of test views
  that each stands for.

These are the shards of TEST.TASK features, and a layout that other programs can write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from slowfast.utils.arrays import ArrayFile, read_arrays
from slowfast.utils.errors import UserError
from slowfast.utils.reading import reading, require_file

WHAT = "a file of features"
_FIX = "extract the features again, in the layout of docs/training.md"
_NAMES = ("views", "views.rows", "weights", "pooled")
_VIEW_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SUFFIXES = (".npz", ".safetensors")


class FeatureFile(NamedTuple):
    """ids: n segments. views: (R, L, F), in their order. counts, weights: ints (n,) and (R,)."""

    ids: list[str]
    views: Tensor
    counts: Tensor
    weights: Tensor


def feature_files(places: list[str], key: str) -> list[Path]:
    """The feature files that a config names, directly or by their folder, sorted by name.

    key: of the config. Raises: UserError for a path that is missing or contains no feature file.
    """
    if not places:
        raise UserError(
            f"{key} is empty, but TRAIN.ON_FEATURES True reads features from there; name the"
            " folders of TEST.TASK features, or files of docs/training.md"
        )
    found: list[Path] = []
    for place in map(Path, places):
        if not place.is_dir():
            found.append(require_file(place, WHAT, f"set {key} to a file or a folder of them"))
            continue
        files = sorted(p for p in place.iterdir() if p.suffix in SUFFIXES and p.name[0] != ".")
        if not files:
            raise UserError(
                f"{key}: {place} holds no {' or '.join(SUFFIXES)} file; run TEST.TASK features, or"
                f" name the folder of a view (PLACE/ego)"
            )
        found += files
    return found


def read_feature_file(path: Path) -> FeatureFile:
    """The content of a file. Raises: UserError for one that is damaged or has another layout."""
    with reading(path, WHAT, _FIX):
        if path.suffix == ".safetensors":
            ids, tensors = _safetensors(path)
        else:
            ids, tensors = read_arrays(path, WHAT, _FIX, _arrays, needs_header=False)
        try:
            return _checked(ids, tensors)
        except ValueError as error:
            raise UserError(f"{path} is not {WHAT} ({error}); {_FIX}") from error


def _arrays(file: ArrayFile) -> tuple[list[str], dict[str, Tensor]]:
    ids = file["segment_id"]
    if ids.ndim != 1 or ids.dtype.kind != "U":
        raise ValueError(f"segment_id is {ids.dtype} {ids.shape} instead of n texts")
    # `pooled` is only read if there are no `views`.
    names = [name for name in file.names if name in _NAMES]
    wanted = [name for name in names if name != "pooled" or "views" not in names]
    return ids.tolist(), {name: _tensor(name, file[name]) for name in wanted}


def _tensor(name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "fi":
        raise ValueError(f"{name} is {array.dtype} instead of numbers")
    return torch.from_numpy(np.ascontiguousarray(array, array.dtype.newbyteorder("=")))


def _safetensors(path: Path) -> tuple[list[str], dict[str, Tensor]]:
    require_file(path, WHAT, _FIX)
    with safe_open(path, framework="pt") as file:
        ids = json.loads((file.metadata() or {}).get("segment_id", "null"))
        if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
            raise UserError(f"{path} has no JSON list segment_id in its metadata; {_FIX}")
        return ids, {name: file.get_tensor(name) for name in _NAMES if name in set(file.keys())}


def _checked(ids: list[str], tensors: Mapping[str, Tensor]) -> FeatureFile:
    """Raises: ValueError for arrays that do not fit each other."""
    views = tensors.get("views")
    if views is None:
        if "pooled" not in tensors:
            raise ValueError("it has neither views nor pooled")
        views = tensors["pooled"][:, None]
    for name in ("views.rows", "weights"):
        if name in tensors and (tensors[name].is_floating_point() or tensors[name].is_complex()):
            raise ValueError(f"{name} is {tensors[name].dtype} instead of integers")
    count, rows = len(ids), tensors.get("views.rows")
    weights = tensors.get("weights")
    if rows is None:
        if views.ndim not in (3, 4) or len(views) != count:
            raise ValueError(f"views is {tuple(views.shape)} for {count} segments")
        rows = torch.full((count,), views.shape[1])
        views = views.flatten(0, 1)
        weights = None if weights is None else weights.flatten()
    if views.ndim == 2:
        views = views[:, None]
    if views.ndim != 3 or 0 in views.shape[1:] or views.dtype not in _VIEW_TYPES:
        raise ValueError(f"views is {views.dtype} {tuple(views.shape)}")
    if rows.shape != (count,) or bool((rows < 1).any()) or int(rows.sum()) != len(views):
        raise ValueError(f"views.rows does not divide {len(views)} views among {count} segments")
    if weights is None:
        weights = torch.ones(len(views), dtype=torch.int64)
    if weights.shape != (len(views),) or bool((weights < 1).any()):
        raise ValueError("weights does not give every view a number from 1")
    return FeatureFile(ids, views, rows.long(), weights.long())
