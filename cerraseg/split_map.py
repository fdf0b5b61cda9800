"""The map of a split: each patch where it lies, in the colour of its part or fold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from cerraseg.distances import connected
from cerraseg.figures import EDGE, INK, drawn
from cerraseg.groups import outline
from cerraseg.map_marks import draw_marks, ground
from cerraseg.places import COLUMNS, Floats, Ints, Places, locate
from cerraseg.taxonomy import LandCover

PANELS = 6
"""Most areas that are shown, the largest."""

AREA_GAP = 25_000.0
"""Patches with a smaller gap in m between them, in one coordinate system, are of one area."""

_PARTS = {"train": (0, 114, 178), "validation": (240, 228, 66), "test": (213, 94, 0), "buffer": (204, 204, 204)}
_FOLDS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66))
_SIDE = 4.2  # inches of a panel's longer side


def draw(
    table: str | Path, split: str | Path, path: str | Path, *, title: str, source: str, block_km: float | None = None
) -> None:
    """Draw the patches of a split table as rectangles, one panel an area, with scale bar and north arrow.

    Args:
        table: patch table (Parquet).
        split: split table over its rows: coloured by ``fold`` where it has that, else by ``split``.
        path: PNG or SVG to write.
        title: of the figure.
        source: what the data is called.
        block_km: side of the blocks in km, whose outlines are drawn; None: there are none.
    """
    places, parts = locate(pd.read_parquet(table, columns=COLUMNS)), pd.read_csv(split, dtype=str)
    legend, colours = _coloured(parts)
    shown = _areas(places)
    areas, left_out = shown[:PANELS], shown[PANELS:]
    if left_out:
        patches = sum(map(len, left_out))
        title += f", the {PANELS} largest of {len(shown)} areas; {patches:,} patches of the others are not shown"
    columns = min(3, len(areas))
    rows = -(-len(areas) // columns)
    blocks = parts["group"].to_numpy(np.str_) if block_km else None
    with drawn(path, title, source, (max(5, _SIDE * columns), 0.8 + _SIDE * rows), legend=legend) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, members in zip(panels, areas, strict=False):
            _panel(axes, places, members, colours[members])
            if blocks is not None and block_km:
                _outlines(axes, places, members, np.unique(blocks[members]).tolist(), 1000 * block_km)
        for axes in panels[len(areas) :]:
            axes.remove()


def _coloured(parts: pd.DataFrame) -> tuple[list[LandCover], NDArray[np.float64]]:
    """The legend, and the colour of each patch (N, 3) from 0 to 1."""
    if "fold" in parts:
        folds = sorted(parts["fold"].unique(), key=int)
        palette = {fold: _FOLDS[rank % len(_FOLDS)] for rank, fold in enumerate(folds)}
        column, what = parts["fold"], "fold "
    else:
        column, what = parts["split"], ""
        palette = {part: colour for part, colour in _PARTS.items() if (column == part).any()}
    sizes = column.value_counts()
    legend = [
        LandCover(rank, name, f"{what}{name}: {sizes[name]:,} patches", colour, rank)
        for rank, (name, colour) in enumerate(palette.items())
    ]
    return legend, np.array([palette[name] for name in column]) / 255


def _areas(places: Places) -> list[Ints]:
    """Rows of the patches of each area, the largest first."""
    area = connected(places, AREA_GAP) * len(places.ids) + places.system
    _, number, sizes = np.unique(area, return_inverse=True, return_counts=True)
    return [np.flatnonzero(number == k) for k in np.argsort(-sizes, kind="stable")]


def _panel(axes: Axes, places: Places, members: Ints, colours: NDArray[np.float64]) -> None:
    left, bottom, right, top = places.bounds[members].T
    corners = np.stack([left, bottom, right, bottom, right, top, left, top], axis=1).reshape(-1, 4, 2)
    axes.add_collection(PolyCollection(list(corners), facecolors=colours, edgecolors="white", linewidths=0.2))
    margin = 0.05 * max(right.max() - left.min(), top.max() - bottom.min())
    extent = left.min() - margin, right.max() + margin, bottom.min() - margin, top.max() + margin
    name = str(places.crs[members[0]])
    crs = CRS.from_user_input(name)
    place = ground(crs, extent)
    axes.set(xlim=extent[:2], ylim=extent[2:], aspect=place.aspect if place else 1.0)
    axes.set_title(f"{name if len(name) < 20 else 'own system'}: {len(members):,} patches")
    axes.set(xticks=[], yticks=[])
    if place:
        draw_marks(axes, place)


def _outlines(axes: Axes, places: Places, members: Ints, blocks: Sequence[str], side: float) -> None:
    """The blocks that hold centres of the patches; what lies outside the panel is cut off."""
    rings = []
    for block in blocks:
        system, cells = outline(block)
        ring: Floats = cells * side
        if not places.metric[members[0]]:
            target: Any = CRS.from_user_input(str(places.crs[members[0]]))
            ring = np.asarray(transform(CRS.from_user_input(system), target, *ring.T), np.float64).T
        rings.append(ring)
    axes.add_collection(PolyCollection(rings, facecolors="none", edgecolors=INK if len(rings) < 200 else EDGE, lw=0.6))
