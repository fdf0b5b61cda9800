"""Simulated patches in the layout of CerraData-4MM, so that the whole workflow runs without the download.

Class shares follow the published ones, but rare classes are raised to a floor of about 0.5 % each.
"""

from collections.abc import Iterator
from functools import partial
from math import ceil, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio import Affine
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from cerraseg.data.masks import roll_up
from cerraseg.core.errors import ConfigError
from cerraseg.core.files import atomic_write
from cerraseg.data.masks import derive_edges
from cerraseg.data.simulation.window import Window, salts
from cerraseg.data.simulation.landscape import landscape
from cerraseg.core.logs import log, progress
from cerraseg.geo.rasters import WGS84
from cerraseg.data.simulation.spectra import images
from cerraseg.core.taxonomy import LEVELS, MSI_BANDS, PARENTS, SAR_BANDS
from cerraseg.core.processes import process_map

_PAD = 1  # px around a block that blur and edges need; both are written for 1
PIXEL = 8.983e-5  # degrees: 10 m on the ground
ORIGIN = (-48.2, -6.0)  # degrees east and north: the Bico do Papagaio
_BLOCK = 512  # px: about the side of ground that is rendered at once
_SCENE_GAP = 0.05  # degrees between scenes

_PATTERNS = {
    "msi_images": "parrot_beak_ms_{}.tif",
    "sar_images": "parrot_beak_sar_{}.tif",
    "semantic_7c": "mask_parrot_beak_7classes_{}.tif",
    "semantic_14c": "parrot_beak_terraclass_classes_14c_{}.tif",
    "edge_7c": "edge_parrot_beak_7c_{}.tif",
    "edge_14c": "edge_parrot_beak_14c_{}.tif",
}
_BANDS = dict(zip(_PATTERNS, (MSI_BANDS, SAR_BANDS, ("class",), ("class",), ("edge",), ("edge",)), strict=True))
_CRS = WGS84


class _Scene(NamedTuple):
    """One rectangle of patches: its number, rows and columns of patches, and its upper left corner in degrees."""

    number: int
    ids: npt.NDArray[np.int64]
    columns: int
    west: float
    north: float

    @property
    def rows(self) -> int:
        return ceil(len(self.ids) / self.columns)


class _Block(NamedTuple):
    """Ground that one process renders at once: its scene, and its place and extent in patches."""

    scene: _Scene
    row: int
    column: int
    rows: int
    columns: int


def simulate(
    folder: Path, *, patches: int, seed: int, scenes: int = 1, drift: float = 0.0, size: int = 128, workers: int = 1
) -> None:
    """Write simulated patches in EPSG:4326 under ``folder``, replacing what is there.

    The six folders and their file names are those of CerraData-4MM on Kaggle: 12 MSI bands float32 (reflectance
    × 10,000 + 1,000), VV and VH float32 (linear scale), masks int32 of 7 and 14 classes, edges uint8 0/1 (1 where one
    of the 4 neighbours in the scene has another class). Equal arguments give equal bytes, whatever ``workers``. Every
    class is present from 25 patches of 128 px on. Ids are not consecutive.

    Args:
        folder: folder to write.
        patches: number of patches.
        seed: from 0.
        scenes: number of scenes, which lie apart; the patches of one touch, near-square, the last row filled from the
            west.
        drift: 0 to about 1, how much classes look different from region to region, see
            :func:`cerraseg.data.simulation.spectra.regional_factors`.
        size: height and width of a patch in px of 10 m.
        workers: number of processes.

    Raises:
        ConfigError: if there are more scenes than patches.
    """
    if scenes > patches:
        raise ConfigError(f"simulate: {scenes} scenes for {patches} patches, expected at least one patch per scene")
    layout = list(_lay_out(patches, seed, scenes, size))
    blocks = [block for scene in layout for block in _blocks(scene, size)]
    with atomic_write(folder) as unfinished:
        for name in _PATTERNS:
            (unfinished / name).mkdir(parents=True)
        job = partial(_write_block, unfinished, seed, size, drift)
        counts = sum(progress(process_map(job, blocks, workers), "simulate", len(blocks)), np.zeros(len(PARENTS), np.int64))
    shares = (f"{c.abbreviation} {n / counts.sum():.2%}" for c, n in zip(LEVELS["l2"], counts, strict=True))
    log.info("simulated %d patches in %d scene(s) under %s: %s", patches, scenes, folder, ", ".join(shares))


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
        yield _Scene(number, part, columns, west, ORIGIN[1])
        west += columns * size * PIXEL + _SCENE_GAP


