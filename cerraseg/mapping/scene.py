"""A scene to map: an image per sensor, all on the pixel grid of the first."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.config.dataset import Dataset, Sensor
from cerraseg.core.errors import DataError
from cerraseg.geo.grids import Grid
from cerraseg.geo.images import Image, ImageFiles, open_image

_CACHE_MB = 256  # of decoded blocks: a row of 512 x 512 blocks of 12 bands over 10,980 pixels takes 140 MB as int16
_SAMPLES = 8  # windows along each side
_SAMPLE = 64  # pixels of a window's side


@dataclass(frozen=True)
class SceneFiles:
    """The images of a scene, one per sensor; the first gives the grid."""

    name: str
    images: Mapping[str, ImageFiles]
    first_bands: tuple[str, ...] = ()  # those that the dataset has of the first sensor; empty: all of its image

    @classmethod
    def of(cls, scene: Mapping[str, Any], dataset: Dataset) -> "SceneFiles":
        """Return the images of a checked scene of the configuration, in the order of the dataset's sensors."""
        images = {name: ImageFiles.of(scene["images"][name]) for name in dataset.sensors if name in scene["images"]}
        return cls(scene["name"], images, dataset.sensors[next(iter(images))].bands)

    @property
    def sources(self) -> list[Path]:
        """All files that its pixels come from."""
        return [source for image in self.images.values() for source in image.sources]


@dataclass(frozen=True)
class Scene:
    """An open scene."""

    grid: Grid
    bands: tuple[str, ...]  # those of its sensors, in channel order
    images: Mapping[str, Image]  # by sensor

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.grid.shape

    @property
    def warped(self) -> bool:
        """Whether an image lies on another grid."""
        return any(image.warped for image in self.images.values())

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read the pixels of a window, (bands, H, W), NaN without data, and where all bands have data, (H, W)."""
        parts = [image.read(window) for image in self.images.values()]
        pixels = np.concatenate([values for values, _ in parts])
        return pixels, np.logical_and.reduce([valid.all(0) for _, valid in parts])

    def sample(self) -> NDArray[np.float32]:
        """Read pixels with data (bands, N) in windows spread evenly over the scene; all of a small scene.

        Where these hold no data, those of the first rows that do; N is 0 in an empty scene.
        """
        height, width = self.grid.shape
        spread = [Window.from_slices(*place) for place in product(_spread(height), _spread(width))]
        found = np.concatenate([pixels[:, valid] for pixels, valid in map(self.read, spread)], axis=1)
        if found.size:
            return found
        rows = (Window(0, top, width, min(_SAMPLE, height - top)) for top in range(0, height, _SAMPLE))
        return next((pixels[:, valid] for pixels, valid in map(self.read, rows) if valid.any()), found)


def _spread(length: int) -> list[slice]:
    if length <= _SAMPLES * _SAMPLE:
        return [slice(0, length)]
    firsts = np.linspace(0, length - _SAMPLE, _SAMPLES).round().astype(int).tolist()
    return [slice(first, first + _SAMPLE) for first in firsts]


@contextmanager
def open_scene(
    files: SceneFiles, sensors: Sequence[Sensor], resampling: str, scaled: Mapping[str, bool] | None = None
) -> Iterator[Scene]:
    """Open the images of these sensors of a scene, in channel order.

    Args:
        resampling: name of rasterio's resampling, for images on another grid.
        scaled: sensor → whether to apply the scales and offsets that its files declare; those left out are scaled.

    Raises:
        DataError: if an image is missing, cannot be read, has no CRS or not the bands, or lies elsewhere.
    """
    for sensor in sensors:
        if sensor.name not in files.images:
            raise DataError(
                f"scene {files.name} has no {sensor.name} image; a model of {', '.join(s.name for s in sensors)} "
                f"expects one: add {sensor.name} to the scene, or map it by a scenario of its other modalities"
            )
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE_MB))
        grid = scene_grid(files)
        images = {}
        for sensor in sensors:
            image, what = files.images[sensor.name], f"scene {files.name}: {sensor.name}"
            apply = (scaled or {}).get(sensor.name, True)
            opened = open_image(image, sensor.bands, what, grid=grid, resampling=resampling, scaled=apply)
            images[sensor.name] = stack.enter_context(opened)
        yield Scene(grid, tuple(band for sensor in sensors for band in sensor.bands), images)


def scene_grid(files: SceneFiles) -> Grid:
    """Return the grid of a scene: that of its first image, north up."""
    sensor, image = next(iter(files.images.items()))
    with open_image(image, files.first_bands, f"scene {files.name}: {sensor}") as opened:
        return opened.grid
