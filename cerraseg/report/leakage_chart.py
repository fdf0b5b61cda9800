"""The figure of leakage: scores of the test patches by their distance from the training patches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cerraseg.report.figures import EDGE, GRID, drawn

_TOUCHING, _APART = "#D55E00", "#0072B2"


def by_distance(leakage: Mapping[str, Any], path: str | Path, *, title: str, source: str) -> None:
    """Macro F1 (percent, over the classes present) of each bin of distance, with its interval and its patches.

    ``leakage`` is that section of a scenario's metrics, see :func:`cerraseg.evaluation.leakage.leakage_summary`.
    """
    bins: Sequence[Mapping[str, Any]] = leakage["by_distance"]
    values = 100 * np.array([row["macro_f1_present"] for row in bins])
    places = np.arange(len(bins))
    with drawn(path, title, source, (max(4.4, 1.4 + 1.1 * len(bins)), 3.4)) as figure:
        axes = figure.subplots()
        axes.plot(places, values, color=GRID, linewidth=1.2, zorder=1)
        for place, value, row in zip(places, values, bins, strict=True):
            if row["interval"]:
                axes.vlines(place, *(100 * end for end in row["interval"]), color=EDGE, linewidth=1)
            axes.plot(place, value, "o", color=_TOUCHING if row["touches"] else _APART)
            top = 100 * row["interval"][1] if row["interval"] else value
            axes.annotate(f"{value:.1f}", (place, top), (0, 4), textcoords="offset points", ha="center", fontsize=7.5)
        axes.set_xticks(places, [f"{_named(row)}\npatches: {row['patches']:,}" for row in bins], fontsize=8)
        axes.set(xlim=(-0.6, len(bins) - 0.4), ylim=(0, 108), ylabel="macro F1, classes present (%)")
        axes.set_xlabel(f"gap to the nearest training patch; {100 * leakage['touching']:.1f} % touch one")
        axes.grid(axis="y", color=GRID, linewidth=0.6)


def _named(row: Mapping[str, Any]) -> str:
    if row["touches"]:
        return "touching"
    unit, name = (1000, "km") if row["to"] >= 1000 else (1, "m")
    low, high = (f"{row[end] / unit:.3g}" for end in ("from", "to"))
    return f"{low} {name}" if low == high else f"{low}–{high} {name}"
