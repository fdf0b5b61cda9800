"""A search of hyper-parameters as a figure in the style of :mod:`cerraseg.report.figures`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cerraseg.config.search_space import Space
from cerraseg.report.figures import GRID, INK, drawn

_STATES: dict[str, dict[str, Any]] = {
    "complete": {"marker": "o", "color": "#0072B2", "s": 22},
    "pruned": {"marker": "v", "facecolor": "none", "edgecolor": "#D55E00", "s": 22},
    "failed": {"marker": "x", "color": INK, "s": 22},
}
_COLUMNS = 3  # of slices


def search_progress(
    trials: pd.DataFrame, space: Space, importances: Mapping[str, float], path: str | Path, *, title: str, source: str
) -> None:
    """Values of all trials with the best so far, and below them by parameter, its importance in the title.

    Args:
        trials: see :func:`cerraseg.training.tuning.report.trial_table`; values are shown in percent.
        space: the parameters that were searched.
        importances: parameter → share; empty where unknown.
        path: SVG or PNG to write.
        title: of the figure.
        source: what the data is called.
    """
    rows = -(-len(space) // _COLUMNS)
    with drawn(path, title, source, (9, 3.2 + 2.2 * rows)) as figure:
        top, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.6, 2.2 * rows]).flat
        _progress(top.subplots(), trials)
        panels = below.subplots(rows, _COLUMNS, sharey=True, squeeze=False)
        for axes in panels.flat[len(space) :]:
            axes.set_visible(False)
        for axes, key in zip(panels.flat, space, strict=False):
            share = f", importance {importances[key]:.2f}" if key in importances else ""
            axes.set(title=f"{key}{share}")
            _slice(axes, trials, key, space[key])
        for axes in panels[:, 0]:
            axes.set_ylabel("macro F1 (%)")


def _progress(axes: Axes, trials: pd.DataFrame) -> None:
    complete = trials[trials["state"] == "complete"]
    leading = 100 * complete["value"].cummax()
    axes.step(complete["number"], leading, where="post", color="#0072B2", linewidth=1.4, label="best so far")
    floor = 100 * trials["value"].min()
    for state, style in _STATES.items():
        rows = trials[trials["state"] == state]
        if len(rows):  # a failed one has no value
            axes.scatter(rows["number"], (100 * rows["value"]).fillna(floor), label=state, zorder=3, **style)
    axes.set(xlabel="trial", ylabel="validation macro F1 (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=GRID, linewidth=0.6)
    axes.legend(fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))


def _slice(axes: Axes, trials: pd.DataFrame, key: str, given: Any) -> None:
    choices = [str(choice) for choice in given] if isinstance(given, list) else []
    for state in ("complete", "pruned"):
        rows = trials[trials["state"] == state]
        places = [choices.index(str(value)) for value in rows[key]] if choices else rows[key]
        axes.scatter(places, 100 * rows["value"], **_STATES[state])
    if choices:
        axes.set_xticks(range(len(choices)), choices, fontsize=8)
        axes.set_xlim(-0.5, len(choices) - 0.5)
    elif given["log"]:
        axes.set_xscale("log")
    axes.grid(color=GRID, linewidth=0.6)
