"""Maps' files, reduced to what a picture shows of them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from cerraseg.core.errors import DataError
from cerraseg.geo import rasters

Extent = tuple[float, float, float, float]
"""Left, right, bottom and top, as Matplotlib takes them."""


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
