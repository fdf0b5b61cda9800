"""Charts of scores in the style of :mod:`cerraseg.report.figures`: the benchmark, and scores by distance."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cerraseg.config.dataset import CONCAT, Dataset
from cerraseg.config.scenario import PUBLISHED_WEIGHTINGS
from cerraseg.evaluation.benchmark import MARK, PAPER_DATA, SCORES
from cerraseg.evaluation.calibration import STAGES
from cerraseg.report.benchmark.tables import by_scenario
from cerraseg.report.figures import BASELINE_INK, EDGE, GRID, INK, drawn
from cerraseg.training.weightings import WEIGHTINGS

# The colour-blind-safe palette of Okabe and Ito: of sensors and of some joined; and of all sensors together.
_PALETTE, _ALL = ("#0072B2", "#E69F00", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"), "#009E73"
_TOUCHING, _APART = "#D55E00", "#0072B2"
_LABEL: dict[str, Any] = {"ha": "center", "fontsize": 7}
_BACKED = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
_OUTLINE: dict[str, Any] = {"fill": False, "edgecolor": "black", "linewidth": 1.3}
_LINE: dict[str, Any] = {"color": BASELINE_INK, "linewidth": 1.6}
_CLEAR = 10  # points above a bar that its number takes
_NARROWEST, _WIDEST = 5.6, 9.6  # inches of a chart, and of the levels' bars where all stand side by side
_PUBLISHED = {"msi": "MSI", "sar": "SAR", "concat": "Concat"}  # modalities in the notation of the published chart
_CLUSTER = ["model", "weighting", "recipe"]


def modality_colours(dataset: Dataset, shown: Iterable[str]) -> dict[str, str]:
    """Return modality → colour of the modalities that are ``shown``, in the order of the dataset."""
    given = list(shown)
    apart = [*dataset.sensors, *(modality for modality in dict.fromkeys(given) if "+" in modality)]
    colours = dict(zip(apart, cycle(_PALETTE), strict=False)) | {CONCAT: _ALL}
    return {name: colours[name] for name in dict.fromkeys([*dataset.modalities, *apart]) if name in given}


def benchmark_bars(table: pd.DataFrame, path: str | Path, dataset: Dataset, *, title: str, source: str) -> None:
    """Draw bars of macro F1 by model, weighting and recipe, one bar per modality, one panel per level.

    Whiskers are ± one standard deviation over a scenario's seeds or, where it has one seed, the 95 % bootstrap
    interval. A line over a bar is the pixel-wise baseline of its bands and level, a sign marks what is not shown to be
    above it. The paper's axes are labelled in its notation, ``MSI-NW-L1``; its value is outlined only if every row of
    ``table``, which is that of :func:`cerraseg.evaluation.benchmark.collect`, is comparable.
    """
    bars = by_scenario(table, "macro_f1")
    if dataset.name == PAPER_DATA:
        bars["name"] = [_published(*axes) for axes in bars[["modality", "weighting", "level"]].itertuples(index=False)]
    levels = list(bars["level"].unique())
    colours = modality_colours(dataset, bars["modality"])
    modalities = list(colours)
    inches = [max(1.2, 0.4 * len(modalities)) * len(bars[bars["level"] == k].drop_duplicates(_CLUSTER)) for k in levels]
    beside = sum(inches) <= _WIDEST
    width, rows = max(_NARROWEST, 0.8 + (sum(inches) if beside else max(inches))), 1 if beside else len(levels)
    with drawn(path, title, source, (width, 1.4 + 2.5 * rows)) as figure:
        grid: dict[str, Any] = {"width_ratios": inches} if beside else {}
        panels = figure.subplots(rows, len(levels) // rows, sharey=True, squeeze=False, **grid).flat
        top = np.nanmax(bars[["value", "high", "paper", "baseline"]].to_numpy(dtype=float))
        for axes, level in zip(panels, levels, strict=True):
            _bars_of_level(axes, bars[bars["level"] == level], colours)
            axes.set(ylim=(0, 1.18 * max(top, 1)), title=f"level {level}")
            if axes.get_subplotspec().is_first_col():
                axes.set_ylabel(f"{SCORES['macro_f1']} (%)")
        handles: list[Any] = [Patch(facecolor=colours[name], edgecolor=EDGE, label=name) for name in modalities]
        if bars["baseline"].notna().any():
            handles.append(Line2D([], [], **_LINE, label=f"pixel-wise baseline; {MARK}: not shown to be above"))
        if bars["paper"].notna().any():
            handles.append(Patch(label=f"paper ({PAPER_DATA})", **_OUTLINE))
        shown = [name for name in WEIGHTINGS if name in set(bars["weighting"])]
        meanings = "; ".join(f"{name}: {WEIGHTINGS[name].description}" for name in shown)
        whiskers = ["± one standard deviation over seeds"] * bool((bars["seeds"] > 1).any())
        whiskers += ["95 % bootstrap interval"] * bool(bars["low"][bars["seeds"] == 1].notna().any())
        note = f"\nwhiskers: {'; of one seed: '.join(whiskers)}" if whiskers else ""
        said = textwrap.fill(f"model, weighting ({meanings}) and recipe", int(13 * width)) + note
        figure.legend(handles=handles, title=said, title_fontsize=9, ncols=4, loc="outside lower center", fontsize=8)


def _published(modality: str, weighting: str, level: str) -> str:
    """Return the published name of a scenario's data, ``Concat-NW-L2``; empty where the paper has no such axis."""
    known = modality in _PUBLISHED and weighting in PUBLISHED_WEIGHTINGS
    return "-".join((_PUBLISHED[modality], weighting.upper(), level.upper())) if known else ""


def _bars_of_level(axes: Axes, bars: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Draw the bars of one level from rows of :func:`cerraseg.report.benchmark.tables.by_scenario`."""
    modalities = list(colours)
    clusters = list(dict.fromkeys(bars[_CLUSTER].itertuples(index=False, name=None)))
    width = 0.8 / len(modalities)
    places = []
    for bar in bars.to_dict("records"):
        value, low, high, paper = (float(bar[name]) for name in ("value", "low", "high", "paper"))
        shift = (modalities.index(bar["modality"]) - (len(modalities) - 1) / 2) * width
        place = clusters.index(tuple(bar[axis] for axis in _CLUSTER)) + shift
        places.append(place)
        axes.bar(place, value, 0.74 * width, color=colours[bar["modality"]], edgecolor=EDGE, linewidth=0.6)
        if np.isfinite(paper):
            axes.bar(place, paper, 0.94 * width, **_OUTLINE)
        if np.isfinite(low):
            ends = [[max(0, value - low)], [max(0, high - value)]]
            axes.errorbar(place, value, ends, color=INK, linewidth=1, capsize=2)
        if np.isfinite(bar["baseline"]):
            axes.hlines(bar["baseline"], place - width / 2, place + width / 2, **_LINE)
        top = np.nanmax([value, high])
        top = bar["baseline"] if 0 < bar["baseline"] - top < _CLEAR else top
        axes.annotate(
            f"{value:.2f}{bar['mark']}", (place, top), (0, 3), textcoords="offset points", bbox=_BACKED, **_LABEL
        )
    labels = [f"{model}\n{weighting} · {recipe}" for model, weighting, recipe in clusters]
    if "name" in bars and len(modalities) == 1:  # then a bar is as wide as its name
        labels = [f"{label}\n{name}" for label, name in zip(labels, bars["name"], strict=True)]
    axes.set_xticks(range(len(clusters)), labels)
    if "name" in bars and len(modalities) > 1:
        axes.xaxis.remove_overlapping_locs = False  # a bar may stand in the middle of its cluster
        axes.set_xticks(places, bars["name"], minor=True, rotation=90, fontsize=6)
        axes.tick_params(axis="x", which="minor", length=0)
        axes.tick_params(axis="x", pad=50)
    middle, half = (len(clusters) - 1) / 2, max(len(clusters), 2) / 2  # a lone cluster gets no giant bars
    axes.set_xlim(middle - half - 0.1, middle + half + 0.1)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=GRID, linewidth=0.6)


def scores_by_distance(leakage: Mapping[str, Any], path: str | Path, *, title: str, source: str) -> None:
    """Draw macro F1 of the test patches, over the classes present, by distance to the nearest training patch.

    Where all lie at one distance, the figure is a line of text: there is nothing to compare.
    ``leakage`` is that section of a scenario's metrics (:mod:`cerraseg.evaluation.leakage`).
    """
    bins: Sequence[Mapping[str, Any]] = leakage["by_distance"]
    if len(bins) < 2:
        with drawn(path, title, source, (5.6, 1)) as figure:
            figure.text(0.01, 0.1, _one_distance(bins), fontsize=9)
        return
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
        axes.set_xticks(places, [f"{_distance(row)}\npatches: {row['patches']:,}" for row in bins], fontsize=8)
        axes.set(xlim=(-0.6, len(bins) - 0.4), ylim=(0, 108), ylabel="macro F1, classes present (%)")
        axes.set_xlabel(f"gap to the nearest training patch; {100 * leakage['touching']:.1f} % touch one")
        axes.grid(axis="y", color=GRID, linewidth=0.6)


def reliability(calibration: Mapping[str, Any], path: str | Path, *, title: str, source: str) -> None:
    """Draw the share of test pixels that is right by the probability of their class, before and after calibration.

    ``calibration`` is that section of a scenario's metrics (:mod:`cerraseg.evaluation.calibration`).
    """
    with drawn(path, title, source, (4.4, 4.2)) as figure:
        axes = figure.subplots()
        axes.plot([0, 100], [0, 100], color=GRID, linewidth=1.2)
        for stage, colour in zip(STAGES, (_TOUCHING, _APART), strict=True):
            if values := calibration.get(stage):
                pixels, *percent = np.array(values["reliability"]).T
                mean, right = (100 * part[pixels > 0] for part in percent)
                axes.plot(mean, right, "o-", ms=4, color=colour, label=f"{stage}: ECE {100 * values['ece']:.1f} %")
        axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="probability of the predicted class (%)", ylabel="right (%)")
        axes.legend(title="calibration", fontsize=8)


def _one_distance(bins: Sequence[Mapping[str, Any]]) -> str:
    if not bins:
        return "No test patch has labelled pixels, so there are no scores by distance."
    (row,) = bins
    score = f"macro F1, classes present: {100 * row['macro_f1_present']:.1f} %"
    gap = f"All {row['patches']:,} test patches lie at one distance from training patches: {_distance(row)}."
    return f"{gap}\nNothing to compare; {score}."


def _distance(row: Mapping[str, Any]) -> str:
    if row["touches"]:
        return "overlapping" if row.get("overlaps") else "touching"
    unit, name = (1000, "km") if row["to"] >= 1000 else (1, "m")
    low, high = (f"{row[end] / unit:.3g}" for end in ("from", "to"))
    return f"{low} {name}" if low == high else f"{low}–{high} {name}"
