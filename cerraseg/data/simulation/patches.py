"""Simulated patches in the layout of CerraData-4MM, so that the whole workflow runs without the download."""

from collections.abc import Iterator
from functools import partial
from math import ceil, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from cerraseg.core.errors import ConfigError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress
from cerraseg.core.processes import process_map
from cerraseg.data.masks import derive_edges, roll_up
from cerraseg.data.simulation.landscape import landscape
from cerraseg.data.simulation.spectra import images
from cerraseg.data.simulation.window import CERRADATA, MSI_BANDS, PARENTS, SAR_BANDS, Window, salts
from cerraseg.geo.rasters import WGS84

PIXEL = 8.983e-5  # degrees: 10 m on the ground
ORIGIN = (-48.2, -6.0)  # degrees east and north: the Bico do Papagaio
_BLOCK = 512  # px: about the side of ground that is rendered at once
_SCENE_GAP = 0.05  # degrees between scenes

_FILES = {
    "msi_images": ("parrot_beak_ms_{}.tif", MSI_BANDS),
    "sar_images": ("parrot_beak_sar_{}.tif", SAR_BANDS),
    "semantic_7c": ("mask_parrot_beak_7classes_{}.tif", ("class",)),
    "semantic_14c": ("parrot_beak_terraclass_classes_14c_{}.tif", ("class",)),
    "edge_7c": ("edge_parrot_beak_7c_{}.tif", ("edge",)),
    "edge_14c": ("edge_parrot_beak_14c_{}.tif", ("edge",)),
}
"""Folder → file names by id, and bands."""


class _Scene(NamedTuple):
    """One rectangle of patches, ``columns`` wide, which begins at ``west`` degrees."""

    number: int
    ids: npt.NDArray[np.int64]
    columns: int
    west: float

    @property
    def rows(self) -> int:
        return ceil(len(self.ids) / self.columns)


def simulate(
    folder: Path,
    *,
    patches: int,
    seed: int,
    scenes: int = 1,
    drift: float = 0.0,
    size: int = CERRADATA.patch_size,
    workers: int = 1,
) -> None:
    """Write simulated patches in EPSG:4326 under ``folder``, replacing what is there.

    The six folders and their file names are those of CerraData-4MM on Kaggle: 12 MSI bands float32 (reflectance
    × 10,000 + 1,000), VV and VH float32 (linear scale), masks int32 of 7 and 14 classes, edges uint8 0/1 as of
    :func:`derive_edges`. Class shares follow the published ones, but each is at least about 0.5 % from 25 patches of
    128 px on. Equal arguments give equal bytes, whatever ``workers``. Ids are not consecutive.

    Args:
        patches, seed: number of patches; from 0.
        scenes: number of scenes, which lie apart; the patches of one touch.
        drift: 0 to about 1, how much classes look different from region to region.
        size: height and width of a patch in px of 10 m.

    Raises:
        ConfigError: if there are more scenes than patches.
    """
    if scenes > patches:
        raise ConfigError(f"simulate: {scenes} scenes for {patches} patches, expected at least one patch per scene")
    blocks = [(scene, block) for scene in _lay_out(patches, seed, scenes, size) for block in _blocks(scene, size)]
    with atomic_write(folder) as unfinished:
        for name in _FILES:
            (unfinished / name).mkdir(parents=True)
        job = partial(_write_block, unfinished, seed, size, drift)
        list(progress(process_map(job, blocks, workers), "simulate", len(blocks)))
    log.info("simulated %d patches in %d scene(s) under %s", patches, scenes, folder)


def _lay_out(patches: int, seed: int, scenes: int, size: int) -> Iterator[_Scene]:
    """Share the patches out to scenes side by side, and number them as they are cut."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, patches)))
    # The first two ids (one digit, then two) make the order as text differ from the order as numbers.
    head = np.array([rng.integers(5, 10), rng.integers(12, 50)])
    top = max(43_000, patches * 7 // 5)
    ids = np.concatenate([head, 50 + np.sort(rng.choice(top, max(patches - 2, 0), replace=False))])[:patches]
    west = ORIGIN[0]
    for number, part in enumerate(np.array_split(ids, scenes)):
        columns = ceil(sqrt(len(part)))
        yield _Scene(number, part, columns, west)
        west += columns * size * PIXEL + _SCENE_GAP


def _blocks(scene: _Scene, size: int) -> Iterator[Window]:
    """Cut a scene into blocks that one process renders at once: windows in patches, not in px."""
    side = max(1, _BLOCK // size)
    for row in range(0, scene.rows, side):
        for column in range(0, scene.columns, side):
            yield Window(row, column, min(side, scene.rows - row), min(side, scene.columns - column))


def _write_block(folder: Path, seed: int, size: int, drift: float, scene_and_block: tuple[_Scene, Window]) -> None:
    scene, block = scene_and_block
    layers = _render_block(scene, block, seed, size, drift)
    for r, c in np.ndindex(block.height, block.width):
        row, column = block.top + r, block.left + c
        place = row * scene.columns + column
        if place >= len(scene.ids):
            continue
        grid = from_origin(scene.west + column * size * PIXEL, ORIGIN[1] - row * size * PIXEL, PIXEL, PIXEL)
        for name, layer in layers.items():
            patch = layer[:, r * size : (r + 1) * size, c * size : (c + 1) * size]
            pattern, bands = _FILES[name]
            write_tif(folder / name / pattern.format(scene.ids[place]), patch, bands, crs=WGS84, transform=grid)


def write_tif(path: Path, image: npt.NDArray[np.generic], bands: tuple[str, ...], **profile: Any) -> None:
    """Write a GeoTIFF (bands, height, width) by way of memory, as GDAL may not report a full disk."""
    count, height, width = image.shape
    size = {"count": count, "height": height, "width": width, "dtype": image.dtype, "interleave": "band"}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", **size, **profile) as file:
            file.descriptions = bands
            file.write(image)
        path.write_bytes(memory.read())


def _render_block(
    scene: _Scene, block: Window, seed: int, size: int, drift: float
) -> dict[str, npt.NDArray[np.generic]]:
    """All layers of one block by folder name, each (bands, rows × size, columns × size)."""
    inner = Window(*(side * size for side in block))
    salt = salts(seed, scene.number)
    ground = landscape(salt, inner.padded(1))  # which blur and edges need
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(scene.number, block.top, block.left)))
    msi, sar = images(ground, salt, inner, rng, drift)
    # The scene ends at its border: what lies outside repeats the pixels there, so that it makes no edge.
    rows = np.arange(-1, inner.height + 1).clip(-inner.top, scene.rows * size - 1 - inner.top) + 1
    columns = np.arange(-1, inner.width + 1).clip(-inner.left, scene.columns * size - 1 - inner.left) + 1
    l2 = ground.l2[np.ix_(rows, columns)]
    l1 = roll_up(l2, PARENTS)
    return {
        "msi_images": msi,
        "sar_images": sar,
        "semantic_7c": l1[None, 1:-1, 1:-1].astype(np.int32),
        "semantic_14c": l2[None, 1:-1, 1:-1].astype(np.int32),
        "edge_7c": derive_edges(l1)[None, 1:-1, 1:-1],
        "edge_14c": derive_edges(l2)[None, 1:-1, 1:-1],
    }
