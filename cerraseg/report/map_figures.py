"""Quick-looks of maps in the style of :mod:`cerraseg.report.figures`, with scale bar and north arrow."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.offsetbox import AnchoredOffsetbox, DrawingArea
from matplotlib.patches import Polygon
from matplotlib.text import Text
from matplotlib.transforms import Affine2D
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar  # type: ignore[import-untyped]
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import transform

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import IGNORE, LandCover
from cerraseg.geo import rasters
from cerraseg.geo.positions import geocentric
from cerraseg.report.figures import EDGE, INK, drawn

LARGEST_SIDE = 1200
"""Pixels of a map panel's longer side: a quick-look reads no more of a mosaic than it shows."""

PANEL_WIDTH = 4.8
"""Inches of one map: 720 pixels at the 150 dots an inch of a PNG."""

LONGEST_BAR = 0.35
"""A scale bar's largest share of the map's width; round lengths lie up to 2.5-fold apart: the smallest is 0.14."""

_BOX = {"facecolor": "white", "edgecolor": EDGE, "linewidth": 0.5, "alpha": 0.85}


class Ground(NamedTuple):
    """Scale and orientation of a map at its centre.

    Attributes:
        unit: metres of one unit of x.
        aspect: drawn length of a unit of y by that of x: in degrees as on the ground, else 1.
        lean: angle in degrees from the map's up to true north, clockwise.
    """

    unit: float
    aspect: float
    lean: float


class _Raster(NamedTuple):
    """Pixels (bands, H, W) that are shown of a file, its (left, right, bottom, top) and its CRS."""

    pixels: NDArray[np.uint8]
    extent: tuple[float, float, float, float]
    crs: Any


def map_panel(
    mosaic: str | Path,
    classes: Sequence[LandCover],
    path: str | Path,
    *,
    title: str,
    source: str,
    truth: str | Path | None = None,
    confidence: str | Path | None = None,
    image: str | Path | None = None,
) -> None:
    """Draw a class map and, where their files are given, further panels of the same ground.

    Args:
        mosaic: class map (GeoTIFF).
        classes: classes of its level.
        path: PNG or SVG to write.
        title: of the figure.
        source: name of the data source.
        truth: another class map.
        confidence: percent; 255: none.
        image: red, green, blue and alpha.

    Raises:
        DataError: if a file cannot be read.
    """
    files = {"image": image, "truth": truth, "prediction": mosaic, "confidence": confidence}
    shown = {name: _read_raster(file, name) for name, file in files.items() if file}
    _, extent, crs = shown["prediction"]
    place = measure_ground(crs, extent)
    aspect = place.aspect if place else 1.0
    columns = {1: 1, 2: 2, 3: 3, 4: 2}[len(shown)]  # the confidence, which has a colour bar, is at the right
    rows = len(shown) // columns
    width, height = _panel_size(aspect * (extent[3] - extent[2]) / (extent[1] - extent[0]), rows)
    # The title wants a few inches, however narrow the map is.
    size = max(4.4, 0.9 + columns * width + 0.6 * bool(confidence)), 0.6 + rows * (height + 0.45)
    with drawn(path, title, source, size, legend=classes) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        panels[0, 0].ticklabel_format(style="plain", useOffset=False)
        panels[0, 0].locator_params(axis="x", nbins=max(1, round(width)))
        panels[0, 0].locator_params(axis="y", nbins=max(1, min(4, round(height))))
        across, up = axis_names(crs)
        for axes in panels[-1]:
            axes.set_xlabel(across)
        for axes in panels[:, 0]:
            axes.set_ylabel(up)
        for axes, (name, raster) in zip(panels.flat, shown.items(), strict=True):
            _draw_panel(axes, name, raster, classes)
            axes.set(title=name, xlim=extent[:2], ylim=extent[2:], aspect=aspect)
            if place:
                draw_marks(axes, place)


def _panel_size(shape: float, rows: int) -> tuple[float, float]:
    """Width and height in inches of a map that is ``shape`` times as high as wide."""
    tallest = 10 if rows == 1 else 7
    height = min(PANEL_WIDTH * shape, tallest)
    return max(height / shape, 1.4), max(height, 0.8)


def axis_names(crs: Any) -> tuple[str, str]:
    """Name the axes of a map, with their unit."""
    across, up = ("easting", "northing") if crs and crs.is_projected else ("longitude", "latitude")
    unit = crs.units_factor[0] if crs else "no CRS"
    return f"{across} ({unit})", f"{up} ({unit})"


def _draw_panel(axes: Axes, name: str, raster: _Raster, classes: Sequence[LandCover]) -> None:
    if name == "confidence":
        percent = np.ma.masked_equal(raster.pixels[0], IGNORE)
        shown = axes.imshow(percent, extent=raster.extent, cmap="viridis", vmin=0, vmax=100)
        bar = axes.inset_axes((1.03, 0, 0.04, 1))
        bar.figure.colorbar(shown, cax=bar, label="%")
    elif name == "image":
        axes.imshow(np.moveaxis(raster.pixels, 0, -1), extent=raster.extent)
    else:
        axes.imshow(_paint(raster.pixels[0], classes), extent=raster.extent)


