"""Figures of the report, as SVG or PNG by the suffix of ``path``; the same input gives the same bytes.

Every figure shows its ``title`` and ``source``, the name of its data source.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import LandCover

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "cerraseg",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "image.interpolation": "nearest",
}
_SPLITS = ((1.0, "-"), (0.4, "--"), (0.0, ":"))  # how much colour the bars of a split have, and their outline
INK, EDGE, GRID = "#222222", "#555555", "#dddddd"
"""Colours of text and whiskers, of outlines and of grid lines."""

BASELINE_INK = "#B2182B"
"""Colour of the pixel-wise baseline's line."""


def curves(history: Mapping[str, NDArray[Any]], path: str | Path, *, title: str, source: str) -> None:
    """Draw losses and validation scores by epoch, with the selected epoch marked.

    ``history`` has columns with one value per epoch: epoch, train_loss, val_loss, val_macro_f1 and val_miou (0 to 1),
    selected (true for the epoch that was kept), and val_edge_f1 where the model predicts edges.
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
            (right, "val_edge_f1", "F1 of edges", "#009E73", ":"),
        ):
            if column not in history:
                continue
            values = history[column] * (1 if axes is left else 100)
            axes.plot(epochs, values, dash, marker=marker, color=colour, linewidth=1.4, label=label)
        for axes, ylabel in ((left, "loss"), (right, "validation score (%)")):
            for epoch in epochs[history["selected"].astype(bool)]:
                axes.axvline(epoch, color=EDGE, linewidth=1, linestyle=":", label=f"selected: epoch {epoch}")
            axes.set(xlabel="epoch", ylabel=ylabel)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(color=GRID, linewidth=0.6)
            axes.legend(fontsize=8)
        right.set_ylim(bottom=0)


def learning_rates(
    tried: Mapping[str, NDArray[Any]], suggested: float, own: float, path: str | Path, *, title: str, source: str
) -> None:
    """Draw loss by learning rate of a range test, with the rate that it suggests and the recipe's ``own``.

    ``tried`` has columns with one value per step: learning_rate and loss, a running mean.
    """
    with drawn(path, title, source, (7, 3.4)) as figure:
        axes = figure.subplots()
        style: dict[str, Any] = {"color": "#0072B2", "linewidth": 1.6, "label": "running mean of the loss"}
        axes.plot(tried["learning_rate"], tried["loss"], **style)
        axes.axvline(suggested, color="#D55E00", linestyle="--", label=f"suggested: {suggested:.1e}")
        axes.axvline(own, color=EDGE, linestyle=":", label=f"the recipe's: {own:.1e}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
        axes.grid(color=GRID, linewidth=0.6)
        axes.legend(fontsize=8)


def confusion(matrix: ArrayLike, classes: Sequence[LandCover], path: str | Path, *, title: str, source: str) -> None:
    """Draw a confusion matrix ``(classes, classes)`` as a heat map, each row in percent of the true class's pixels."""
    counts = np.asarray(matrix, dtype=np.int64)
    truth = counts.sum(axis=1, keepdims=True)
    percent = np.divide(100 * counts, truth, out=np.zeros(counts.shape), where=truth > 0)
    size = len(classes)
    with drawn(path, title, source, (3.4 + 0.5 * size, 1.8 + 0.42 * size)) as figure:
        axes = figure.subplots()
        mesh = axes.pcolormesh(percent, cmap="Blues", vmin=0, vmax=100, edgecolors="white", linewidth=0.8)
        for (row, column), value in np.ndenumerate(percent):
            text = f"{value:.1f}" if truth[row] else "–"
            colour = "white" if value > 55 else INK if value >= 0.05 else "#999999"
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7.5, color=colour)
        places = np.arange(size) + 0.5
        rows = [f"{entry.name}  {_short(n)}" for entry, n in zip(classes, truth[:, 0], strict=True)]
        columns = [f"{entry.abbreviation}\n{_short(n)}" for entry, n in zip(classes, counts.sum(axis=0), strict=True)]
        axes.set_yticks(places, rows)
        axes.set_xticks(places, columns, fontsize=8)
        axes.tick_params(length=0, pad=14)
        axes.set(xlabel="predicted class, pixels", ylabel="true class, pixels")
        axes.spines[:].set_visible(False)
        squares: dict[str, Any] = {"s": 50, "marker": "s", "edgecolor": EDGE, "linewidth": 0.5, "clip_on": False}
        outside = np.full(size, 0.18)  # of a cell beside the axes
        for x, y in ((-outside, places), (places, size + outside)):
            axes.scatter(x, y, c=[hex_colour(entry.colour) for entry in classes], **squares)
        axes.set(xlim=(0, size), ylim=(size, 0))
        figure.colorbar(mesh, ax=axes, label="% of the true class's pixels", fraction=0.04, pad=0.02, aspect=32)


