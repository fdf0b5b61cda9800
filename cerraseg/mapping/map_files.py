"""Maps written chunk by chunk, so that memory does not grow with their size."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.config.dataset import Dataset
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import progress
from cerraseg.core.storage import explain_disk_errors
from cerraseg.core.taxonomy import position_table
from cerraseg.data.masks import roll_up
from cerraseg.geo import rasters
from cerraseg.geo.cog import CHUNK, NO_DATA, new_map

Raster = NDArray[np.uint8]


def write_map(target: Path, grid: Any, read: Callable[[Window], Raster], **options: Any) -> None:
    """Write a map, see :func:`cerraseg.geo.cog.new_map`, from chunks that are made one at a time.

    Args:
        grid: what has the map's ``shape``, ``crs`` and ``transform``: a grid or an open raster.
        read: window → its pixels, (height, width) or (bands, height, width); 255 is no data. Of a class map, they are
            positions in the legend.
        options: ``classes``, ``bands``, ``tags`` and ``threads``, as there.
    """
    height, width = grid.shape
    chunks = list(np.ndindex(-(-height // CHUNK), -(-width // CHUNK)))
    with new_map(target, shape=grid.shape, crs=grid.crs, transform=grid.transform, **options) as draft:
        for row, column in progress(chunks, target.stem, len(chunks)):
            top, left = row * CHUNK, column * CHUNK
            chunk = read(Window(left, top, min(CHUNK, width - left), min(CHUNK, height - top)))
            if (chunk != NO_DATA).any():
                draft.write(row, column, chunk)


def write_coarser(class_map: Path, level: str, dataset: Dataset, target: Callable[[str], Path], **options: Any) -> None:
    """Write the class map of each coarser level: the ancestor of each pixel's class, on the same grid.

    The top-down decision (:func:`cerraseg.models.inference.decide`) makes it the predicted class of that level.

    Args:
        class_map: map of ``level``.
        target: coarser level → map to write.
        options: ``tags`` and ``threads``, see :func:`cerraseg.geo.cog.new_map`.
    """
    positions = position_table(dataset.classes(level))

    def read(parents: Sequence[int], window: Window) -> Raster:
        return roll_up(positions[file.read(1, window=window)], parents)

    with rasters.open_raster(class_map) as file:
        for coarser, parents in dataset.ancestors(level).items():
            write_map(target(coarser), file, partial(read, parents), classes=dataset.classes(coarser), **options)


def moved(window: Window, rows: int, columns: int) -> Window:
    """Return a window that lies so many rows lower and columns farther right."""
    return Window(window.col_off + columns, window.row_off + rows, window.width, window.height)


class MapRows:
    """Finished rows of a map, (bands, width) uint8 each, in plain files: a killed run continues after ``done`` rows."""

    def __init__(self, folder: Path, width: int, layers: Mapping[str, int], key: Mapping[str, Any]) -> None:
        """Continue the rows in ``folder`` if they were made with the same key, else clear it.

        Args:
            width: of the map in pixels.
            layers: name of a layer → its number of bands.
            key: what the pixels depend on.
        """
        self._paths = {name: folder / f"{name}.rows" for name in layers}
        self._shapes = {name: (bands, width) for name, bands in layers.items()}
        note, text = folder / "key.json", json.dumps([key, self._shapes], sort_keys=True)
        if not note.is_file() or note.read_text(encoding="utf-8") != text:
            shutil.rmtree(folder, ignore_errors=True)
            with atomic_write(note) as part:
                part.write_text(text, encoding="utf-8")
        for path in self._paths.values():
            path.touch()
        self.done = min(self._paths[name].stat().st_size // (bands * width) for name, bands in layers.items())
        for name, bands in layers.items():
            os.truncate(self._paths[name], self.done * bands * width)

    def append(self, layers: Mapping[str, Raster]) -> None:
        """Add rows, (rows, bands, width) of each layer."""
        for name, rows in layers.items():
            with explain_disk_errors(self._paths[name]), self._paths[name].open("ab") as file:
                file.write(np.ascontiguousarray(rows).data)
        self.done += len(rows)

    def read(self, name: str, window: Window) -> Raster:
        """Read a window (bands, height, width) of a layer that is complete there."""
        bands, width = self._shapes[name]
        start, shape = window.row_off * bands * width, (window.height, bands, width)
        rows = np.memmap(self._paths[name], np.uint8, "r", start, shape)
        return rows[:, :, window.col_off : window.col_off + window.width].transpose(1, 0, 2)
