"""A simulated Cerrado in the layout of CerraData-4MM, so that the whole workflow runs without the download.

The land comes from :mod:`cerraseg.landscape`; this module gives it spectra and radar backscatter, cuts it into patches
and writes them. Class shares follow the published ones, but rare classes are raised to a floor of about 0.5 % each.
"""

import multiprocessing
import struct
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from math import ceil, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from cerraseg.errors import ConfigError
from cerraseg.files import replacing
from cerraseg.landscape import Bools, Floats, Ground, Landscape, Window, fractal
from cerraseg.logs import log, progress
from cerraseg.taxonomy import LEVELS, MSI_BANDS, SAR_BANDS

# Reflectance × 10,000 in the order of MSI_BANDS, then VV and VH on a linear scale; one line for growth stage 0 (dry,
# cut, clear) and one for stage 1 (green, grown, turbid). Shapes: water falls towards the SWIR, green leaves have the
# red edge, bare soil and roofs rise towards the SWIR. Neighbours overlap on purpose: V1 and V2, the crops through
# their stages, pasture and clearings. Radar keeps apart what the eye confuses: VH rises with woody volume.
_SPECTRA: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "Pa": (
        (390, 550, 850, 1330, 1800, 2060, 2260, 2360, 2600, 2620, 4500, 3350, 66, 57),
        (285, 370, 680, 580, 1180, 2180, 2520, 2670, 2870, 2850, 2650, 1500, 98, 88),
    ),
    "V1": (
        (255, 325, 540, 600, 1010, 1680, 1970, 2080, 2290, 2290, 2380, 1400, 116, 110),
        (195, 230, 430, 310, 730, 1960, 2420, 2530, 2730, 2680, 1650, 750, 140, 138),
    ),
    "V2": (
        (275, 355, 580, 640, 1070, 1730, 2040, 2160, 2370, 2370, 2500, 1520, 98, 84),
        (215, 260, 480, 360, 800, 2050, 2510, 2640, 2840, 2790, 1850, 870, 112, 104),
    ),
    "Wt": (
        (300, 350, 430, 320, 270, 200, 180, 160, 150, 140, 90, 60, 14, 11),
        (450, 600, 900, 900, 820, 560, 480, 420, 380, 330, 190, 130, 24, 17),
    ),
    "Mg": (
        (700, 950, 1400, 1850, 2150, 2350, 2500, 2650, 2800, 2800, 3900, 3400, 75, 48),
        (950, 1300, 1850, 2400, 2700, 2900, 3050, 3200, 3350, 3300, 4600, 4200, 110, 64),
    ),
    "UA": (
        (750, 950, 1200, 1400, 1600, 1900, 2050, 2200, 2350, 2350, 2700, 2250, 300, 185),
        (1150, 1450, 1750, 2000, 2150, 2400, 2500, 2650, 2750, 2750, 3300, 2900, 430, 250),
    ),
    "OB": (
        (700, 900, 1200, 1500, 1750, 2000, 2150, 2300, 2450, 2450, 3150, 2650, 190, 105),
        (1250, 1600, 1950, 2250, 2450, 2600, 2700, 2850, 2950, 2900, 3600, 3200, 330, 165),
    ),
    "Ft": (
        (220, 260, 480, 370, 800, 2050, 2550, 2700, 2900, 2850, 1900, 900, 128, 158),
        (195, 215, 420, 280, 690, 2250, 2850, 3050, 3250, 3200, 1650, 700, 142, 184),
    ),
    "PR": (
        (290, 370, 640, 640, 1080, 1900, 2250, 2400, 2600, 2600, 2650, 1600, 96, 92),
        (240, 290, 550, 400, 880, 2250, 2750, 2950, 3150, 3100, 2150, 1050, 112, 112),
    ),
    "SP": (
        (340, 440, 780, 850, 1320, 1950, 2250, 2400, 2650, 2650, 3300, 2150, 98, 74),
        (265, 340, 700, 460, 1050, 2550, 3150, 3400, 3600, 3550, 2400, 1150, 135, 108),
    ),
    "T1": (
        (480, 650, 950, 1400, 1750, 2050, 2200, 2350, 2600, 2650, 4400, 3450, 58, 40),
        (310, 410, 760, 560, 1180, 2600, 3250, 3500, 3700, 3650, 2800, 1500, 100, 82),
    ),
    "T1+": (
        (430, 570, 880, 1150, 1550, 2050, 2300, 2500, 2750, 2800, 3900, 2850, 68, 52),
        (260, 340, 700, 390, 980, 2850, 3650, 3900, 4100, 4000, 2300, 1050, 118, 98),
    ),
    "OU": (
        (420, 550, 790, 1030, 1350, 1640, 1800, 1920, 2160, 2180, 3400, 2650, 80, 62),
        (640, 820, 1120, 1420, 1720, 2020, 2150, 2270, 2460, 2480, 3700, 3000, 108, 80),
    ),
    "Df": (
        (350, 450, 630, 820, 1080, 1320, 1480, 1590, 1810, 1840, 3050, 2400, 88, 66),
        (390, 510, 780, 1030, 1410, 1820, 2040, 2170, 2440, 2450, 3800, 2750, 112, 90),
    ),
}
# How much a class's own texture (about N(0, 1)) moves its brightness, and its growth stage.
_ROUGHNESS = {
    "Pa": 0.04,
    "V1": 0.06,
    "V2": 0.11,
    "Wt": 0.02,
    "UA": 0.17,
    "Ft": 0.12,
    "PR": 0.12,
    "SP": 0.07,
    "Df": 0.13,
}
_PATCHINESS = {"Pa": 0.08, "V1": 0.1, "V2": 0.2, "Df": 0.2}
_SMOOTH = 0.05  # either, for the classes not named