def class_shares(
    counts: Mapping[str, Sequence[int]], classes: Sequence[LandCover], path: str | Path, *, title: str, source: str
) -> None:
    """Draw bars of each class's share of the labelled pixels (percent, log scale) by part of the split.

    ``counts`` maps a part of the split to its pixels of each class, in id order.
    """
    shares = {split: 100 * np.asarray(pixels) / max(1, sum(pixels)) for split, pixels in counts.items()}
    height = 0.84 / len(shares)
    with drawn(path, title, source, (8, 1.3 + (0.14 + 0.13 * len(shares)) * len(classes))) as figure:
        axes = figure.subplots()
        # The log axis starts at a decade below the smallest share and leaves room for labels.
        smallest = min((share[share > 0].min() for share in shares.values() if share.any()), default=1.0)
        axes.set(xscale="log", xlabel="share of the split's labelled pixels (%)")
        start = 10 ** np.floor(np.log10(smallest) - 0.3)
        axes.set_xlim(start, 400)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        handles = []
        for rank, (split, share) in enumerate(shares.items()):
            strength, line = _SPLITS[rank % len(_SPLITS)]
            style: dict[str, Any] = {"edgecolor": INK, "linewidth": 0.8, "linestyle": line}
            places = np.arange(len(classes)) + (rank - (len(shares) - 1) / 2) * height
            colours = [hex_colour(entry.colour, strength) for entry in classes]
            bars = axes.barh(places, np.maximum(share, start), height, color=colours, **style)
            axes.bar_label(bars, list(map(_percent, share)), padding=3, fontsize=7.5)
            handles.append(Patch(facecolor=hex_colour((85, 85, 85), strength), label=split, **style))
        axes.set_yticks(range(len(classes)), [f"{entry.name} ({entry.abbreviation})" for entry in classes])
        axes.set_ylim(len(classes) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, fontsize=8)


def hex_colour(colour: tuple[int, int, int], strength: float = 1) -> str:
    """Format a colour (0-255) as ``#rrggbb``, mixed with white: all of it at strength 1, white at 0."""
    return "#{:02x}{:02x}{:02x}".format(*(round(255 - strength * (255 - part)) for part in colour))


def _short(count: int) -> str:
    """Format a count in about four characters: 812, 4.5k, 467k, 18.2M."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.{1 if count < 100 * size else 0}f}{unit}"
    return str(count)


def _percent(value: float) -> str:
    """Format a percentage with as many decimals as a small share needs; 0 only where there is nothing."""
    return "0" if value == 0 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


@contextmanager
def drawn(
    path: str | Path, title: str, source: str, size: tuple[float, float], legend: Sequence[LandCover] = ()
) -> Iterator[Figure]:
    """Make a figure in the common style and, when it is drawn, write it.

    ``size`` is its width and height in inches. A ``legend`` of classes is that of a figure of images, whose panels are
    framed and close together above it.
    """
    width, height = size
    columns = max(2, int(width / 2.4))
    height += 0.2 * -(-len(legend) // columns)
    with mpl.rc_context():
        mpl.rcdefaults()  # not the user's matplotlibrc
        mpl.rcParams.update(_STYLE | {"axes.spines.top": bool(legend), "axes.spines.right": bool(legend)})
        figure = Figure(figsize=(width, height), layout="compressed" if legend else "constrained")
        figure.suptitle(f"{title}\nData: {source}", x=0.01, ha="left", fontsize=10.5, parse_math=False)
        if legend:
            handles = [Patch(facecolor=hex_colour(entry.colour), edgecolor=EDGE, label=entry.name) for entry in legend]
            figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)
        yield figure
        # A date or a program version would make two equal figures differ.
        with atomic_write(path) as part:
            if part.suffix == ".svg":
                figure.savefig(part, metadata={"Date": None})
            else:
                figure.savefig(part, dpi=150, metadata={"Software": None})
                with Image.open(part) as image:  # 256 colours of its own: a third of the size
                    colours = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
                colours.save(part, optimize=True)
