"""A part of a scene, mapped alone as it would be with the whole scene: tiles lie where those of the scene do."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from cerraseg.geo.cog import NO_DATA
from cerraseg.geo.grids import Grid
from cerraseg.mapping.map_files import Raster, moved
from cerraseg.mapping.scene import Scene
from cerraseg.mapping.tiles import tile_starts


@dataclass(frozen=True)
class Cut:
    """The part of a scene to map."""

    window: Window  # of the scene's grid
    outside: Callable[[Window], NDArray[np.bool_]]  # window of that grid → pixels that are left without data (H, W)

    def of(self, scene: Scene, size: int, overlap: float) -> "CutScene":
        """Return what the tiles of ``size`` pixels see that reach into the part."""
        (top, bottom), (left, right) = (
            _span(length, size, overlap, part) for length, part in zip(scene.shape, self.window.toslices(), strict=True)
        )
        return CutScene(scene, self, (top, left), (bottom - top, right - left))


@dataclass(frozen=True)
class CutScene:
    """What the tiles of a part of a scene see."""

    scene: Scene
    cut: Cut
    first: tuple[int, int]  # its first row and column in the scene
    shape: tuple[int, int]

    @property
    def bands(self) -> tuple[str, ...]:
        """Their names, in channel order."""
        return self.scene.bands

    @property
    def grid(self) -> Grid:
        """The grid of the part."""
        window, whole = self.cut.window, self.scene.grid
        return Grid(whole.crs, window_transform(window, whole.transform), (int(window.height), int(window.width)))

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window as :meth:`Scene.read` does."""
        return self.scene.read(moved(window, *self.first))

    def kept(self, read: Callable[[Window], Raster]) -> Callable[[Window], Raster]:
        """Return a reader of the part (bands, H, W), 255 where nothing is to be mapped, from one of what is seen."""
        row, column = int(self.cut.window.row_off), int(self.cut.window.col_off)

        def inside(window: Window) -> Raster:
            pixels = np.array(read(moved(window, row - self.first[0], column - self.first[1])))
            pixels[:, self.cut.outside(moved(window, row, column))] = NO_DATA
            return pixels

        return inside


def _span(length: int, size: int, overlap: float, part: slice) -> tuple[int, int]:
    """Return the first pixel and the last one, exclusive, of the tiles along a side that reach into a part of it."""
    starts = [start for start in tile_starts(length, size, overlap) if part.start - size < start < part.stop]
    return starts[0], min(starts[-1] + size, length)
