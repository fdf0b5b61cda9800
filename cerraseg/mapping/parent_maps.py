"""The L1 map beside that of an L2 model which was trained for both levels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rasterio.windows import Window

from cerraseg.core.taxonomy import LEVELS, PARENTS
from cerraseg.geo import rasters
from cerraseg.geo.cog import CHUNK, NO_DATA, new_map

_PARENT_OF = np.full(256, NO_DATA, np.uint8)
_PARENT_OF[: len(PARENTS)] = PARENTS


def write_parents(classes: Path, target: Path, tags: Mapping[str, str], threads: int | None = None) -> None:
    """Write the map of L1 that a class map of L2 stands for: the parent of each pixel's class, 255 where it has none.

    Chunk by chunk, on the same grid; ``tags`` and ``threads`` as in :func:`cog.new_map`. The decision from the
    top down (:func:`cerraseg.models.inference.decide`) makes this the predicted L1 class at every pixel.
    """
    with rasters.open_raster(classes) as source:
        place = {"shape": source.shape, "crs": source.crs, "transform": source.transform}
        corners = ((top, left) for top in range(0, source.height, CHUNK) for left in range(0, source.width, CHUNK))
        with new_map(target, **place, classes=LEVELS["l1"], tags=tags, threads=threads) as draft:
            for top, left in corners:
                window = Window(left, top, min(CHUNK, source.width - left), min(CHUNK, source.height - top))
                chunk = source.read(1, window=window)
                if (chunk != NO_DATA).any():
                    draft.write(top // CHUNK, left // CHUNK, _PARENT_OF[chunk])
