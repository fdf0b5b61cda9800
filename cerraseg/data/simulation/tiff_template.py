"""Many GeoTIFFs of one kind, fast: GDAL writes the first, the others are copies with other pixels and another place.

A patch then costs six plain writes: through rasterio its six files take 6 ms, more than all else together.
"""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

_ORIGIN_MARK = struct.pack("<2d", 1.2345678, 2.3456789)  # stands for west and north in a template


class Template(NamedTuple):
    """A GeoTIFF as GDAL wrote it, cut at its pixels: what stands before and after them, with a mark as origin."""

    head: bytes
    tail: bytes

    def write(self, path: Path, pixels: npt.NDArray[np.generic], west: float, north: float) -> None:
        """Write a file with these pixels (bands, size, size; contiguous) and this upper left corner in degrees."""
        origin = struct.pack("<2d", west, north)
        with path.open("wb") as file:
            file.write(self.head.replace(_ORIGIN_MARK, origin))
            file.write(pixels.data)
            file.write(self.tail.replace(_ORIGIN_MARK, origin))


def template(bands: tuple[str, ...], dtype: str, size: int, pixel: float) -> Template:
    """Let GDAL write a GeoTIFF of size × size px of ``pixel`` degrees in EPSG:4326, and cut it at its pixels."""
    marks = np.random.default_rng(0).integers(0, 256, len(bands) * size * size * np.dtype(dtype).itemsize, np.uint8)
    profile = {"driver": "GTiff", "width": size, "height": size, "count": len(bands), "dtype": dtype}
    transform = from_origin(*struct.unpack("<2d", _ORIGIN_MARK), pixel, pixel)
    with MemoryFile() as memory:
        with memory.open(**profile, crs=CRS.from_epsg(4326), transform=transform, interleave="band") as dataset:
            dataset.descriptions = bands
            dataset.write(marks.view(dtype).reshape(len(bands), size, size))
        raw = memory.read()
    head, pixels, tail = raw.partition(marks.tobytes())
    if not pixels or (head + tail).count(_ORIGIN_MARK) != 1:
        raise RuntimeError(f"the GeoTIFF that GDAL wrote for {bands} does not hold its pixels and origin in one piece")
    return Template(head, tail)
