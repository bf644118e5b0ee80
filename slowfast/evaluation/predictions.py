"""Prediction files: the scores of every test segment, head by head.

A pickled dict of numpy arrays: `{head}_output` (n, K) float32 for each head, narration_id (n,) str
and, if there are multi-label heads, `multi_label` with their names. With the heads verb and noun
the public EPIC scorer can read it. The scores are log(max(p, e^-30)) of the view-averaged
probabilities p. They suit the scorer's arithmetic: they are bounded above, so the best classes do
not underflow.

Legend: n segments, K classes of a head.
"""

from __future__ import annotations

import pickle
import pickletools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowfast.config.heads import HeadSpec
from slowfast.evaluation.scores import LOG_FLOOR, log_softmax
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_atomically, writing
from slowfast.utils.limits import ID_CHARACTERS
from slowfast.utils.paths import InputPath, local_path
from slowfast.utils.reading import reading
from slowfast.utils.safe_pickle.load import load_arrays
from slowfast.utils.safe_pickle.torch_archive import load_torch_values

IDS = "narration_id"
MULTI_LABEL = "multi_label"
_OUTPUT = "_output"
_READERS = {".pkl": load_arrays, ".pt": load_torch_values}


@dataclass(frozen=True)
class Predictions:
    """Scores of n segments: by head (n, K) float, and narration_id (n,) str.

    multi_label: the heads whose classes are independent of each other.
    """

    scores: Mapping[str, NDArray]
    narration_id: NDArray[np.str_]
    multi_label: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.narration_id)

    @property
    def heads(self) -> tuple[HeadSpec, ...]:
        return tuple(
            HeadSpec(name, scores.shape[1], name in self.multi_label)
            for name, scores in self.scores.items()
        )

    def of_rows(self, rows: Sequence[int]) -> Predictions:
        """The predictions of some of the segments, in the order of `rows`."""
        chosen = {name: scores[rows] for name, scores in self.scores.items()}
        return replace(self, scores=chosen, narration_id=self.narration_id[rows])


def write_predictions(path: Path | str, predictions: Predictions) -> Path:
    """Write log-scores as a prediction file, atomically.

    Raises: ValueError if lengths differ, ids repeat or scores are NaN; UserError if the file cannot
        be written.
    """
    content: dict[str, NDArray] = {
        f"{name}{_OUTPUT}": np.ascontiguousarray(scores, dtype=np.float32)
        for name, scores in predictions.scores.items()
    }
    content[IDS] = np.asarray(predictions.narration_id, dtype=np.str_)
    if predictions.multi_label:
        content[MULTI_LABEL] = np.asarray(sorted(predictions.multi_label), dtype=np.str_)
    try:
        _checked(content)
    except UserError as error:
        raise ValueError(str(error)) from None
    path = Path(path)
    with writing(path):
        write_atomically(path, lambda file: file.write(_portable_pickle(content)))
    return path


def read_predictions(path: InputPath) -> Predictions:
    """Read a prediction file: a dict, or a list of one dict per segment; .pkl or .pt.

    These are the four forms that the public scorer reads.
    Raises: UserError if it is missing, has other content, repeats a segment or contains NaN.
    """
    path = local_path(path, "--predictions")
    if path.suffix not in _READERS:
        raise UserError(f"{path}: predictions are read from {' or '.join(_READERS)} files")
    content = _READERS[path.suffix](path)
    with reading(path, "a prediction file", _EXPECTED):
        try:
            if isinstance(content, list):
                keys = [key for key in content[0] if key == IDS or str(key).endswith(_OUTPUT)]
                content = {key: _stacked(content, key) for key in keys}
            return _checked(content)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def _stacked(rows: Sequence[Mapping[str, Any]], key: str) -> Any:
    if key == IDS:
        return [row[key] for row in rows]
    return np.stack([np.asarray(row[key]) for row in rows])


def for_epic(predictions: Predictions, what: str) -> Predictions:
    """The heads verb and noun, in this order, as the EPIC-KITCHENS protocol needs them.

    what: names the predictions in the error. Raises: UserError if one of the heads is missing.
    """
    chosen = {name: predictions.scores.get(name) for name in ("verb", "noun")}
    scores = {name: array for name, array in chosen.items() if array is not None}
    if len(scores) < len(chosen) or predictions.multi_label.intersection(scores):
        raise UserError(
            f"{what} has the heads {_described(predictions)}, but the EPIC-KITCHENS protocol needs "
            "single-label heads verb and noun; give the predictions of a model that has both"
        )
    return replace(predictions, scores=scores)