def _read_raster(path: str | Path, name: str) -> _Raster:
    """Read a class map by its nearest pixels, an image or a confidence by their means."""
    bands = [1, 2, 3, 4] if name == "image" else [1]
    resampling = Resampling.average if name in ("image", "confidence") else Resampling.nearest
    try:
        with rasters.open_raster(path) as file:
            scale = max(1, max(file.shape) / LARGEST_SIDE)
            shape = (len(bands), *(max(1, round(side / scale)) for side in file.shape))
            pixels = file.read(bands, out_shape=shape, resampling=resampling)
            left, bottom, right, top = file.bounds
            return _Raster(pixels, (left, right, bottom, top), file.crs)
    except (RasterioError, IndexError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); expected a GeoTIFF to show as {name}: make it again."
        ) from error


def _paint(mask: NDArray[Any], classes: Sequence[LandCover]) -> NDArray[np.uint8]:
    """Colour a mask by class: uint8 RGB along a new last axis, white where there is no class."""
    table = np.full((256, 3), 255, dtype=np.uint8)
    table[: len(classes)] = [entry.colour for entry in classes]
    painted: NDArray[np.uint8] = table[mask]
    return painted


def measure_ground(crs: Any, extent: tuple[float, float, float, float]) -> Ground | None:
    """Measure the ground at the centre of a map.

    Args:
        crs: its coordinate reference system.
        extent: left, right, bottom and top in units of ``crs``.

    Returns:
        None where the map has no place on Earth (no CRS, a local one, outside its domain), and at a pole.
    """
    left, right, bottom, top = extent
    step = min(right - left, top - bottom) / 100
    if not crs or not (crs.is_projected or crs.is_geographic):
        return None
    x, y = (left + right) / 2, (bottom + top) / 2
    xs, ys = [x - step, x + step, x, x, x], [y, y, y - step, y + step, y]
    try:
        degrees = np.transpose(transform(crs, rasters.WGS84, xs, ys))
    except CPLE_BaseError:  # outside the domain of the projection; rasterio has no public name for it
        return None
    if not np.isfinite(degrees).all() or abs(degrees[4, 1]) > 89.9:
        return None
    points = geocentric(degrees)
    longitude, latitude = np.radians(degrees[4])
    east = [-math.sin(longitude), math.cos(longitude), 0]
    north = [*(-math.sin(latitude) * np.array([math.cos(longitude), math.sin(longitude)])), math.cos(latitude)]
    # Metres towards east (first row) and north for one unit along x (first column) and y.
    metres = np.array([east, north]) @ (points[[1, 3]] - points[[0, 2]]).T / (2 * step)
    unit, upwards = np.linalg.norm(metres, axis=0)
    aspect = upwards / unit if crs.is_geographic else 1.0
    right_by, up_by = np.linalg.solve(metres, (0.0, 1.0))
    return Ground(float(unit), float(aspect), math.degrees(math.atan2(right_by, up_by * aspect)))


def bar_length(width: float) -> float:
    """Choose the largest length of 1, 2 or 5 × 10^n m within :data:`LONGEST_BAR` of a map of ``width`` m."""
    longest = LONGEST_BAR * width
    decade = 10.0 ** math.floor(math.log10(longest))
    return decade * max(digit for digit in (1, 2, 5) if digit * decade <= longest)


def draw_marks(axes: Axes, ground: Ground) -> None:
    """Draw scale bar and north arrow on the map in ``axes``, whose limits are the map's."""
    left, right = axes.get_xlim()
    length = bar_length((right - left) * ground.unit)
    bar = AnchoredSizeBar(
        axes.transData,
        length / ground.unit,
        f"{length:g} m" if length < 1000 else f"{length / 1000:g} km",
        "lower left",
        pad=0.5,
        borderpad=0.6,
        sep=3,
        color=INK,
        size_vertical=(right - left) / 120 / ground.aspect,
        fontproperties=FontProperties(size=7.5),
    )
    arrow = AnchoredOffsetbox("upper right", child=_arrow(ground.lean), pad=0.2, borderpad=0.6)
    for mark in (bar, arrow):
        mark.patch.set(**_BOX)
        axes.add_artist(mark)


def _arrow(lean: float) -> DrawingArea:
    """Draw a needle with an N at its tip, turned clockwise by ``lean`` degrees, on 20 × 26 points."""
    area = DrawingArea(20, 26)
    turned = Affine2D().rotate_deg_around(10, 13, -lean)
    needle = [(10, 17), (6, 1), (10, 4.5), (14, 1)]
    area.add_artist(Polygon(needle, color=INK, linewidth=0, transform=turned + area.get_transform()))
    x, y = turned.transform((10, 21.5))
    area.add_artist(Text(x, y, "N", ha="center", va="center", rotation=-lean, fontsize=7.5, color=INK))
    return area
