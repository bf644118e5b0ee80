"""The differences to the base as points with their intervals, one panel per kind."""

from __future__ import annotations

from pathlib import Path

from slowfast.lab.ablation.report import Comparison

_COLOURS = {"all": "#222222", "seen": "#1f77b4", "unseen": "#d95f02"}
_SPREAD = 0.22


def draw_figure(comparison: Comparison, out: Path) -> list[Path]:
    """Write figure.png and figure.svg below `out`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    gains = comparison.values[comparison.values.reference != ""]
    pairs = list(dict.fromkeys(zip(gains.arm, gains.reference, strict=True)))
    figure = Figure(figsize=(10, 1.6 + 0.55 * max(len(pairs), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    kinds = comparison.kinds
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    middle = (len(comparison.sizes) - 1) / 2
    for panel, kind in zip(panels, kinds, strict=True):
        panel.axvline(0, color="#999999", linewidth=1)
        for number, (subset, size) in enumerate(comparison.sizes.items()):
            # In the order of `pairs`, which every subset has.
            shown = gains[(gains.subset == subset) & (gains.kind == kind)]
            below, above = shown.value - shown.low, shown.high - shown.value
            panel.errorbar(
                shown.value,
                [row + _SPREAD * (number - middle) for row in range(len(pairs))],
                xerr=[below.clip(lower=0), above.clip(lower=0)],
                fmt="o",
                markersize=4,
                linewidth=1.5,
                color=_COLOURS[subset],
                label=f"{subset} ({size} segments)",
            )
        panel.set_title(f"{kind} top-1")
        panel.set_xlabel("difference, points")
        panel.grid(axis="x", color="#eeeeee")
        panel.set_axisbelow(True)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(left=False)
    panels[0].set_yticks(range(len(pairs)), [f"{arm} − {reference}" for arm, reference in pairs])  # noqa: RUF001
    panels[0].set_ylim(max(len(pairs), 1) - 0.5, -0.5)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    seeds = sorted(set(comparison.means.seeds))
    figure.suptitle(
        f"{comparison.plan.path.stem}: paired differences, 95 % intervals over "
        f"{' or '.join(map(str, seeds))} seeds and the segments"
    )
    paths = [out / "figure.png", out / "figure.svg"]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths
