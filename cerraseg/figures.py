"""Figures of the report, as SVG or PNG by the path's suffix; the same input gives the same bytes.

Every figure takes a ``title`` and the ``source`` of its data, and shows both: no figure can be mistaken for one of
other data.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike, NDArray

from cerraseg.benchmark import PAPER_DATA, SCORES
from cerraseg.files import replacing
from cerraseg.tables import by_scenario
from cerraseg.taxonomy import MODALITIES, LandCover

MODALITY_COLOURS = {"msi": "#0072B2", "sar": "#E69F00", "concat": "#009E73"}
"""Modality → colour, from the colour-blind-safe palette of Okabe and Ito."""

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "cerraseg",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "image.interpolation": "nearest",
}
_LABEL: dict[str, Any] = {"ha": "center", "fontsize": 7}
_BACKED = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
_OUTLINE: dict[str, Any] = {"fill": False, "edgecolor": "black", "linewidth": 1.3}
_CLUSTER = ["model", "weighting", "recipe"]
_HATCHES = ("", "////", "....", "xxxx")
_INK, _EDGE, _GRID = "#222222", "#555555", "#dddddd"


def curves(history: pd.DataFrame, path: str | Path, *, title: str, source: str) -> None:
    """Losses and validation scores by epoch, the selected epoch marked.

    ``history`` has one row an epoch: epoch, train_loss, val_loss, val_macro_f1 and val_miou (fractions 0 to 1; shown
    in percent) and selected (true for the epoch that was kept).
    """
    with drawn(path, title, source, (8, 3.4)) as figure:
        left, right = figure.subplots(1, 2)
        epochs = history["epoch"]
        marker = "." if len(epochs) <= 40 else ""
        for axes, column, label, colour, dash in (
            (left, "train_loss", "training", "#0072B2", "-"),
            (left, "val_loss", "validation", "#D55E00", "--"),
            (right, "val_macro_f1", "macro F1", "#0072B2", "-"),
            (right, "val_miou", "mIoU", "#D55E00", "--"),
        ):
            values = history[column] * (1 if axes is left else 100)
            axes.plot(epochs, values, dash, marker=marker, color=colour, linewidth=1.4, label=label)
        for axes, ylabel in ((left, "loss"), (right, "validation score (%)")):
            for epoch in epochs[history["selected"].astype(bool)]:
                axes.axvline(epoch, color=_EDGE, linewidth=1, linestyle=":", label=f"selected: epoch {epoch}")
            axes.set(xlabel="epoch", ylabel=ylabel)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(color=_GRID, linewidth=0.6)
            axes.legend(fontsize=8)
        right.set_ylim(bottom=0)


def confusion(matrix: ArrayLike, classes: Sequence[LandCover], path: str | Path, *, title: str, source: str) -> None:
    """Heat map of a confusion matrix ``(classes, classes)``, each row in percent of the true class's pixels."""
    counts = np.asarray(matrix, dtype=np.int64)
    truth = counts.sum(axis=1, keepdims=True)
    percent = np.divide(100 * counts, truth, out=np.zeros(counts.shape), where=truth > 0)
    size = len(classes)
    with drawn(path, title, source, (3.4 + 0.5 * size, 1.8 + 0.42 * size)) as figure:
        axes = figure.subplots()
        mesh = axes.pcolormesh(percent, cmap="Blues", vmin=0, vmax=100, edgecolors="white", linewidth=0.8)
        for (row, column), value in np.ndenumerate(percent):
            text = f"{value:.1f}" if truth[row] else "–"
            colour = "white" if value > 55 else _INK if value >= 0.05 else "#999999"
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7.5, color=colour)
        places = np.arange(size) + 0.5
        rows = [f"{entry.name}  {_short(n)}" for entry, n in zip(classes, truth[:, 0], strict=True)]
        columns = [f"{entry.abbreviation}\n{_short(n)}" for entry, n in zip(classes, counts.sum(axis=0), strict=True)]
        axes.set_yticks(places, rows)
        axes.set_xticks(places, columns, fontsize=8)
        axes.tick_params(length=0, pad=14)
        axes.set(xlabel="predicted class, pixels", ylabel="true class, pixels")
        axes.spines[:].set_visible(False)
        squares: dict[str, Any] = {"s": 50, "marker": "s", "c": _colours(classes), "edgecolor": _EDGE, "linewidth": 0.5}
        for x, y, beside, right, up in (
            (np.zeros(size), places, axes.get_yaxis_transform(), -8 / 72, 0),
            (places, np.zeros(size), axes.get_xaxis_transform(), 0, -8 / 72),
        ):
            moved = beside + ScaledTranslation(right, up, figure.dpi_scale_trans)
            axes.scatter(x, y, transform=moved, clip_on=False, **squares)
        axes.set(xlim=(0, size), ylim=(size, 0))
        figure.colorbar(mesh, ax=axes, label="% of the true class's pixels", fraction=0.04, pad=0.02, aspect=32)


def benchmark_bars(table: pd.DataFrame, path: str | Path, *, title: str, source: str, metric: str = "macro_f1") -> None:
    """Bars of ``metric`` (percent) by model, weighting and recipe, one bar a modality, one row of axes a level.

    ``table`` is :func:`cerraseg.benchmark.collect`'s. Whiskers are ± one standard deviation over a scenario's seeds or,
    where it has one seed, the 95 % bootstrap interval. The paper's value is outlined only if every row is comparable.
    """
    bars = by_scenario(table, metric)
    levels = list(bars["level"].unique())
    most = max(len(rows.drop_duplicates(_CLUSTER)) for _, rows in bars.groupby("level"))
    modalities = [modality for modality in MODALITIES if modality in set(bars["modality"])]
    with drawn(path, title, source, (max(9, 1 + 0.4 * most * len(modalities)), 0.9 + 2.6 * len(levels))) as figure:
        panels = figure.subplots(len(levels), 1, sharey=True, squeeze=False)[:, 0]
        top = np.nanmax(bars[["value", "high", "paper"]].to_numpy(dtype=float))
        for axes, level in zip(panels, levels, strict=True):
            _bars_of_level(axes, bars[bars["level"] == level], modalities)
            axes.set(ylim=(0, 1.18 * max(top, 1)), ylabel=f"{SCORES[metric]} (%)", title=f"level {level}")
        handles = [Patch(facecolor=MODALITY_COLOURS[name], edgecolor=_EDGE, label=name) for name in modalities]
        if bars["paper"].notna().any():
            handles.append(Patch(label=f"paper ({PAPER_DATA})", **_OUTLINE))
        panels[0].legend(handles=handles, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), fontsize=8)
        several, alone = bars[bars["seeds"] > 1], bars[bars["seeds"] == 1]
        whiskers = ["± one standard deviation over seeds"] * bool(len(several))
        whiskers += ["95 % bootstrap interval over patches"] * bool(alone["low"].notna().any())
        note = f"\nwhiskers: {'; of one seed: '.join(whiskers)}" if whiskers else ""
        panels[-1].set_xlabel(f"model, weighting (w: class weights in the loss, nw: none) and recipe{note}")


def _bars_of_level(axes: Axes, bars: pd.DataFrame, modalities: Sequence[str]) -> None:
    """Draw one level's bars from the rows of :func:`cerraseg.tables.by_scenario`."""
    clusters = list(dict.fromkeys(bars[_CLUSTER].itertuples(index=False, name=None)))
    width = 0.8 / len(modalities)
    for bar in bars.to_dict("records"):
        value, low, high, paper = (float(bar[name]) for name in ("value", "low", "high", "paper"))
        shift = (modalities.index(bar["modality"]) - (len(modalities) - 1) / 2) * width
        place = clusters.index(tuple(bar[axis] for axis in _CLUSTER)) + shift
        axes.bar(place, value, 0.74 * width, color=MODALITY_COLOURS[bar["modality"]], edgecolor=_EDGE, linewidth=0.6)
        if np.isfinite(paper):
            axes.bar(place, paper, 0.94 * width, **_OUTLINE)
        if np.isfinite(low):
            ends = [[max(0, value - low)], [max(0, high - value)]]
            axes.errorbar(place, value, ends, color=_INK, linewidth=1, capsize=2)
        top = (place, np.nanmax([value, high, paper]))
        axes.annotate(f"{value:.2f}", top, (0, 3), textcoords="offset points", bbox=_BACKED, **_LABEL)
    axes.set_xticks(range(len(clusters)), [f"{model}\n{weighting} · {recipe}" for model, weighting, recipe in clusters])
    middle, half = (len(clusters) - 1) / 2, max(len(clusters), 3) / 2  # a lone cluster gets no giant bars
    axes.set_xlim(middle - half - 0.1, middle + half + 0.1)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=_GRID, linewidth=0.6)


