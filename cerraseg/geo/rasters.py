"""Open rasters of other people safely, and check rasters that were written.

GDAL goes by a file's content: by default it accepts a VRT that is called ``.tif`` and opens the addresses in it.
"""

import errno
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Interleaving
from rasterio.env import getenv, hasenv
from rasterio.errors import CRSError, RasterioError, RasterioIOError
from rasterio.windows import Window

DRIVERS = {".jp2": "JP2OpenJPEG", ".img": "HFA", ".dat": "ENVI", ".vrt": "VRT"}
"""Ending of a file's name → GDAL's driver; all others are read as GeoTIFFs. A VRT, which names other files, is opened
only under its own ending."""

OFFLINE = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none", "GDAL_HTTP_PROXY": "127.0.0.1:9"}
"""Options under which GDAL reaches no network, to which a VRT or a mask beside a file may lead."""

MANY_FILES = {**OFFLINE, "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""Options to open one of many files with, twice as fast: GDAL would list the folder first."""

WGS84 = CRS.from_epsg(4326)
"""Longitudes and latitudes in degrees."""

MAX_SIDE = 1 << 19
"""Longest side of a raster in pixels: 5,200 km at 10 m."""

_MAX_BLOCK = 1 << 27  # pixels of all bands that GDAL decodes at a time: 512 MB of float32


@contextmanager
def open_raster(path: str | Path) -> Iterator[Any]:
    """Open a file for reading by the one of GDAL's drivers that its ending stands for.

    Raises:
        RasterioError: where it is no regular file, not the driver's, or declares sides or blocks that no scene has.
    """
    if not Path(path).is_file():  # GDAL waits for ever at a pipe
        raise RasterioIOError("no such file, or a folder, a pipe or a device")
    try:
        opened = rasterio.open(path, driver=DRIVERS.get(Path(path).suffix.lower(), "GTiff"))
    except (CRSError, ValueError) as error:
        raise RasterioIOError(str(error)) from None
    with opened as dataset:
        if max(dataset.shape) > MAX_SIDE:
            size = f"{dataset.width} x {dataset.height} pixels"
            raise RasterioIOError(f"it declares {size}; expected sides of at most {MAX_SIDE}")
        together = dataset.count if dataset.interleaving is Interleaving.pixel else 1
        rows, columns = map(max, zip(*dataset.block_shapes, strict=True))
        if together * rows * columns > _MAX_BLOCK:
            raise RasterioIOError(f"it declares blocks of {columns} x {rows} pixels in {together} bands")
        yield dataset


def crs_code(crs: Any) -> str | None:
    """Return the authority code, such as ``EPSG:32722``, that means exactly this coordinate system; None without one.

    GDAL's own search also finds similar systems: ``EPSG:5383`` for UTM 22S without a datum.
    """
    return _code_of(crs.to_wkt())


def crs_text(crs: Any) -> str:
    """Return the code of a coordinate system (:func:`crs_code`), or its WKT where none is exact."""
    return crs_code(crs) or crs.to_wkt()


@lru_cache
def _code_of(wkt: str) -> str | None:
    try:
        crs = CRS.from_wkt(wkt)
        authority = crs.to_authority(confidence_threshold=100)
        return ":".join(authority) if authority and CRS.from_authority(*authority) == crs else None
    except CRSError:
        return None


def offline() -> AbstractContextManager[Any]:
    """Return a context in which GDAL reaches no network; entering it costs nothing where one is entered already."""
    if hasenv() and getenv().get("GDAL_HTTP_PROXY") == OFFLINE["GDAL_HTTP_PROXY"]:
        return nullcontext()
    return rasterio.Env(**OFFLINE)


def checksum(pixels: NDArray[Any]) -> int:
    """CRC-32 of an array's values."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def check_written(path: Path, checksums: Mapping[Window, int]) -> None:
    """Read a raster back: on a full disk GDAL may close a file without its last blocks and report nothing.

    Args:
        path: raster that was written.
        checksums: window → :func:`checksum` of the pixels (bands, height, width) that were written there.

    Raises:
        OSError: if other pixels are read there, or the overviews cannot be read.
    """
    why = "other pixels are read than were written"
    try:
        with rasterio.open(path) as file:
            same = all(checksum(file.read(window=window)) == wanted for window, wanted in checksums.items())
            levels = len(file.overviews(1))
        for level in range(levels):
            with rasterio.open(path, OVERVIEW_LEVEL=level) as file:
                for _, window in file.block_windows(1):
                    file.read(window=window)
    except RasterioError as error:
        same, why = False, str(error)
    if not same:
        raise OSError(errno.EIO, f"GDAL could not write all of it ({why})", str(path))
