"""Finished rows of a map, kept in plain files so that a killed run continues after the last one."""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cerraseg.core.files import atomic_write
from cerraseg.core.logs import progress
from cerraseg.core.storage import explain_disk_errors
from cerraseg.core.taxonomy import LandCover
from cerraseg.geo.cog import CHUNK, new_map
from cerraseg.mapping.scene import SceneGrid


class MapRows:
    """Layers of a map under construction, row by row from the top; a row is (bands, width) uint8."""

    def __init__(self, folder: Path, width: int, layers: Mapping[str, int], key: Mapping[str, Any]) -> None:
        """Open a folder of rows: continue what was made with the same key, clear anything else.

        Args:
            folder: where the rows are kept.
            width: of the map in pixels.
            layers: name of a layer → its number of bands.
            key: what the pixels depend on.

        Raises:
            StorageError: if the disk is full.
        """
        self._folder, self._width, self._layers = folder, width, dict(layers)
        self.names = tuple(layers)
        note = folder / "key.json"
        text = json.dumps([dict(key), width, self._layers], sort_keys=True)
        if not note.is_file() or note.read_text(encoding="utf-8") != text:
            shutil.rmtree(folder, ignore_errors=True)
            with atomic_write(note) as part:
                part.write_text(text, encoding="utf-8")
        self.done = min(self._size(name) // self._row(name) for name in layers)
        """Number of rows that every layer has."""
        self._stack = ExitStack()
        self._files = {name: self._stack.enter_context(self._open(name)) for name in layers}

    def __enter__(self) -> "MapRows":
        return self

    def __exit__(self, *_: object) -> None:
        with explain_disk_errors(self._folder / "rows"):
            self._stack.close()

    def append(self, layers: Mapping[str, NDArray[np.uint8]]) -> None:
        """Add rows, (rows, bands, width) of each layer.

        Raises:
            StorageError: if the disk is full.
        """
        with explain_disk_errors(self._folder / "rows"):
            for name, file in self._files.items():
                file.write(np.ascontiguousarray(layers[name]).data)
            for file in self._files.values():
                file.flush()
        self.done += len(next(iter(layers.values())))

    def write_map(
        self,
        name: str,
        path: Path,
        grid: SceneGrid,
        *,
        classes: Sequence[LandCover] | None = None,
        bands: Sequence[str] = (),
        tags: Mapping[str, str],
        threads: int,
    ) -> None:
        """Write a complete layer as Cloud-Optimized GeoTIFF; see :func:`cerraseg.geo.cog.new_map`."""
        height, width = grid.shape
        tops = range(0, height, CHUNK)
        georeference: dict[str, Any] = {"shape": grid.shape, "crs": grid.crs, "transform": grid.transform}
        with new_map(path, **georeference, classes=classes, bands=bands, tags=tags, threads=threads) as draft:
            for row, top in progress(enumerate(tops), path.stem, len(tops)):
                rows = self._read(name, top, min(CHUNK, height - top))
                for column in range(-(-width // CHUNK)):
                    draft.write(row, column, rows[:, :, column * CHUNK : (column + 1) * CHUNK])

    def _read(self, name: str, top: int, rows: int) -> NDArray[np.uint8]:
        flat = np.fromfile(self._path(name), np.uint8, rows * self._row(name), offset=top * self._row(name))
        return flat.reshape(rows, self._layers[name], self._width).transpose(1, 0, 2)

    def _open(self, name: str) -> BinaryIO:
        file = self._path(name).open("ab")
        file.truncate(self.done * self._row(name))
        return file

    def _size(self, name: str) -> int:
        path = self._path(name)
        return path.stat().st_size if path.is_file() else 0

    def _row(self, name: str) -> int:
        return self._layers[name] * self._width

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.rows"
