"""Quick-looks of maps in the style of :mod:`cerraseg.figures`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from cerraseg.errors import DataError
from cerraseg.figures import drawn
from cerraseg.taxonomy import LandCover

LARGEST_SIDE = 1200
"""Pixels of a map panel's longer side: a quick-look reads no more of a mosaic than it shows."""

PANEL_WIDTH = 4.8
"""Inches of one map: 960 pixels at the 200 dots an inch of a PNG."""


def map_panel(
    mosaic: str | Path,
    classes: Sequence[LandCover],
    path: str | Path,
    *,
    title: str,
    source: str,
    truth: str | Path | None = None,
) -> None:
    """Quick-look of a GeoTIFF class map in the units of its CRS, beside ``truth`` (another class map) if given.

    Raises :class:`DataError` if a map cannot be read.
    """
    maps = {"prediction": _read_map(mosaic, classes)} | ({"truth": _read_map(truth, classes)} if truth else {})
    image, _, crs = maps["prediction"]
    height = min(max(PANEL_WIDTH * image.shape[0] / image.shape[1], 2.2), 10)
    size = (0.8 + PANEL_WIDTH * len(maps), height + 1.0)
    with drawn(path, title, source, size, legend=classes) as figure:
        panels = figure.subplots(1, len(maps), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (name, (image, extent, _)) in zip(panels, maps.items(), strict=True):
            axes.imshow(image, extent=extent)
            axes.ticklabel_format(style="plain", useOffset=False)
            axes.locator_params(nbins=4)
            axes.set_title(name)
        across, up = ("easting", "northing") if crs and crs.is_projected else ("longitude", "latitude")
        unit = crs.units_factor[0] if crs else "no CRS"
        for axes in panels:
            axes.set_xlabel(f"{across} ({unit})")
        panels[0].set_ylabel(f"{up} ({unit})")


def _read_map(path: str | Path, classes: Sequence[LandCover]) -> tuple[NDArray[np.uint8], Sequence[float], Any]:
    """RGB image, (left, right, bottom, top) and CRS of a class map."""
    try:
        with rasterio.open(path) as file:
            scale = max(1, max(file.shape) / LARGEST_SIDE)
            mask = file.read(1, out_shape=tuple(max(1, round(side / scale)) for side in file.shape))
            left, bottom, right, top = file.bounds
            return _painted(mask, classes), (left, right, bottom, top), file.crs
    except rasterio.errors.RasterioError as error:
        raise DataError(
            f"{path} cannot be read ({error}); expected a GeoTIFF class map: make the mosaic again."
        ) from error


def _painted(mask: NDArray[Any], classes: Sequence[LandCover]) -> NDArray[np.uint8]:
    """A mask in class colours, uint8 RGB along a new last axis; white where there is no class."""
    table = np.full((256, 3), 255, dtype=np.uint8)
    table[: len(classes)] = [entry.colour for entry in classes]
    painted: NDArray[np.uint8] = table[mask]
    return painted
