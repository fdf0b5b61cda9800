"""Quick-looks of maps in the style of :mod:`cerraseg.report.figures`, with scale bar and north arrow."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.offsetbox import AnchoredText
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar  # type: ignore[import-untyped]
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import transform

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import IGNORE, LandCover
from cerraseg.geo import rasters
from cerraseg.geo.positions import equal_area_around
from cerraseg.report.figures import EDGE, INK, drawn

Extent = tuple[float, float, float, float]
"""Left, right, bottom and top, as Matplotlib takes them."""

LARGEST_SIDE = 1200
"""Pixels of a map panel's longer side: a quick-look reads no more of a mosaic than it shows."""

_PANEL_WIDTH = 4.8  # inches of one map: 720 pixels at the 150 dots an inch of a PNG
_LONGEST_BAR = 0.35  # of the map's width; round lengths lie up to 2.5-fold apart: the shortest bar is 0.14
_BOX = {"facecolor": "white", "edgecolor": EDGE, "linewidth": 0.5, "alpha": 0.85}


class Ground(NamedTuple):
    """Scale and orientation of a map at its centre."""

    unit: float  # metres of one unit of x
    aspect: float  # drawn length of a unit of y by that of x: in degrees as on the ground, else 1
    lean: float  # angle in degrees from the map's up to true north, clockwise


class Grid(NamedTuple):
    """Where a map lies: its full height and width, its CRS, and its left, bottom, right and top."""

    shape: tuple[int, int]
    crs: Any
    bounds: tuple[float, float, float, float]

    @property
    def extent(self) -> Extent:
        """The bounds, ordered for Matplotlib."""
        left, bottom, right, top = self.bounds
        return left, right, bottom, top

    @property
    def axes(self) -> tuple[str, str]:
        """Names of the axes, with their unit."""
        across, up = ("easting", "northing") if self.crs and self.crs.is_projected else ("longitude", "latitude")
        unit = self.crs.units_factor[0] if self.crs else "no CRS"
        return f"{across} ({unit})", f"{up} ({unit})"


def read_reduced(
    path: str | Path, side: int, resampling: Resampling = Resampling.nearest
) -> tuple[NDArray[np.uint8], Grid]:
    """Read a map of uint8 from its overviews: pixels (bands, H, W), ``side`` at most, and the grid of the whole map.

    Raises:
        DataError: if the file cannot be read, or holds other numbers or no north-up grid.
    """
    try:
        with rasters.open_raster(path) as file:
            transform = file.transform
            if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
                raise DataError(
                    f"{path} has the transform {tuple(transform[:6])}; expected a north-up grid: warp it (gdalwarp)."
                )
            if file.dtypes[0] != "uint8":
                raise DataError(f"{path} holds {file.dtypes[0]}; expected uint8: map it again.")
            scale = max(1, max(file.shape) / side)
            shape = (file.count, *(max(1, round(length / scale)) for length in file.shape))
            return file.read(out_shape=shape, resampling=resampling), Grid(file.shape, file.crs, tuple(file.bounds))
    except RasterioError as error:
        raise DataError(f"{path} cannot be read ({error}); expected a GeoTIFF: make the map again.") from error


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
    """Draw a class map (``mosaic``) and, where their files are given, further panels of the same ground.

    ``truth`` is another class map, ``confidence`` is in percent, and ``image`` has red, green, blue and alpha.
    """
    maps = {"truth": truth, "prediction": mosaic}
    shown = {name: read_reduced(file, LARGEST_SIDE) for name, file in maps.items() if file}
    if image:
        shown = {"image": read_reduced(image, LARGEST_SIDE, Resampling.average), **shown}
    if confidence:
        shown["confidence"] = read_reduced(confidence, LARGEST_SIDE, Resampling.average)
    grid = shown["prediction"][1]
    left, right, bottom, top = grid.extent
    place = measure_ground(grid.crs, grid.extent)
    aspect = place.aspect if place else 1.0
    columns = {1: 1, 2: 2, 3: 3, 4: 2}[len(shown)]  # the confidence, which has a colour bar, is at the right
    rows = len(shown) // columns
    shape = aspect * (top - bottom) / (right - left)  # height by width
    height = min(_PANEL_WIDTH * shape, 10 if rows == 1 else 7)
    width, height = max(height / shape, 1.4), max(height, 0.8)
    # The title wants a few inches, however narrow the map is.
    size = max(4.4, 0.9 + columns * width + 0.6 * bool(confidence)), 0.6 + rows * (height + 0.45)
    with drawn(path, title, source, size, legend=classes) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        panels[0, 0].ticklabel_format(style="plain", useOffset=False)
        panels[0, 0].locator_params(axis="x", nbins=max(1, round(width)))
        panels[0, 0].locator_params(axis="y", nbins=max(1, min(4, round(height))))
        for axes in panels[-1]:
            axes.set_xlabel(grid.axes[0])
        for axes in panels[:, 0]:
            axes.set_ylabel(grid.axes[1])
        for axes, (name, (pixels, own)) in zip(panels.flat, shown.items(), strict=True):
            _draw_panel(axes, name, pixels, own.extent, classes)
            axes.set(title=name, xlim=(left, right), ylim=(bottom, top), aspect=aspect)
            if place:
                draw_marks(axes, place)