def class_shares(
    counts: Mapping[str, Sequence[int]], classes: Sequence[LandCover], path: str | Path, *, title: str, source: str
) -> None:
    """Bars of each class's share of the labelled pixels (percent, log scale) by split.

    ``counts`` maps a split's name to its pixels a class, in id order.
    """
    shares = {split: 100 * np.asarray(pixels) / max(1, sum(pixels)) for split, pixels in counts.items()}
    height = 0.84 / len(shares)
    with drawn(path, title, source, (8, 1.3 + (0.14 + 0.13 * len(shares)) * len(classes))) as figure:
        axes = figure.subplots()
        # The log axis starts at a decade below the smallest share and leaves room for labels.
        smallest = min((share[share > 0].min() for share in shares.values() if share.any()), default=1.0)
        axes.set(xscale="log", xlabel="share of the split's labelled pixels (%)")
        axes.set_xlim(10 ** np.floor(np.log10(smallest) - 0.3), 400)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        handles = []
        for rank, (split, share) in enumerate(shares.items()):
            hatch = _HATCHES[rank % len(_HATCHES)]
            _class_bars(axes, share, classes, height, (rank - (len(shares) - 1) / 2) * height, hatch)
            handles.append(Patch(facecolor="white", edgecolor=_INK, hatch=hatch, label=split))
        axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, fontsize=8)


def _class_bars(
    axes: Axes,
    percent: NDArray[np.float64],
    classes: Sequence[LandCover],
    height: float,
    shift: float,
    hatch: str,
) -> None:
    """Horizontal bars in the classes' colours with their values, first class on top."""
    places = np.arange(len(classes)) + shift
    axes.barh(places, percent, height, color=_colours(classes), edgecolor=_INK, linewidth=0.5, hatch=hatch)
    for place, value in zip(places, percent, strict=True):
        # A bar of 0 has no end on a log axis: its label stands where the axis starts.
        end = (max(value, axes.get_xlim()[0]), place)
        axes.annotate(_percent(value), end, (3, 0), textcoords="offset points", va="center", fontsize=7.5)
    axes.set_yticks(range(len(classes)), [f"{entry.name} ({entry.abbreviation})" for entry in classes])
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=_GRID, linewidth=0.6)


def _colours(classes: Sequence[LandCover]) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*entry.colour) for entry in classes]


def _short(count: int) -> str:
    """A count in four characters or so: 812, 4.5k, 467k, 18.2M."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.{1 if count < 100 * size else 0}f}{unit}"
    return str(count)


def _percent(value: float) -> str:
    """A percentage with as many decimals as a small share needs; 0 only where there is nothing."""
    return "0" if value == 0 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


@contextmanager
def drawn(
    path: str | Path, title: str, source: str, size: tuple[float, float], legend: Sequence[LandCover] = ()
) -> Iterator[Figure]:
    """A figure of ``size`` inches in the common style, titled and, when it is drawn, written to ``path``.

    With ``legend`` it is a figure of images: framed, close together, above a legend of these classes.
    """
    width, height = size
    columns = max(2, int(width / 2.4))
    height += 0.2 * -(-len(legend) // columns)
    with mpl.rc_context(_STYLE | {"axes.spines.top": bool(legend), "axes.spines.right": bool(legend)}):
        figure = Figure(figsize=(width, height), layout="compressed" if legend else "constrained")
        figure.suptitle(f"{title}\nData: {source}", x=0.01, ha="left", fontsize=10.5)
        handles = [
            Patch(facecolor=c, edgecolor=_EDGE, label=e.name) for c, e in zip(_colours(legend), legend, strict=True)
        ]
        if legend:
            figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)
        yield figure
        # A date or a program version would make two equal figures differ.
        metadata = {"Date": None} if Path(path).suffix == ".svg" else {"Software": None}
        with replacing(path) as part:
            figure.savefig(part, dpi=200, metadata=metadata)
