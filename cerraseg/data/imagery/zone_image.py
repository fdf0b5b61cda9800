"""The composites of a zone's tiles, shown as one image."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from cerraseg.core.files import atomic_write
from cerraseg.geo import rasters, vrt
from cerraseg.geo.zones import Zone


def write_zone_image(zone: Zone, tiles: Sequence[Path], path: Path, offset: float = 0.0) -> None:
    """Write a VRT of the tiles' files of one sensor.

    Args:
        tiles: folder of each tile, in the zone's order.
        path: VRT to write, ``<sensor>.vrt``.
        offset: what readers are told to add to its values.
    """
    files = [tile / f"{path.stem}.tif" for tile in tiles]
    digest = hashlib.sha256(b"".join((tile / "tile.json").read_bytes() for tile in tiles)).hexdigest()
    places = [Path(os.path.relpath(file, path.parent)).as_posix() for file in files]
    with atomic_write(path) as part, rasters.open_raster(files[0]) as like:
        part.write_text(
            vrt.mosaic(zone.grid, dict(zip(places, zone.tiles.values(), strict=True)), like, digest, offset)
        )
