"""Finished rows of a map, kept in plain files so that a killed run continues after the last one."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.windows import Window

from cerraseg.core.files import atomic_write
from cerraseg.core.storage import explain_disk_errors
from cerraseg.mapping.map_files import Raster


class MapRows:
    """Layers of a map under construction, row by row from the top: ``done`` rows, (bands, width) uint8 each."""

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
