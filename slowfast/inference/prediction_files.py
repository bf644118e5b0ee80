"""Files of a video's prediction: JSON, CSV and a picture of the timeline."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from slowfast.inference.best_labels import best_labels, records
from slowfast.inference.sliding import VideoPrediction
from slowfast.utils.files import write_atomically, write_json, write_text

# Labels that get a row of the timeline, per head.
_TIMELINE_ROWS = 8
_INCHES_PER_ROW = 0.28


def write_prediction(
    folder: Path, prediction: VideoPrediction, top: int, about: dict[str, Any]
) -> list[Path]:
    """Write `predictions.json`, `predictions.csv` and `timeline.png` into `folder`.

    top: labels per head and window. about: description of the run for the JSON (checkpoint,
    options).
    """
    rows = list(records(prediction, top))
    video = {"video": prediction.video, "window_sec": round(prediction.window_sec, 3)}
    paths = [folder / name for name in ("predictions.json", "predictions.csv", "timeline.png")]
    write_json(paths[0], {**video, **about, "windows": rows})
    write_text(paths[1], _table(prediction, top).to_csv(index=False))
    picture = timeline(prediction)
    write_atomically(paths[2], lambda file: file.write(picture))
    return paths


def _table(prediction: VideoPrediction, top: int) -> pd.DataFrame:
    """One row per window, head and rank."""
    best = best_labels(prediction, top)
    return pd.DataFrame(
        [
            {
                "start_sec": round(start, 3),
                "stop_sec": round(start + prediction.window_sec, 3),
                "head": head,
                "rank": rank,
                "label": label.name,
                "id": label.class_id,
                "probability": label.probability,
            }
            for window, start in enumerate(prediction.starts.tolist())
            for head, rows in best.items()
            for rank, label in enumerate(rows[window], start=1)
        ]
    )


def timeline(prediction: VideoPrediction) -> bytes:
    """A PNG: per head the labels that are best at some time, with their probability as shade."""
    from matplotlib.figure import Figure

    shown = {head: _shown_classes(scores) for head, scores in prediction.scores.items()}
    heights = [len(classes) for classes in shown.values()]
    figure = Figure(figsize=(10, 1.2 + _INCHES_PER_ROW * sum(heights)), layout="constrained")
    axes = figure.subplots(
        len(shown), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    edges = _edges(prediction)
    for axis, (head, classes) in zip(axes, shown.items(), strict=True):
        values = prediction.scores[head][:, classes].T
        rows = np.arange(len(classes) + 1)
        mesh = axis.pcolormesh(edges, rows, values, vmin=0, vmax=1, cmap="Blues")
        axis.set_yticks(rows[:-1] + 0.5, [prediction.names[head][k] for k in classes])
        axis.invert_yaxis()
        axis.set_ylabel(head)
    axes[-1].set_xlabel("seconds")
    axes[0].set_title(prediction.video, loc="left")
    figure.colorbar(mesh, ax=list(axes), label="probability", fraction=0.03)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def _shown_classes(scores: np.ndarray) -> list[int]:
    """The classes that are most often best, in order of their first occurrence."""
    best = scores.argmax(axis=1)
    classes, first, counts = np.unique(best, return_index=True, return_counts=True)
    kept = np.argsort(-counts, kind="stable")[:_TIMELINE_ROWS]
    return [int(classes[k]) for k in sorted(kept, key=lambda k: first[k])]


def _edges(prediction: VideoPrediction) -> np.ndarray:
    """(n + 1,) seconds between which each window is drawn: halfway between window centres."""
    centres = prediction.starts + prediction.window_sec / 2
    return np.concatenate([[0.0], (centres[1:] + centres[:-1]) / 2, [prediction.duration_sec]])