def select(predictions: Predictions, narration_ids: Sequence[str], what: str) -> Predictions:
    """The predictions in the order of the ids; both must have exactly the same segments.

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
    return predictions.of_rows([rows[name] for name in narration_ids])


def fuse(
    parts: Sequence[Predictions], weights: Sequence[float] | None = None, what: str = "predictions"
) -> Predictions:
    """Weighted mean of the log-probabilities of several predictions, in the order of the first.

    For a single-label head, each part and the mean are normalised; scores are bounded below by
    LOG_FLOOR.
    weights: one positive number per part; None: equal. They are divided by their sum.
    Raises: UserError if segments, heads or the number of weights disagree.
    """
    shares = np.ones(len(parts)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(shares) != len(parts) or not ((shares > 0) & np.isfinite(shares)).all():
        raise UserError(
            f"{what}: {len(parts)} files need {len(parts)} positive weights, got {weights}"
        )
    ids = [str(name) for name in parts[0].narration_id]
    aligned = [select(p, ids, f"{what}, part {i + 1}") for i, p in enumerate(parts)]
    for number, part in enumerate(aligned, 1):
        if set(part.heads) != set(aligned[0].heads):
            raise UserError(
                f"{what}: part {number} has the heads {_described(part)}, the first one "
                f"{_described(aligned[0])}; fuse predictions of the same heads"
            )
    shares = shares / shares.sum()
    fused = {
        head.name: _weighted_mean([p.scores[head.name] for p in aligned], shares, head.multi_label)
        for head in aligned[0].heads
    }
    return replace(aligned[0], scores=fused)


def _portable_pickle(content: object) -> bytes:
    """Pickle arrays under the module name that every version of numpy knows.

    numpy 2 writes `numpy._core`, which numpy 1 of the public scorer's environment does not have;
    both read `numpy.core`. Protocol 3 is the last one that stores names as plain text, so they
    can be replaced.
    """
    pickled = pickle.dumps(content, protocol=3)
    new, old = b"cnumpy._core.", b"cnumpy.core."
    pieces, done = [], 0
    for opcode, _, position in pickletools.genops(pickled):
        if opcode.name == "GLOBAL" and position is not None and pickled.startswith(new, position):
            pieces += [pickled[done:position], old]
            done = position + len(new)
    return b"".join([*pieces, pickled[done:]])


_EXPECTED = f"not a dict of arrays {IDS} and HEAD{_OUTPUT} for each head (verb_output, noun_output)"


def _checked(content: Any) -> Predictions:
    if not isinstance(content, Mapping) or IDS not in content:
        raise UserError(_EXPECTED)
    scores = {
        str(key).removesuffix(_OUTPUT): np.asarray(array)
        for key, array in content.items()
        if str(key).endswith(_OUTPUT)
    }
    if not scores:
        raise UserError(_EXPECTED)
    ids = _ids(content[IDS])
    if ids.ndim != 1 or not len(ids):
        raise UserError(f"{IDS} has shape {ids.shape}, expected (n,) with n > 0")
    for name, array in scores.items():
        _check_scores(f"{name}{_OUTPUT}", array, len(ids))
    repeated = [name for name, count in Counter(ids.tolist()).items() if count > 1]
    if repeated:
        raise UserError(f"{_counted(repeated, 'repeated')}; each must occur once")
    multi_label = np.asarray(content.get(MULTI_LABEL, [])).astype(np.str_)
    return Predictions(scores, ids, frozenset(multi_label.tolist()))


def _ids(names: Any) -> NDArray[np.str_]:
    """Narration ids of at most ID_CHARACTERS each, since the array is as wide as the longest."""
    texts = [name if isinstance(name, str) else str(np.asarray(name)) for name in names]
    longest = max(texts, key=len, default="")
    if len(longest) > ID_CHARACTERS:
        raise UserError(
            f"{IDS} has {longest[:20]}... of {len(longest)} characters, more than {ID_CHARACTERS}"
        )
    return np.asarray(texts, dtype=np.str_)


def _check_scores(key: str, scores: NDArray, count: int) -> None:
    if scores.ndim != 2 or len(scores) != count:
        raise UserError(f"{key} has shape {scores.shape}, expected ({count}, classes)")
    if not np.issubdtype(scores.dtype, np.floating):
        raise UserError(f"{key} holds {scores.dtype}, expected float32")
    unusable = int((np.isnan(scores) | np.isposinf(scores)).any(axis=1).sum())
    unusable += int(np.isneginf(scores).all(axis=1).sum())
    if unusable:
        raise UserError(f"{key}: {unusable} segments have NaN or infinite scores")


def _described(predictions: Predictions) -> str:
    return ", ".join(
        f"{h.name} ({h.num_classes}{' independent' if h.multi_label else ''} classes)"
        for h in predictions.heads
    )


def _counted(names: Sequence[str], what: str) -> str:
    examples = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
    return f"{len(names)} segments {what}{examples}"


def _weighted_mean(
    scores: Sequence[NDArray], shares: NDArray, multi_label: bool
) -> NDArray[np.float32]:
    def normalised(part: NDArray) -> NDArray:
        return part if multi_label else log_softmax(part)

    mean = np.zeros(scores[0].shape)
    for part, share in zip(scores, shares, strict=True):
        mean += share * np.maximum(normalised(part), LOG_FLOOR)
    return np.maximum(normalised(mean), LOG_FLOOR).astype(np.float32)