_OFFSET = np.float32(1000)  # of the published reflectances
_ILLUMINATION = 0.2  # standard deviation of the smooth brightness factor: slopes and dates
_MOISTURE = 0.18  # the same for the radar: wet and dry ground
_HAZE_EVERYWHERE = 0.12  # standard deviation of the air's brightness, as a part of _HAZE
_CLOUD, _CLOUD_FROM = 1.7, 1.5  # thin cloud: where the air is this many deviations bright, times this
_SAR_FLOOR = np.float32(2.0)  # the radar's own noise over still water
_HAZE = np.array((1500, 1500, 1450, 1400, 1300, 1200, 1150, 1100, 1050, 1050, 700, 550), np.float32)
_TONE = np.linspace(0.12, 0.2, len(MSI_BANDS), dtype=np.float32)  # how much a field's tone moves a band
_NOISE = np.linspace(28, 70, len(MSI_BANDS), dtype=np.float32)  # sensor noise, standard deviation
_LOOKS = 4  # of the radar's speckle
_STAGES = 64  # steps of the table of spectra by growth stage: finer than the noise
_PAD = 1  # px around a block that the blur and the edges look at; both are written for 1

_PIXEL = 8.983e-5  # degrees: 10 m on the ground
_ORIGIN = (-48.2, -6.0)  # degrees east and north: the Bico do Papagaio
_ORIGIN_MARK = struct.pack("<2d", 1.2345678, 2.3456789)  # stands for west and north in a template
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
_PARENT = np.array([c.parent for c in LEVELS["l2"]], np.uint8)


class _Template(NamedTuple):
    """A GeoTIFF as GDAL wrote it, cut at its pixels: what stands before and after them, with a mark as origin."""

    head: bytes
    tail: bytes

    def write(self, path: Path, pixels: npt.NDArray[np.generic], west: float, north: float) -> None:
        """Write a file with these pixels (bands, size, size; contiguous) and this upper left corner in degrees."""
        origin = struct.pack("<2d", west, north)
        with path.open("wb") as file:
            file.write(self.head.replace(_ORIGIN_MARK, origin))
            file.write(pixels.data)
            file.write(self.tail.replace(_ORIGIN_MARK, origin))


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


