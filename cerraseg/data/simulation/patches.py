"""A simulated Cerrado in the layout of CerraData-4MM, so that the whole workflow runs without the download.

The land comes from :mod:`cerraseg.data.simulation.landscape` and its looks from :mod:`cerraseg.data.simulation.spectra`; this module lays out scenes,
cuts them into patches and writes them. Class shares follow the published ones, but rare classes are raised to a floor
of about 0.5 % each.
"""

from collections.abc import Iterator
from functools import partial
from math import ceil, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cerraseg.core.errors import ConfigError
from cerraseg.core.files import atomic_write
from cerraseg.data.simulation.tiff_template import Template, template
from cerraseg.data.simulation.window import Bools, Window, salts
from cerraseg.data.simulation.landscape import landscape
from cerraseg.core.logs import log, progress
from cerraseg.data.simulation.spectra import images
from cerraseg.core.taxonomy import LEVELS, MSI_BANDS, PARENTS, SAR_BANDS
from cerraseg.core.processes import process_map

_PAD = 1  # px around a block that the blur and the edges look at; both are written for 1
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
_BANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "msi_images": (MSI_BANDS, "float32"),
    "sar_images": (SAR_BANDS, "float32"),
    "semantic_7c": (("class",), "int32"),
    "semantic_14c": (("class",), "int32"),
    "edge_7c": (("edge",), "uint8"),
    "edge_14c": (("edge",), "uint8"),
}
PARENT = np.array(PARENTS, np.uint8)


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
    """Write ``patches`` simulated patches of ``size`` × ``size`` px of 10 m under ``folder``, replacing what is there.

    The six folders and their file names are those of CerraData-4MM on Kaggle: 12 MSI bands float32 (reflectance
    × 10,000 + 1,000), VV and VH float32 (linear scale), masks int32 of 7 and 14 classes, edges uint8 0/1 (1 where one
    of the 4 neighbours in the scene has another class). All are in EPSG:4326; the patches of a scene touch on one
    pixel grid, near-square, with the last row filled from the west; scenes lie apart. Ids are not consecutive.

    ``drift``, of about 0 to 1, is how much classes look different from region to region, see
    :func:`cerraseg.data.simulation.regions.looks`.

    Equal arguments give equal bytes, whatever ``workers``. Every class is present from 25 patches of 128 px on, in
    every 640 × 640 px of ground. Raises ConfigError when an argument is out of its range.
    """
    _check(patches=patches, scenes=scenes, size=size, workers=workers, seed=seed)
    layout = list(_lay_out(patches, seed, scenes, size))
    blocks = [block for scene in layout for block in _blocks(scene, size)]
    with atomic_write(folder) as unfinished:
        for name in _PATTERNS:
            (unfinished / name).mkdir(parents=True)
        templates = {name: template(*_BANDS[name], size, PIXEL) for name in _PATTERNS}
        job = partial(_write_block, unfinished, templates, seed, size, drift)
        counts = sum(progress(process_map(job, blocks, workers), "simulate", len(blocks)), np.zeros(len(PARENT), np.int64))
    shares = (f"{c.abbreviation} {n / counts.sum():.2%}" for c, n in zip(LEVELS["l2"], counts, strict=True))
    log.info("simulated %d patches in %d scene(s) under %s: %s", patches, scenes, folder, ", ".join(shares))


def _check(**numbers: int) -> None:
    """Raise ConfigError for a number that no landscape can have."""
    least = {"patches": 1, "scenes": 1, "size": 8, "workers": 1, "seed": 0}
    for name, value in numbers.items():
        if value < least[name]:
            raise ConfigError(f"simulate: {name} is {value}, expected at least {least[name]}; raise {name}.")
    if numbers["scenes"] > numbers["patches"]:
        raise ConfigError(
            f"simulate: {numbers['scenes']} scenes for {numbers['patches']} patches, expected at least one patch a "
            "scene; lower scenes or raise patches."
        )


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


def _write_block(
    folder: Path, templates: dict[str, Template], seed: int, size: int, drift: float, block: _Block
) -> npt.NDArray[np.int64]:
    """Render one block, write its patches and return their pixels per L2 class."""
    layers = _render_block(block, seed, size, drift)
    pixels = {name: np.empty((len(layer), size, size), layer.dtype) for name, layer in layers.items()}
    counts = np.zeros(len(PARENT), np.int64)
    for r, c in np.ndindex(block.rows, block.columns):
        scene, row, column = block.scene, block.row + r, block.column + c
        if row * scene.columns + column >= len(scene.ids):
            continue
        patch_id = scene.ids[row * scene.columns + column]
        west, north = scene.west + column * size * PIXEL, scene.north - row * size * PIXEL
        for name, layer in layers.items():
            pixels[name][:] = layer[:, r * size : (r + 1) * size, c * size : (c + 1) * size]
            templates[name].write(folder / name / _PATTERNS[name].format(patch_id), pixels[name], west, north)
        counts += np.bincount(pixels["semantic_14c"].ravel(), minlength=len(counts))
    return counts


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
    l1 = PARENT[l2]
    return {
        "msi_images": msi,
        "sar_images": sar,
        "semantic_7c": l1[None, 1:-1, 1:-1].astype(np.int32),
        "semantic_14c": l2[None, 1:-1, 1:-1].astype(np.int32),
        "edge_7c": _edges(l1)[None],
        "edge_14c": _edges(l2)[None],
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


def _edges(classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """1 where one of the 4 neighbours has another class; (H + 2, W + 2) → (H, W)."""
    inner = classes[1:-1, 1:-1]
    edges: Bools = (inner != classes[:-2, 1:-1]) | (inner != classes[2:, 1:-1])
    edges |= (inner != classes[1:-1, :-2]) | (inner != classes[1:-1, 2:])
    return edges.astype(np.uint8)
