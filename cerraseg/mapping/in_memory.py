"""Images and rows of maps in memory, as :func:`cerraseg.mapping.tiles.map_rows` takes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window


@dataclass(frozen=True)
class Array:
    """An image in memory."""

    bands: tuple[str, ...]
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.valid.shape[0], self.valid.shape[1]

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window, see :class:`cerraseg.mapping.tiles.Picture`."""
        place = window.toslices()
        return self.pixels[:, *place], self.valid[place]


class Collected:
    """Rows of a map in memory."""

    def __init__(self) -> None:
        self.done, self.parts = 0, dict[str, list[NDArray[Any]]]()

    def append(self, layers: Mapping[str, NDArray[Any]]) -> None:
        """Add rows, see :class:`cerraseg.mapping.tiles.Rows`."""
        for name, rows in layers.items():
            self.parts.setdefault(name, []).append(rows)
        self.done += len(next(iter(layers.values())))
