"""Maps written chunk by chunk, so that memory does not grow with their size."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.core.logs import progress
from cerraseg.core.taxonomy import LEVELS, LandCover
from cerraseg.data.masks import roll_up
from cerraseg.geo import rasters
from cerraseg.geo.cog import CHUNK, NO_DATA, new_map

Raster = NDArray[np.uint8]


def write_map(
    target: Path,
    grid: Any,
    read: Callable[[Window], Raster],
    *,
    classes: Sequence[LandCover] | None,
    bands: Sequence[str] = ("confidence",),
    tags: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> None:
    """Write a map, see :func:`cerraseg.geo.cog.new_map`, from chunks that are made one at a time.

    Args:
        target: file to write.
        grid: what has the map's ``shape``, ``crs`` and ``transform``: a grid or an open raster.
        read: window → its pixels, (height, width) or (bands, height, width); 255 is no data.
        classes, bands, tags, threads: as there.
    """
    height, width = grid.shape
    georeference = {"shape": grid.shape, "crs": grid.crs, "transform": grid.transform}
    chunks = list(np.ndindex(-(-height // CHUNK), -(-width // CHUNK)))
    with new_map(target, **georeference, classes=classes, bands=bands, tags=tags, threads=threads) as draft:
        for row, column in progress(chunks, target.stem, len(chunks)):
            top, left = row * CHUNK, column * CHUNK
            chunk = read(Window(left, top, min(CHUNK, width - left), min(CHUNK, height - top)))
            if (chunk != NO_DATA).any():
                draft.write(row, column, chunk)


def write_parents(classes: Path, target: Path, tags: Mapping[str, str], threads: int | None = None) -> None:
    """Write the map of the parent of each pixel's class, on the same grid.

    The top-down decision (:func:`cerraseg.models.inference.decide`) makes this the predicted L1 class at every pixel.

    Args:
        classes: class map of L2.
        target: class map of L1 to write.
        tags, threads: see :func:`write_map`.
    """
    legend = LEVELS["l1"]
    with rasters.open_raster(classes) as file:
        write_map(target, file, lambda w: roll_up(file.read(1, window=w)), classes=legend, tags=tags, threads=threads)
