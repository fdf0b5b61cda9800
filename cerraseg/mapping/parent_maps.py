"""The L1 map of a model of both levels, from its L2 map."""

from collections.abc import Mapping
from pathlib import Path

from rasterio.windows import Window

from cerraseg.core.taxonomy import LEVELS
from cerraseg.data.masks import roll_up
from cerraseg.geo import rasters
from cerraseg.geo.cog import CHUNK, NO_DATA, new_map


def write_parents(classes: Path, target: Path, tags: Mapping[str, str], threads: int | None = None) -> None:
    """Write the map of the parent of each pixel's class, on the same grid.

    The top-down decision (:func:`cerraseg.models.inference.decide`) makes this the predicted L1 class at every pixel.

    Args:
        classes: class map of L2.
        target: class map of L1 to write.
        tags: further metadata of the file.
        threads: threads that compress; None: one per core.
    """
    with rasters.open_raster(classes) as source:
        place = {"shape": source.shape, "crs": source.crs, "transform": source.transform}
        corners = ((top, left) for top in range(0, source.height, CHUNK) for left in range(0, source.width, CHUNK))
        with new_map(target, **place, classes=LEVELS["l1"], tags=tags, threads=threads) as draft:
            for top, left in corners:
                window = Window(left, top, min(CHUNK, source.width - left), min(CHUNK, source.height - top))
                chunk = source.read(1, window=window)
                if (chunk != NO_DATA).any():
                    draft.write(top // CHUNK, left // CHUNK, roll_up(chunk))