def _draw_panel(axes: Axes, name: str, pixels: NDArray[np.uint8], extent: Extent, classes: Sequence[LandCover]) -> None:
    if name == "confidence":
        percent = np.ma.masked_equal(pixels[0], IGNORE)
        shown = axes.imshow(percent, extent=extent, cmap="viridis", vmin=0, vmax=100)
        bar = axes.inset_axes((1.03, 0, 0.04, 1))
        bar.figure.colorbar(shown, cax=bar, label="%")
    elif name == "image":
        axes.imshow(np.moveaxis(pixels, 0, -1), extent=extent)
    else:
        colours = np.full((256, 3), 255, dtype=np.uint8)  # white where there is no class
        colours[[entry.id for entry in classes]] = [entry.colour for entry in classes]
        axes.imshow(colours[pixels[0]], extent=extent)


def measure_ground(crs: Any, extent: Extent) -> Ground | None:
    """Measure the ground at the centre of a map by its CRS and its left, right, bottom and top.

    Returns None where the map has no place on Earth (no CRS, a local one, outside its domain), and at a pole.
    """
    left, right, bottom, top = extent
    if not crs or not (crs.is_projected or crs.is_geographic):
        return None
    x, y, step = (left + right) / 2, (bottom + top) / 2, min(right - left, top - bottom) / 100
    try:
        (longitude,), (latitude,) = transform(crs, rasters.WGS84, [x], [y])
        if not math.isfinite(longitude + latitude) or abs(latitude) > 89.9:
            return None
        plane = equal_area_around(longitude, latitude)  # true in scale and direction at its centre
        places = np.array(transform(crs, plane, [x - step, x + step, x, x], [y, y, y - step, y + step]))
    except Exception:  # outside the domain of the projection; rasterio has no public name for the errors of PROJ
        return None
    if not np.isfinite(places).all():
        return None
    # Metres towards east (first row) and north for one unit along x (first column) and y.
    metres = (places[:, [1, 3]] - places[:, [0, 2]]) / (2 * step)
    unit, upwards = np.linalg.norm(metres, axis=0)
    aspect = upwards / unit if crs.is_geographic else 1.0
    right_by, up_by = np.linalg.solve(metres, (0.0, 1.0))
    return Ground(float(unit), float(aspect), math.degrees(math.atan2(right_by, up_by * aspect)))


def bar_length(width: float) -> float:
    """Choose the largest length of 1, 2 or 5 × 10^n m that fits a map of ``width`` m."""
    longest = _LONGEST_BAR * width
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
    turned: dict[str, Any] = {"rotation": -ground.lean, "size": 7.5, "color": INK, "multialignment": "center"}
    arrow = AnchoredText("▲\nN", "upper right", pad=0.2, borderpad=0.6, prop=turned)
    for mark in (bar, arrow):
        mark.patch.set(**_BOX)
        axes.add_artist(mark)
