"""Pictures of patches and scenes to lay under maps: RGBA Cloud-Optimized GeoTIFFs, small enough for memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress
from cerraseg.geo.cog import BLOCK
from cerraseg.geo.images import Image
from cerraseg.geo.patch_grids import Grid, grids

LARGEST_SIDE = 2048  # pixels of a picture's longer side at most
PERCENTILES = 1, 98, 99.9  # of each band: the darkest, the brightest of the ground without clouds, and of everything
GAMMA = 1.8  # of all but radar: makes room for dark ground, where forest and water are
KNEE = (
    0.85  # of the colours are for the ground, the rest for what is brighter: clouds, snow and roofs keep some contrast
)
_WHITE = 0.35  # how far a cloud's bands lie apart at most, as a share of their mean
_BRIGHT = 3  # times as bright as coloured ground is a cloud at least
_COLOURED = 0.05  # of the pixels at least, else the picture has no ground to tell clouds from
_ALIKE = 4  # times as wide as another is a band's range at most, where colours are to look natural
_SAMPLE = 256  # patches that the stretch is measured on
_SAMPLE_STEP = 4  # every fourth pixel of them along both axes

Floats = NDArray[np.floating]
Composite = tuple[tuple[str, ...], bool]
"""Bands that are shown as red, green and blue, and whether on a logarithmic scale: see ``Dataset.composite``."""


class Stretch(NamedTuple):
    """How values become colours: ``low`` to ``high`` are the ground, ``high`` to ``top`` clouds and snow, (3,) each."""

    low: Floats
    high: Floats
    top: Floats
    logarithmic: bool
    gamma: float

    def shown(self, values: Floats) -> NDArray[np.uint8]:
        """Colours of values, (3, H, W)."""
        low, high, top = (end[:, None, None] for end in self[:3])
        if self.logarithmic:
            values, low, high, top = np.log(np.maximum(values, low)), np.log(low), np.log(high), np.log(top)
        ground = _share(values, low, high) ** (1 / self.gamma)
        return np.rint(255 * (KNEE * ground + (1 - KNEE) * _share(values, high, top))).astype(np.uint8)


def _share(values: Floats, low: Floats, high: Floats) -> Floats:
    """Return where values lie from ``low`` (0) to ``high`` (1)."""
    return np.clip((values - low) / np.where(high > low, high - low, 1), 0, 1)


def patches_images(
    patches: pd.DataFrame,
    images: NDArray[np.float32],
    bands: Sequence[str],
    folder: Path,
    *,
    composite: Composite,
    rows: NDArray[np.int64],
    tags: Mapping[str, str],
) -> list[Path]:
    """Write ``folder/image_<crs>.tif`` for each coordinate system of the patches, uint8 with alpha 0 where no patch is.

    Each pixel is the mean of all finite values on n × n pixels of the mosaic of the same patches, with the smallest n
    that leaves :data:`LARGEST_SIDE`; where n does not divide the mosaic's sides, the picture reaches beyond it. Each
    file has a stretch of its own, by the :data:`PERCENTILES` of a sample; where the composite asks for a logarithmic
    scale, it is linear all the same for values of zero or less (decibels).

    Args:
        patches: patch table, see :func:`cerraseg.geo.patch_grids.grids`.
        images: (N, bands, H, W); NaN for no data.
        bands: names of its bands.
        folder: where the files go.
        composite: what to show.
        rows: row of ``images`` of each patch.
        tags: further metadata of the files, beside ``BANDS`` and ``STRETCH``.

    Returns:
        Paths of the pictures, in order of their first patch.

    Raises:
        DataError: if the patches lie on no grid.
    """
    names, logarithmic = composite
    channels = [bands.index(name) for name in names]
    paths = []
    for grid in grids(patches, images.shape[2:]):
        sampled = rows[grid.members[:: -(-len(grid.members) // _SAMPLE)]]
        stretch = _stretch(images[sampled, :, ::_SAMPLE_STEP, ::_SAMPLE_STEP][:, channels].swapaxes(0, 1), logarithmic)
        factor = -(-max(grid.shape) // LARGEST_SIDE)
        values = _reduced(grid, images, rows[grid.members], channels, factor)
        paths.append(folder / f"image_{grid.tag}.tif")
        _write(paths[-1], values, names, stretch, tags, crs=grid.crs, transform=grid.transform * Affine.scale(factor))
    return paths


def scene_image(image: Image, path: Path, *, composite: Composite, tags: Mapping[str, str]) -> None:
    """Write the picture of a scene of any size, as :func:`patches_images` does.

    It has exactly the bounds of the scene, so its pixels may be not quite square. Alpha is 0 where no pixel has data.

    Args:
        image: open image of the scene.
        path: GeoTIFF to write.
        composite, tags: what to show, and further metadata of the file.
    """
    names, logarithmic = composite
    grid = image.grid
    factor = -(-max(grid.shape) // LARGEST_SIDE)
    height, width = (-(-side // factor) for side in grid.shape)
    with rasterio.Env(GDAL_CACHEMAX=64):
        values = image.reduced(names, (height, width))
    transform = grid.transform * Affine.scale(grid.shape[1] / width, grid.shape[0] / height)
    _write(path, values, names, _stretch(values, logarithmic), tags, crs=grid.crs, transform=transform)


def _stretch(sample: Floats, logarithmic: bool) -> Stretch:
    """Choose the stretch of a sample of pixels (3, …); clouds and snow do not count for the brightest ground.

    A ``logarithmic`` scale is radar's, which sees no clouds; it is linear for values of zero or less.
    """
    values = sample[:, np.isfinite(sample).all(axis=0)]
    if not values.size:
        return Stretch(np.zeros(3), np.ones(3), np.ones(3), False, 1)
    low = np.percentile(values, PERCENTILES[0], axis=1)
    ground = values if logarithmic else values[:, ~_clouds(values - low[:, None])]
    high = np.percentile(ground, PERCENTILES[1], axis=1)
    reach = high - low
    if not logarithmic and 0 < reach.max() <= _ALIKE * reach.min():
        # Halfway between each band's own range, which makes all ground grey, and one for all, which makes it brown.
        high = low + np.sqrt(reach * reach.max())
    top = np.maximum(np.percentile(values, PERCENTILES[2], axis=1), high)
    low, high, top = (end.astype(np.float32) for end in (low, high, top))
    return Stretch(low, high, top, logarithmic and bool(values.min() > 0), 1 if logarithmic else GAMMA)


def _clouds(above: Floats) -> NDArray[np.bool_]:
    """Return which pixels (3, N), less the darkest of each band, are white and far brighter than coloured ground."""
    bright = above.mean(axis=0)
    white = np.ptp(above, axis=0) < _WHITE * bright
    if (~white).mean() < _COLOURED:
        return np.zeros(len(bright), bool)
    return np.asarray(white & (bright > _BRIGHT * np.median(bright[~white])))


def _reduced(
    grid: Grid, images: NDArray[np.float32], rows: NDArray[np.int64], channels: Sequence[int], factor: int
) -> Floats:
    """Means over squares of ``factor`` pixels of the grid, sides rounded up: (3, H, W); NaN where nothing is."""
    height, width = (-(-side // factor) for side in grid.shape)
    total = np.zeros((4, height, width), np.float32)  # last: how many valid pixels
    for row, top, left in progress(zip(rows, grid.rows, grid.columns, strict=True), f"image_{grid.tag}", len(rows)):
        part = np.asarray(images[row][channels])
        valid = np.isfinite(part).all(axis=0)
        down, across, sums = _summed(np.concatenate([np.where(valid, part, 0), valid[None]]), top, left, factor)
        total[:, down, across] += sums
    mean, count = total[:3], total[3]
    mean /= np.maximum(count, 1)
    mean[:, count == 0] = np.nan
    return mean


def _summed(part: Floats, top: int, left: int, factor: int) -> tuple[slice, slice, Floats]:
    """Rows and columns of the squares of a grid that a patch (bands, H, W) touches, and the sums of it there."""
    places = []
    for axis, start in ((1, top), (2, left)):
        squares = (start + np.arange(part.shape[axis])) // factor
        part = np.add.reduceat(part, np.flatnonzero(np.diff(squares, prepend=-1)), axis=axis)
        places.append(slice(int(squares[0]), int(squares[-1]) + 1))
    return places[0], places[1], part


def _write(
    path: Path, values: Floats, names: Sequence[str], stretch: Stretch, tags: Mapping[str, str], **georeference: Any
) -> None:
    valid = np.isfinite(values).all(axis=0)
    height, width = valid.shape
    colours = stretch.shown(np.where(valid, values, stretch.low[:, None, None])) * valid
    ends = zip(names, stretch.low, stretch.high, strict=True)
    ranges = dict.fromkeys(f"{name} {low:.6g} to {high:.6g}" for name, low, high in ends)
    scale = "logarithmic" if stretch.logarithmic else f"gamma {stretch.gamma:g}"
    shown = f"{', '.join(ranges)}; {scale}; clouds and snow up to {', '.join(f'{top:.6g}' for top in stretch.top)}"
    log.info("%s: %d x %d pixels, %s", path.name, width, height, shown)
    size = {"height": height, "width": width, "count": 4, "dtype": "uint8"}
    options = {"compress": "deflate", "predictor": "YES", "blocksize": BLOCK, "overview_resampling": "average"}
    with MemoryFile() as memory:
        with memory.open(driver="COG", **size, **options, **georeference) as dataset:
            dataset.colorinterp = ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha
            dataset.update_tags(**tags, BANDS=", ".join(names), STRETCH=shown)
            dataset.write(colours, (1, 2, 3))
            dataset.write(valid.astype(np.uint8) * np.uint8(255), 4)
        with atomic_write(path) as part:
            part.write_bytes(memory.getbuffer())