def simulate(folder: Path, *, patches: int, seed: int, scenes: int = 1, size: int = 128, workers: int = 1) -> None:
    """Write ``patches`` simulated patches of ``size`` × ``size`` px of 10 m under ``folder``, replacing what is there.

    The six folders and their file names are those of CerraData-4MM on Kaggle: 12 MSI bands float32 (reflectance
    × 10,000 + 1,000), VV and VH float32 (linear scale), masks int32 of 7 and 14 classes, edges uint8 0/1 (1 where one
    of the 4 neighbours in the scene has another class). All are in EPSG:4326; the patches of a scene touch on one
    pixel grid, near-square, with the last row filled from the west; scenes lie apart. Ids are not consecutive.

    Equal arguments give equal bytes, whatever ``workers``. Every class is present from 25 patches of 128 px on, in
    every 640 × 640 px of ground. Raises ConfigError when an argument is out of its range.
    """
    _check(patches=patches, scenes=scenes, size=size, workers=workers, seed=seed)
    layout = list(_lay_out(patches, seed, scenes, size))
    blocks = [block for scene in layout for block in _blocks(scene, size)]
    with replacing(folder) as unfinished:
        for name in _PATTERNS:
            (unfinished / name).mkdir(parents=True)
        templates = {name: _template(name, size) for name in _PATTERNS}
        job = partial(_write_block, unfinished, templates, seed, size)
        counts = sum(progress(_map(job, blocks, workers), "simulate", len(blocks)), np.zeros(len(_PARENT), np.int64))
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
    west = _ORIGIN[0]
    for number, part in enumerate(np.array_split(ids, scenes)):
        columns = ceil(sqrt(len(part)))
        yield _Scene(number, part, columns, west, _ORIGIN[1])
        west += columns * size * _PIXEL + _SCENE_GAP


