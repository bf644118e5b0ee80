"""Prediction files: what the public EPIC scorer reads.

A pickled dict of numpy arrays: verb_output (n, V) and noun_output (n, M) float32, narration_id
(n,) str. The scores are log(max(p, e^-30)) of the view-averaged probabilities p, which the
scorer's arithmetic handles well: bounded above, nothing underflows at the top.
"""

from __future__ import annotations

import pickle
import pickletools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowfast.evaluation.scores import LOG_FLOOR, log_softmax
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_atomically
from slowfast.utils.paths import InputPath, local_path
from slowfast.utils.safe_pickle.load import load_plain

KEYS = ("verb_output", "noun_output", "narration_id")


@dataclass(frozen=True)
class Predictions:
    """Scores of n segments: verb_output (n, V), noun_output (n, M) float, narration_id (n,) str."""

    verb_output: NDArray
    noun_output: NDArray
    narration_id: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.narration_id)


def write_predictions(
    path: Path | str, verb_output: ArrayLike, noun_output: ArrayLike, narration_ids: Sequence[str]
) -> Path:
    """Write log-scores (n, V), (n, M) and ids as a prediction file, under a temporary name first.

    Raises: ValueError where lengths differ, ids repeat or scores are NaN.
    """
    content = {
        "verb_output": np.ascontiguousarray(verb_output, dtype=np.float32),
        "noun_output": np.ascontiguousarray(noun_output, dtype=np.float32),
        "narration_id": np.asarray(narration_ids, dtype=np.str_),
    }
    try:
        _checked(content)
    except UserError as error:
        raise ValueError(str(error)) from None
    path = Path(path)
    write_atomically(path, lambda file: file.write(_portable_pickle(content)))
    return path


def read_predictions(path: InputPath) -> Predictions:
    """Read a prediction file: the dict, or a list of one such dict per segment.

    Raises: UserError where it is missing, holds something else, repeats a segment or has NaN.
    """
    path = local_path(path, "--predictions")
    if path.suffix != ".pkl":
        raise UserError(f"{path}: predictions are read from .pkl files; save them as a pickle")
    content = load_plain(path)
    try:
        if isinstance(content, list):
            content = {key: np.stack([row[key] for row in content]) for key in KEYS}
        return _checked(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a dict of arrays {', '.join(KEYS)} ({error})") from None


def select(predictions: Predictions, narration_ids: Sequence[str], what: str) -> Predictions:
    """The predictions in the order of the ids, which must be exactly theirs.

    what: names the predictions and the list of ids in the error.
    Raises: UserError with the counts of missing and of unknown segments.
    """
    rows = {str(name): row for row, name in enumerate(predictions.narration_id)}
    missing = [name for name in narration_ids if name not in rows]
    unknown = sorted(rows.keys() - set(narration_ids))
    if missing or unknown:
        raise UserError(
            f"{what}: {_counted(missing, 'missing')}, {_counted(unknown, 'not in the list')}; "
            f"{len(narration_ids)} segments are expected, each once"
        )
    order = [rows[name] for name in narration_ids]
    return Predictions(
        predictions.verb_output[order],
        predictions.noun_output[order],
        predictions.narration_id[order],
    )


def fuse(
    parts: Sequence[Predictions], weights: Sequence[float] | None = None, what: str = "predictions"
) -> Predictions:
    """Weighted mean of the log-probabilities of several predictions, in the order of the first.

    Each part is normalised first, the mean again; scores are bounded below by LOG_FLOOR.
    weights: one positive number per part; None: equal. They are divided by their sum.
    Raises: UserError where segments, class counts or the number of weights disagree.
    """
    shares = np.ones(len(parts)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(shares) != len(parts) or not ((shares > 0) & np.isfinite(shares)).all():
        raise UserError(f"{what}: {len(parts)} files need as many positive weights, got {weights}")
    ids = [str(name) for name in parts[0].narration_id]
    aligned = [select(p, ids, f"{what}, part {i + 1}") for i, p in enumerate(parts)]
    shapes = {(p.verb_output.shape, p.noun_output.shape) for p in aligned}
    if len(shapes) > 1:
        raise UserError(f"{what}: class counts differ: {sorted(shapes)}")
    shares = shares / shares.sum()
    return Predictions(
        _weighted_mean([p.verb_output for p in aligned], shares),
        _weighted_mean([p.noun_output for p in aligned], shares),
        aligned[0].narration_id,
    )


def _portable_pickle(content: object) -> bytes:
    """The pickle of arrays under the module name that every version of numpy knows.

    numpy 2 writes `numpy._core`, which numpy 1 does not have, and the public scorer's environment
    is an old one; both read `numpy.core`. Protocol 3 is the last one to hold names as bare text.
    """
    pickled = pickle.dumps(content, protocol=3)
    new, old = b"cnumpy._core.", b"cnumpy.core."
    pieces, done = [], 0
    for opcode, _, position in pickletools.genops(pickled):
        if opcode.name == "GLOBAL" and position is not None and pickled.startswith(new, position):
            pieces += [pickled[done:position], old]
            done = position + len(new)
    return b"".join([*pieces, pickled[done:]])


def _checked(content: Any) -> Predictions:
    if not isinstance(content, Mapping) or any(key not in content for key in KEYS):
        raise UserError(f"not a dict with {', '.join(KEYS)}")
    verb, noun = np.asarray(content["verb_output"]), np.asarray(content["noun_output"])
    ids = np.asarray(content["narration_id"]).astype(np.str_)
    if ids.ndim != 1 or not len(ids):
        raise UserError(f"narration_id has shape {ids.shape}, expected (n,) with n > 0")
    for name, scores in (("verb_output", verb), ("noun_output", noun)):
        if scores.ndim != 2 or len(scores) != len(ids):
            raise UserError(f"{name} has shape {scores.shape}, expected ({len(ids)}, classes)")
        if not np.issubdtype(scores.dtype, np.floating):
            raise UserError(f"{name} holds {scores.dtype}, expected float32")
        unusable = int((np.isnan(scores) | np.isposinf(scores)).any(axis=1).sum())
        unusable += int(np.isneginf(scores).all(axis=1).sum())
        if unusable:
            raise UserError(f"{name}: {unusable} segments have NaN or infinite scores")
    repeated = [name for name, count in Counter(ids.tolist()).items() if count > 1]
    if repeated:
        raise UserError(f"{_counted(repeated, 'repeated')}; each must stand once")
    return Predictions(verb, noun, ids)


def _counted(names: Sequence[str], what: str) -> str:
    examples = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
    return f"{len(names)} segments {what}{examples}"


def _weighted_mean(scores: Sequence[NDArray], shares: NDArray) -> NDArray[np.float32]:
    mean = np.zeros(scores[0].shape)
    for part, share in zip(scores, shares, strict=True):
        mean += share * np.maximum(log_softmax(part), LOG_FLOOR)
    return np.maximum(log_softmax(mean), LOG_FLOOR).astype(np.float32)
