"""Quick-looks of maps in the style of :mod:`cerraseg.report.figures`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import IGNORE, LandCover
from cerraseg.geo import rasters
from cerraseg.report.figures import drawn
from cerraseg.report.map_marks import draw_marks, ground

LARGEST_SIDE = 1200
"""Pixels of a map panel's longer side: a quick-look reads no more of a mosaic than it shows."""

PANEL_WIDTH = 4.8
"""Inches of one map: 720 pixels at the 150 dots an inch of a PNG."""


class _Raster(NamedTuple):
    """What is shown of a file: (bands, H, W), its (left, right, bottom, top) and its CRS."""

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
    """Quick-look of a GeoTIFF class map in the units of its CRS, with scale bar and north arrow.

    Further panels show the same ground if their files are given: ``image`` (red, green, blue and alpha), ``truth``
    (another class map) and ``confidence`` (percent; 255: none).

    Raises :class:`DataError` if a file cannot be read.
    """
    files = {"image": image, "truth": truth, "prediction": mosaic, "confidence": confidence}
    rasters = {name: _read(file, name) for name, file in files.items() if file}
    _, extent, crs = rasters["prediction"]
    place = ground(crs, extent)
    aspect = place.aspect if place else 1.0
    cells = _cells(list(rasters))
    rows, columns = cells.shape
    width, height = _panel_size(aspect * (extent[3] - extent[2]) / (extent[1] - extent[0]), rows)
    # The title wants a few inches, however narrow the map is.
    size = max(4.4, 0.9 + columns * width + 0.6 * bool(confidence)), 0.6 + rows * (height + 0.45)
    with drawn(path, title, source, size, legend=classes) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        panels[0, 0].ticklabel_format(style="plain", useOffset=False)
        panels[0, 0].locator_params(axis="x", nbins=max(1, round(width)))
        panels[0, 0].locator_params(axis="y", nbins=max(1, min(4, round(height))))
        _name_axes(panels, cells, crs)
        for name, raster in rasters.items():
            axes = panels[cells == name][0]
            _draw(axes, name, raster, classes)
            axes.set(title=name, xlim=extent[:2], ylim=extent[2:], aspect=aspect)
            if place:
                draw_marks(axes, place)


def _cells(names: list[str]) -> NDArray[np.object_]:
    """A grid of panels: one row of up to two, else two rows; the confidence, which has a colour bar, at the right."""
    if len(names) == 3:
        names = [*names[:2], "", names[2]] if names[2] == "confidence" else [*names, ""]
    return np.array(names, dtype=object).reshape(-1, min(2, len(names)))


def _panel_size(shape: float, rows: int) -> tuple[float, float]:
    """Width and height in inches of a map that is ``shape`` times as high as wide."""
    tallest = 10 if rows == 1 else 7
    height = min(PANEL_WIDTH * shape, tallest)
    return max(height / shape, 1.4), max(height, 0.8)


def _name_axes(panels: NDArray[Any], cells: NDArray[np.object_], crs: Any) -> None:
    """Name the axes of panels that have none to the left or below; remove those that show nothing."""
    across, up = ("easting", "northing") if crs and crs.is_projected else ("longitude", "latitude")
    unit = crs.units_factor[0] if crs else "no CRS"
    for (row, column), axes in np.ndenumerate(panels):
        if not cells[row, column]:
            axes.remove()
            continue
        if row + 1 == len(cells) or not cells[row + 1, column]:
            axes.set_xlabel(f"{across} ({unit})")
            axes.tick_params(labelbottom=True)
        if column == 0 or not cells[row, column - 1]:
            axes.set_ylabel(f"{up} ({unit})")
            axes.tick_params(labelleft=True)


def _draw(axes: Axes, name: str, raster: _Raster, classes: Sequence[LandCover]) -> None:
    if name == "confidence":
        percent = np.ma.masked_equal(raster.pixels[0], IGNORE)
        shown = axes.imshow(percent, extent=raster.extent, cmap="viridis", vmin=0, vmax=100)
        bar = axes.inset_axes((1.03, 0, 0.04, 1))
        bar.figure.colorbar(shown, cax=bar, label="%")
    elif name == "image":
        axes.imshow(np.moveaxis(raster.pixels, 0, -1), extent=raster.extent)
    else:
        axes.imshow(_painted(raster.pixels[0], classes), extent=raster.extent)


def _read(path: str | Path, name: str) -> _Raster:
    """A class map by its nearest pixels, an image or a confidence by their means."""
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


def _painted(mask: NDArray[Any], classes: Sequence[LandCover]) -> NDArray[np.uint8]:
    """A mask in class colours, uint8 RGB along a new last axis; white where there is no class."""
    table = np.full((256, 3), 255, dtype=np.uint8)
    table[: len(classes)] = [entry.colour for entry in classes]
    painted: NDArray[np.uint8] = table[mask]
    return painted
