"""The maps of the parts of a scene, joined."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window, intersect, intersection

from cerraseg.config.dataset import Dataset
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import position_table
from cerraseg.geo import rasters
from cerraseg.geo.cog import NO_DATA
from cerraseg.geo.grids import Grid
from cerraseg.mapping.map_files import Raster, moved, write_map


def join_maps(
    grid: Grid, parts: Mapping[Path, Window], folder: Path, dataset: Dataset, level: str, *, threads: int
) -> None:
    """Write the maps of the parts of a scene, folders of :func:`cerraseg.mapping.map_scene.map_scene`, as one.

    Args:
        grid: of the scene.
        parts: folder → its window of the grid; windows do not overlap.
        folder: folder to write.
        level: of the class map.
        threads: that compress.
    """
    with atomic_write(folder) as made:
        for file in sorted(next(iter(parts)).glob("*.tif")):
            with rasters.open_raster(file) as one:
                tags, count = one.tags(), one.count
                unit = one.units[0] or ""
                names = [str(name).removesuffix(f" ({unit})") for name in one.descriptions]
            name = file.stem
            legend = dataset.classes(level if name == "classes" else name[8:]) if name.startswith("classes") else None
            table = position_table(legend) if legend else None
            own: dict[str, Any] = {"tags": {key: tags[key] for key in tags if not key.startswith(("CLASS_", "AREA_"))}}
            sources = {path / file.name: window for path, window in parts.items()}
            with rasterio.Env(GDAL_CACHEMAX=64):
                write_map(
                    made / file.name, grid, _reader(sources, count, table), classes=legend, bands=names, unit=unit,
                    threads=threads, **own,
                )  # fmt: skip


def _reader(sources: Mapping[Path, Window], count: int, table: Raster | None) -> Callable[[Window], Raster]:
    """Return a reader of several rasters, each in its window, (bands, H, W); 255 elsewhere."""

    def read(window: Window) -> Raster:
        pixels = np.full((count, window.height, window.width), NO_DATA, np.uint8)
        for path, place in sources.items():
            if intersect(place, window):
                shared = intersection(place, window)
                with rasters.open_raster(path) as file:
                    found = file.read(window=moved(shared, -place.row_off, -place.col_off))
                rows, columns = moved(shared, -window.row_off, -window.col_off).toslices()
                pixels[:, rows, columns] = found if table is None else table[found]
        return pixels

    return read
