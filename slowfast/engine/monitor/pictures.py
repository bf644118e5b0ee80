"""Pictures for TensorBoard: confusion matrices and training pairs.

Legend: K classes, F frames of a strip, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_CLASSES = 50
_DPI = 100
# Numbers and names can be read up to this many classes.
_WITH_NUMBERS = 20
_TITLE_LENGTH = 80


def confusion_picture(counts: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: the rows of a confusion matrix in percent of their class.

    counts: (K, K), a row per true class, of which the 50 most frequent classes are shown, the
    most frequent first. names: of all classes.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    support = counts.sum(axis=1)
    order = np.argsort(-support, kind="stable")
    shown = order[support[order] > 0][:_MAX_CLASSES]
    # Answers outside the shown classes have no column, but count in the percentages.
    percent = 100 * counts[np.ix_(shown, shown)] / np.maximum(support[shown, None], 1)
    numbered = len(shown) <= _WITH_NUMBERS
    side = 2.2 + (0.42 if numbered else 0.17) * max(len(shown), 5)
    figure = Figure(figsize=(side + 0.8, side), dpi=_DPI, layout="constrained")
    axis = figure.subplots()
    # The square root makes the many small errors visible.
    image = axis.imshow(percent, cmap="Blues", norm=PowerNorm(0.5, 0, 100))
    figure.colorbar(image, label="% of the true class", shrink=0.7)
    rows = [f"{names[k]} ({support[k]})" for k in shown]
    # A dollar sign in a name does not begin a formula.
    text: dict[str, Any] = {"fontsize": 8 if numbered else 6, "parse_math": False}
    axis.set_xticks(range(len(shown)), [names[k] for k in shown], rotation=90, **text)
    axis.set_yticks(range(len(shown)), rows, **text)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true (number of clips)")
    if numbered:
        for row, column in np.argwhere(percent > 0):
            value = percent[row, column]
            colour = "white" if value > 45 else "black"
            axis.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, size=8)
    if len(shown) < (support > 0).sum():
        axis.set_title(f"the {len(shown)} most frequent of {(support > 0).sum()} classes")
    return _pixels(figure)


def pair_picture(
    ego: NDArray[np.uint8], exo: NDArray[np.uint8], narrations: tuple[str, str], below: str
) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: the ego strip over the exo strip, each under its narration.

    ego, exo: (F, H, W, 3) RGB frames. narrations: of ego and exo. below: a line under both.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.3 * max(len(ego), len(exo)), 3.4), dpi=_DPI, layout="constrained")
    axes = figure.subplots(2, 1)
    for axis, frames, view, text in zip(axes, (ego, exo), ("ego", "exo"), narrations, strict=True):
        axis.imshow(np.concatenate(list(frames), axis=1))
        title = shorten(f"{view}: {text}", _TITLE_LENGTH, placeholder=" ...")
        axis.set_title(title, loc="left", fontsize=10, parse_math=False)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    axes[-1].set_xlabel(below, loc="left", fontsize=10)
    return _pixels(figure)


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
