"""Read the GeoTIFFs of patches, for the index and for packing alike."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray
from rasterio.errors import CRSError, RasterioError

from cerraseg.core.errors import DataError
from cerraseg.core.layout import SIZE
from cerraseg.core.taxonomy import MODALITIES
from cerraseg.geo import rasters

GDAL = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""Options under which GDAL opens one of many files twice as fast: it would list the folder first."""


@contextmanager
def open_layer(path: str, layer: str) -> Iterator[Any]:
    """Open a file of a patch with rasterio.

    Raises:
        DataError: if it has not the size and bands of its layer, or cannot be read, also from within the block.
    """
    bands = len(MODALITIES.get(layer, (layer,)))
    try:
        with rasters.open_raster(path) as source:
            if source.shape != (SIZE, SIZE) or source.count != bands:
                found = f"{source.count} bands of {source.height} x {source.width}"
                raise DataError(f"{path}: {found} pixels; expected {bands} of {SIZE} x {SIZE}")
            if odd := next((dtype for dtype in source.dtypes if "complex" in dtype), None):
                raise DataError(f"{path}: {odd} pixels; expected real numbers")
            yield source
    except (RasterioError, CRSError, OSError) as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch or write the file again") from None


def checksum(arrays: Iterable[NDArray[Any]]) -> int:
    """CRC-32 of the pixels of a patch's files, as they were read: MSI, SAR, levels, edges, as far as there are any."""
    content = 0
    for array in arrays:
        content = zlib.crc32(array.data, content)
    return content