def _blocks(scene: _Scene, size: int) -> Iterator[_Block]:
    """Cut a scene into blocks of whole patches."""
    side = max(1, _BLOCK // size)
    for row in range(0, scene.rows, side):
        for column in range(0, scene.columns, side):
            yield _Block(scene, row, column, min(side, scene.rows - row), min(side, scene.columns - column))


def _map(job: "partial[npt.NDArray[np.int64]]", blocks: list[_Block], workers: int) -> Iterator[npt.NDArray[np.int64]]:
    """Run ``job`` on every block, here or in ``workers`` processes."""
    if min(workers, len(blocks)) == 1:
        yield from map(job, blocks)
        return
    # Spawned, not forked: the caller may hold threads (torch, GDAL), which a fork would break.
    with ProcessPoolExecutor(min(workers, len(blocks)), multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(job, blocks, chunksize=max(1, min(8, len(blocks) // (4 * workers))))


def _write_block(
    folder: Path, templates: dict[str, _Template], seed: int, size: int, block: _Block
) -> npt.NDArray[np.int64]:
    """Render one block, write its patches and return their pixels per L2 class."""
    layers = _render_block(block, seed, size)
    pixels = {name: np.empty((len(layer), size, size), layer.dtype) for name, layer in layers.items()}
    counts = np.zeros(len(_PARENT), np.int64)
    for r, c in np.ndindex(block.rows, block.columns):
        scene, row, column = block.scene, block.row + r, block.column + c
        if row * scene.columns + column >= len(scene.ids):
            continue
        patch_id = scene.ids[row * scene.columns + column]
        west, north = scene.west + column * size * _PIXEL, scene.north - row * size * _PIXEL
        for name, layer in layers.items():
            pixels[name][:] = layer[:, r * size : (r + 1) * size, c * size : (c + 1) * size]
            templates[name].write(folder / name / _PATTERNS[name].format(patch_id), pixels[name], west, north)
        counts += np.bincount(pixels["semantic_14c"].ravel(), minlength=len(counts))
    return counts


def _render_block(block: _Block, seed: int, size: int) -> dict[str, npt.NDArray[np.generic]]:
    """All layers of one block by folder name, each (bands, rows × size, columns × size)."""
    scene = block.scene
    inner = Window(block.row * size, block.column * size, block.rows * size, block.columns * size)
    window = Window(inner.top - _PAD, inner.left - _PAD, inner.height + 2 * _PAD, inner.width + 2 * _PAD)
    land = Landscape(seed, scene.number)
    ground = land.ground(window)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(scene.number, block.row, block.column)))
    msi, sar = _images(ground, land, inner, rng)
    l2 = ground.l2
    _close_border(l2, block, size)
    l1 = _PARENT[l2]
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


def _images(ground: Ground, land: Landscape, inner: Window, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """MSI (12, H, W) and SAR (2, H, W) of the ``inner`` window of ``ground``, which shows one pixel more around."""
    window = Window(inner.top - _PAD, inner.left - _PAD, inner.height + 2 * _PAD, inner.width + 2 * _PAD)
    stage = ground.stage + _by_class(_PATCHINESS).take(ground.l2) * ground.texture
    key = ground.l2 * np.intp(_STAGES) + (np.clip(stage, 0, 1) * (_STAGES - 1)).astype(np.intp)
    spectra, normals, speckles = _spectra_by_stage(), *_random_tables()
    relief = _by_class(_ROUGHNESS).take(ground.l2) * ground.texture
    light = (1 + relief) * (1 + _ILLUMINATION * fractal(land.salt["light"], window, (330, 140, 60)))
    soil = light * ground.tone
    air = fractal(land.salt["air"], inner, (380, 170, 60))
    haze = _HAZE_EVERYWHERE * air + _CLOUD * np.maximum(air - _CLOUD_FROM, 0)
    msi = np.empty((len(MSI_BANDS), inner.height, inner.width), np.float32)
    signal, factor = np.empty_like(light), np.empty_like(light)  # one pair for all bands: fresh memory costs as much
    for band, image in enumerate(msi):
        spectra[band].take(key, out=signal, mode="clip")
        np.multiply(soil, _TONE[band], out=factor)
        factor += light
        signal *= factor
        normals.take(rng.integers(0, normals.size, image.shape, np.uint16), out=image, mode="clip")
        image *= _NOISE[band]
        image += haze * _HAZE[band]
        image += _blur(signal)
        image += _OFFSET
    moist = (1 + 0.6 * relief) * (1 + _MOISTURE * fractal(land.salt["moisture"], window, (500, 130, 30)))
    sar = np.empty((len(SAR_BANDS), inner.height, inner.width), np.float32)
    for band, image in enumerate(sar):
        speckles.take(rng.integers(0, speckles.size, image.shape, np.uint16), out=image, mode="clip")
        image *= np.maximum(_blur(spectra[len(MSI_BANDS) + band].take(key, mode="clip") * moist), _SAR_FLOOR)
    return msi, sar


@cache
def _random_tables() -> tuple[Floats, Floats]:
    """65,536 draws each of sensor noise, N(0, 1), and of speckle, mean 1: picking from them is four times as fast as
    drawing anew for every pixel, and noise is half the work."""
    rng = np.random.default_rng(0)
    normals, speckles = rng.standard_normal(1 << 16, np.float32), rng.standard_gamma(_LOOKS, 1 << 16, np.float32)
    return normals, speckles * np.float32(1 / _LOOKS)


def _by_class(values: dict[str, float]) -> Floats:
    """A table by L2 class id of values by abbreviation."""
    return np.array([values.get(c.abbreviation, _SMOOTH) for c in LEVELS["l2"]], np.float32)


@cache
def _spectra_by_stage() -> Floats:
    """Signal (14 bands, classes × stages): from the spectrum at stage 0 to the one at stage 1."""
    ends = np.array([_SPECTRA[c.abbreviation] for c in LEVELS["l2"]], np.float32)  # (classes, 2, bands)
    stage = np.linspace(0, 1, _STAGES, dtype=np.float32)[:, None]
    return np.ascontiguousarray((ends[:, :1] * (1 - stage) + ends[:, 1:] * stage).reshape(-1, ends.shape[-1]).T)


def _blur(image: Floats) -> Floats:
    """Mix every pixel with its neighbours, as the sensor does; (H + 2, W + 2) → (H, W)."""
    rows = image[1:-1] * 2 + image[:-2] + image[2:]
    rows *= np.float32(1 / 16)
    blurred: Floats = rows[:, 1:-1] * 2 + rows[:, :-2] + rows[:, 2:]
    return blurred


def _template(name: str, size: int) -> _Template:
    """Let GDAL write a GeoTIFF of one kind and cut it at its pixels.

    A patch then costs six plain writes: through rasterio its six files take 6 ms, more than all else together.
    """
    bands, dtype = _BANDS[name]
    marks = np.random.default_rng(0).integers(0, 256, len(bands) * size * size * np.dtype(dtype).itemsize, np.uint8)
    profile = {"driver": "GTiff", "width": size, "height": size, "count": len(bands), "dtype": dtype}
    transform = from_origin(*struct.unpack("<2d", _ORIGIN_MARK), _PIXEL, _PIXEL)
    with MemoryFile() as memory:
        with memory.open(**profile, crs=CRS.from_epsg(4326), transform=transform, interleave="band") as dataset:
            dataset.descriptions = bands
            dataset.write(marks.view(dtype).reshape(len(bands), size, size))
        raw = memory.read()
    head, pixels, tail = raw.partition(marks.tobytes())
    if not pixels or (head + tail).count(_ORIGIN_MARK) != 1:
        raise RuntimeError(
            f"the GeoTIFF that GDAL wrote for {name} does not hold its pixels and its origin in one piece"
        )
    return _Template(head, tail)