def _blocks(scene: _Scene, size: int) -> Iterator[_Block]:
    """Cut a scene into blocks of whole patches."""
    side = max(1, _BLOCK // size)
    for row in range(0, scene.rows, side):
        for column in range(0, scene.columns, side):
            yield _Block(scene, row, column, min(side, scene.rows - row), min(side, scene.columns - column))


def _write_block(folder: Path, seed: int, size: int, drift: float, block: _Block) -> npt.NDArray[np.int64]:
    """Render one block, write its patches and return their pixels per L2 class."""
    layers = _render_block(block, seed, size, drift)
    counts = np.zeros(len(PARENTS), np.int64)
    for r, c in np.ndindex(block.rows, block.columns):
        scene, row, column = block.scene, block.row + r, block.column + c
        if row * scene.columns + column >= len(scene.ids):
            continue
        patch_id = scene.ids[row * scene.columns + column]
        grid = from_origin(scene.west + column * size * PIXEL, scene.north - row * size * PIXEL, PIXEL, PIXEL)
        for name, layer in layers.items():
            patch = layer[:, r * size : (r + 1) * size, c * size : (c + 1) * size]
            _write_tif(folder / name / _PATTERNS[name].format(patch_id), patch, _BANDS[name], grid)
            if name == "semantic_14c":
                counts += np.bincount(patch.ravel(), minlength=len(counts))
    return counts


def _write_tif(path: Path, image: npt.NDArray[np.generic], bands: tuple[str, ...], grid: Affine) -> None:
    """Write a GeoTIFF by way of memory, as GDAL may not report a full disk."""
    count, height, width = image.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": image.dtype}
    with MemoryFile() as memory:
        with memory.open(**profile, crs=_CRS, transform=grid, interleave="band") as file:
            file.descriptions = bands
            file.write(image)
        path.write_bytes(memory.read())


def _render_block(block: _Block, seed: int, size: int, drift: float) -> dict[str, npt.NDArray[np.generic]]:
    """All layers of one block by folder name, each (bands, rows × size, columns × size)."""
    scene = block.scene
    inner = Window(block.row * size, block.column * size, block.rows * size, block.columns * size)
    window = Window(inner.top - _PAD, inner.left - _PAD, inner.height + 2 * _PAD, inner.width + 2 * _PAD)
    salt = salts(seed, scene.number)
    ground = landscape(salt, window)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(scene.number, block.row, block.column)))
    msi, sar = images(ground, salt, inner, rng, drift)
    l2 = ground.l2
    _close_border(l2, block, size)
    l1 = roll_up(l2)
    return {
        "msi_images": msi,
        "sar_images": sar,
        "semantic_7c": l1[None, 1:-1, 1:-1].astype(np.int32),
        "semantic_14c": l2[None, 1:-1, 1:-1].astype(np.int32),
        "edge_7c": derive_edges(l1)[None, 1:-1, 1:-1],
        "edge_14c": derive_edges(l2)[None, 1:-1, 1:-1],
    }


def _close_border(classes: npt.NDArray[np.uint8], block: _Block, size: int) -> None:
    """Let the scene end at its border: outside it, ``classes`` (a block and 1 px around) repeats the border pixels."""
    if block.row == 0:
        classes[0] = classes[1]
    if block.row + block.rows == block.scene.rows:
        classes[-1] = classes[-2]
    if block.column == 0:
        classes[:, 0] = classes[:, 1]
    if block.column + block.columns == block.scene.columns:
        classes[:, -1] = classes[:, -2]
