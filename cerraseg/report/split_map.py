"""The map of a split: the place of each patch, in the colour of its part or fold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from cerraseg.core.taxonomy import LandCover
from cerraseg.data.splits.distances import connected
from cerraseg.data.splits.spatial import outline
from cerraseg.data.tables import digest, read_patch_table, read_split
from cerraseg.geo.positions import COLUMNS, Ints, Places, locate
from cerraseg.report.figures import INK, drawn
from cerraseg.report.map_figures import Extent, Ground, draw_marks, measure_ground

_PANELS = 6  # most areas that are shown, the largest
_AREA_GAP = 10_000.0  # patches with a smaller gap in m between them, in one coordinate system, are of one area
_PARTS = {"train": (0, 114, 178), "validation": (240, 228, 66), "test": (213, 94, 0), "buffer": (204, 204, 204)}
_FOLDS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66))
_LINED = 2000  # patches that lines between them do not hide
_SIDE = 4.2  # inches of a panel's longer side


class _Area(NamedTuple):
    """Patches that are shown together: their rows, (left, right, bottom, top), CRS, its scale there and its aspect."""

    members: Ints
    extent: Extent
    crs: Any
    ground: Ground | None
    aspect: float


def draw_split_map(
    table: str | Path, split: str | Path, path: str | Path, *, title: str, source: str, block_km: float | None = None
) -> None:
    """Draw the patches of a split as rectangles, one panel per area, with scale bar and north arrow.

    They are coloured by ``fold`` where the split table has that, else by ``split``. With ``block_km``, the side of the
    blocks in km, their outlines are drawn.
    """
    places = locate(read_patch_table(table, COLUMNS))
    parts = read_split(split, digest(places.ids))
    legend, colours = _coloured(parts)
    found = _areas(places)
    areas = [_area(places, members) for members in found[:_PANELS]]
    if left_out := sum(map(len, found[_PANELS:])):
        title += f", the {_PANELS} largest of {len(found)} areas; {left_out:,} patches of the others are not shown"
    columns = min(3, len(areas))
    rows = -(-len(areas) // columns)
    left, right, bottom, top = np.transpose([area.extent for area in areas])
    shape = (np.array([area.aspect for area in areas]) * (top - bottom) / (right - left)).max()  # height by width
    height = 0.85 * _SIDE * min(shape, 2.5) + 0.35
    groups = parts["group"].to_numpy(np.str_) if block_km else np.array([])
    with drawn(path, title, source, (max(5, _SIDE * columns), 0.9 + rows * height), legend=legend) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, area in zip(panels, areas, strict=False):
            _panel(axes, places, area, colours)
            if block_km:
                _outlines(axes, places, area, np.unique(groups[area.members]).tolist(), 1000 * block_km)
        for axes in panels[len(areas) :]:
            axes.remove()


def _coloured(parts: pd.DataFrame) -> tuple[list[LandCover], NDArray[np.float64]]:
    """Give the legend, and the colour of each patch (N, 3) from 0 to 1."""
    if "fold" in parts:
        what, column = "fold ", parts["fold"]
        palette = {fold: _fold_colour(rank) for rank, fold in enumerate(sorted(column.unique(), key=int))}
    else:
        what, column, palette = "", parts["split"], _PARTS
    sizes = column.value_counts()
    palette = {name: colour for name, colour in palette.items() if name in sizes}
    legend = [
        LandCover(rank, name, f"{what}{name}: {sizes[name]:,} patches", colour, rank)
        for rank, (name, colour) in enumerate(palette.items())
    ]
    return legend, np.array([palette[name] for name in column]) / 255


def _fold_colour(rank: int) -> tuple[int, int, int]:
    """Choose one of the colours that everybody can tell apart, then of their darker shades."""
    turn, place = divmod(rank, len(_FOLDS))
    red, green, blue = (round(0.6**turn * part) for part in _FOLDS[place])
    return red, green, blue


def _areas(places: Places) -> list[Ints]:
    """Give the rows of the patches of each area, the largest area first."""
    area = connected(places, _AREA_GAP) * len(places.ids) + places.system
    _, number, sizes = np.unique(area, return_inverse=True, return_counts=True)
    return [np.flatnonzero(number == k) for k in np.argsort(-sizes, kind="stable")]


def _area(places: Places, members: Ints) -> _Area:
    left, bottom, right, top = places.bounds[members].T
    width, height = right.max() - left.min(), top.max() - bottom.min()
    side, end = 0.04 * max(width, height), 0.16 * max(width, height)  # at the ends lie scale bar and north arrow
    extent = left.min() - side, right.max() + side, bottom.min() - end, top.max() + end
    crs = CRS.from_user_input(str(places.crs[members[0]]))
    ground = measure_ground(crs, extent)
    return _Area(members, extent, crs, ground, ground.aspect if ground else 1.0)


def _panel(axes: Axes, places: Places, area: _Area, colours: NDArray[np.float64]) -> None:
    left, bottom, right, top = places.bounds[area.members].T
    corners = np.stack([left, bottom, right, bottom, right, top, left, top], axis=1).reshape(-1, 4, 2)
    edges = "white" if len(corners) < _LINED else "face"
    axes.add_collection(
        PolyCollection(list(corners), facecolors=colours[area.members], edgecolors=edges, linewidths=0.2)
    )
    name = str(places.crs[area.members[0]])
    title = f"{name if len(name) < 20 else 'own system'}, {len(area.members):,} patches"
    axes.set_title(title, parse_math=False)  # the system's name is the file's
    axes.set(xlim=area.extent[:2], ylim=area.extent[2:], aspect=area.aspect, xticks=[], yticks=[])
    if area.ground:
        draw_marks(axes, area.ground)


def _outlines(axes: Axes, places: Places, area: _Area, blocks: Sequence[str], side: float) -> None:
    """Outline the blocks that hold centres of the patches, cut off at the panel."""
    rings = []
    for block in blocks:
        system, cells = outline(block)
        ring = cells * side
        if not places.metric[area.members[0]]:
            ring = np.asarray(transform(CRS.from_user_input(system), area.crs, *ring.T), np.float64).T
        rings.append(ring)
    axes.add_collection(PolyCollection(rings, facecolors="none", edgecolors=INK, linewidths=0.6))
