"""The best answers of every window of a video, per head and of verb and noun together.

Legend: n windows, K classes of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowfast.config.heads import joint_name
from slowfast.inference.loaded_model import Label
from slowfast.inference.sliding import VideoPrediction


def best_labels(prediction: VideoPrediction, top: int) -> dict[str, list[list[Label]]]:
    """Per head, and for the joint answer (`action`), the `top` best labels of each window.

    The joint answer is one class of every single-label head, ranked by the product of their
    probabilities, as in the official rule of EPIC-KITCHENS. Its class_id counts the combinations in
    row order.
    """
    best = {
        head: [_top(row, prediction.names[head], top) for row in scores]
        for head, scores in prediction.scores.items()
    }
    single = [head.name for head in prediction.heads if not head.multi_label]
    if joint := joint_name(single):
        tables = [prediction.scores[name] for name in single]
        names = [prediction.names[name] for name in single]
        best[joint] = [
            _top_joint([table[window] for table in tables], names, top)
            for window in range(len(prediction))
        ]
    return best


def records(prediction: VideoPrediction, top: int) -> Iterator[dict[str, Any]]:
    """One record per window, for JSON: start_sec, stop_sec, and per head its best labels."""
    best = best_labels(prediction, top)
    for window, start in enumerate(prediction.starts.tolist()):
        yield {
            "start_sec": round(start, 3),
            "stop_sec": round(start + prediction.window_sec, 3),
            **{
                head: [
                    {"label": label.name, "id": label.class_id, "probability": label.probability}
                    for label in rows[window]
                ]
                for head, rows in best.items()
            },
        }


def _top(row: NDArray[np.float32], names: tuple[str, ...], top: int) -> list[Label]:
    order = np.argsort(-row, kind="stable")[:top]
    return [Label(names[k], int(k), float(row[k])) for k in order]


def _top_joint(
    rows: list[NDArray[np.float32]], names: list[tuple[str, ...]], top: int
) -> list[Label]:
    """The best combinations are among those of the `top` best classes of each head."""
    orders = [np.argsort(-row, kind="stable")[:top] for row in rows]
    chosen = [row[order] for row, order in zip(rows, orders, strict=True)]
    products = reduce(np.multiply.outer, chosen)
    labels = []
    for flat in np.argsort(-products, axis=None, kind="stable")[:top]:
        places = np.unravel_index(flat, products.shape)
        ids = [int(order[place]) for order, place in zip(orders, places, strict=True)]
        name = " ".join(words[k] for words, k in zip(names, ids, strict=True))
        combination = int(np.ravel_multi_index(ids, [len(row) for row in rows]))
        labels.append(Label(name, combination, float(products[places])))
    return labels
