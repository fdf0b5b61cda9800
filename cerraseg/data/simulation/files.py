"""The files of a simulated land, which need no download: patches in the layout of CerraData-4MM, and a scene to map."""

import json
from functools import partial
from itertools import product
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.warp import reproject, transform

from cerraseg.core.errors import ConfigError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress
from cerraseg.core.processes import process_map
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.masks import derive_edges, roll_up
from cerraseg.data.simulation.ceiling import ceilings, draw_sample
from cerraseg.data.simulation.images import render
from cerraseg.data.simulation.land import CERRADATA, PARENTS, Land, Window
from cerraseg.geo.rasters import WGS84

_PIXEL = 8.983e-5  # degrees: 10 m on the ground
_ORIGIN = (-48.2, -6.0)  # degrees east and north: the Bico do Papagaio
_PATTERNS = {  # of file names, by folder
    "msi_images": "parrot_beak_ms_{}.tif",
    "sar_images": "parrot_beak_sar_{}.tif",
    "semantic_7c": "mask_parrot_beak_7classes_{}.tif",
    "semantic_14c": "parrot_beak_terraclass_classes_14c_{}.tif",
    "edge_7c": "edge_parrot_beak_7c_{}.tif",
    "edge_14c": "edge_parrot_beak_14c_{}.tif",
    "truth_7c": "truth_7c_{}.tif",
    "truth_14c": "truth_14c_{}.tif",
}
_UTM = CRS.from_epsg(32722)
_MARGIN = 32  # px of ground around the scene to map: what the radar's turned grid sees more


def simulate(
    folder: Path, *, patches: int, seed: int, scenes: int = 1, size: int = 128, workers: int = 1, **settings: Any
) -> None:
    """Write simulated patches of ``size`` px in EPSG:4326 under ``folder``, replacing what is there.

    Six folders and their file names are those of CerraData-4MM on Kaggle: 12 MSI bands float32 (reflectance × 10,000
    + 1,000), VV and VH float32 (linear scale), masks int32 of 7 and 14 classes, edges uint8 0/1. With label noise,
    truth_7c and truth_14c have masks without. ``ceiling.json`` has the result of :func:`ceilings`. Equal arguments give
    equal bytes, whatever ``workers``. Patches touch; scenes lie apart. ``settings`` are of the :class:`Land`.
    """
    if scenes > patches:
        raise ConfigError(f"simulate: {scenes} scenes for {patches} patches, expected at least one patch per scene")
    drawn = np.random.default_rng((seed, patches)).choice(max(43_000, patches * 7 // 5), patches, replace=False)
    ids = [7, 13, *sorted(50 + drawn)][:patches]  # their order as text differs from that as numbers
    grid, jobs = Affine(_PIXEL, 0, _ORIGIN[0], 0, -_PIXEL, _ORIGIN[1]), []
    for scene, part in enumerate(np.array_split(ids, scenes)):
        land, columns = Land(seed, scene, **settings), ceil(sqrt(len(part)))
        for place, id_ in enumerate(part.tolist()):
            top, left = size * (place // columns), size * (place % columns)
            jobs.append((land, id_, (top, left, size, size), grid * Affine.translation(left, top)))
        grid *= Affine.translation(columns * size + 557, 0)  # 5 km apart
    with atomic_write(folder) as unfinished:
        for name in _PATTERNS:
            if land.label_noise or not name.startswith("truth"):
                (unfinished / name).mkdir(parents=True)
        written = process_map(partial(_write_patch, unfinished), jobs, workers)
        highest = ceilings([*progress(written, "simulate", patches)])
        (unfinished / "ceiling.json").write_text(json.dumps(highest) + "\n")
    log.info("simulated %d patches in %d scene(s) under %s; ceilings of macro F1: %s", patches, scenes, folder, highest)


def _write_patch(folder: Path, place: tuple[Land, int, Window, Affine]) -> tuple[NDArray[Any], ...]:
    land, id_, window, grid = place
    images, ground = render(land, window)
    layers: dict[str, NDArray[Any]] = {"msi_images": images[:-2], "sar_images": images[-2:]}
    for level, parents in (("7c", PARENTS), ("14c", range(len(PARENTS)))):
        labels, truth = roll_up(ground.labels, parents), roll_up(ground.l2, parents)
        masks: tuple[NDArray[Any], ...] = labels.astype(np.int32), derive_edges(labels), truth.astype(np.int32)
        names = (f"{name}_{level}" for name in ("semantic", "edge", "truth"))
        layers |= zip(names, (mask[None, 1:-1, 1:-1] for mask in masks), strict=True)
    for name, pattern in _PATTERNS.items():
        if (folder / name).is_dir():
            _write_tif(folder / name / pattern.format(id_), layers[name], WGS84, grid)
    return draw_sample(images, ground)


def _write_tif(path: Path, image: NDArray[Any], crs: CRS, grid: Affine, **profile: Any) -> None:
    """Write a GeoTIFF (bands, height, width) by way of memory, as GDAL may not report a full disk."""
    count, height, width = image.shape
    profile |= {"count": count, "height": height, "width": width, "dtype": image.dtype, "crs": crs, "transform": grid}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", interleave="band", **profile) as file:
            file.descriptions = {12: CERRADATA.bands("msi"), 2: CERRADATA.bands("sar")}.get(count, ("class",))
            file.write(image)
        path.write_bytes(memory.read())


def simulate_scene(folder: Path, *, width: int, height: int, seed: int, **settings: Any) -> None:
    """Write one simulated scene of px of 10 m, north of all patches, under ``folder``, replacing what is there.

    ``msi.tif`` is as patches are, but in UTM zone 22 south and no data, 0, in its north-western corner; ``sar.tif`` as
    patches are, 0 around it; ``truth_l1.tif`` and ``truth_l2.tif`` are classes without label noise, 255 for no data.
    """
    land = Land(seed, 2**32 - 1, **settings)  # no data set has as many scenes
    shape, own = (height + 2 * _MARGIN, width + 2 * _MARGIN), slice(_MARGIN, -_MARGIN)
    images, l2 = np.empty((len(CERRADATA.bands()), *shape), np.float32), np.empty(shape, np.uint8)
    for top, left in product(range(0, shape[0], 256), range(0, shape[1], 256)):
        tile = slice(top, top + 256), slice(left, left + 256)
        images[:, *tile], ground = render(land, (top, left, *l2[tile].shape))
        l2[tile] = ground.l2[1:-1, 1:-1]
    # The swath ends in a corner of 0.6 of the height and 0.25 of the width.
    beyond = (np.arange(height)[:, None] + 0.5) / (0.6 * height) + (np.arange(width) + 0.5) / (0.25 * width) < 1
    # Pixels of 10 m on whole tens of metres, as Sentinel-2's are, 0.02 degrees north of the patches.
    (east,), (north,) = transform(WGS84, _UTM, [_ORIGIN[0]], [_ORIGIN[1] + 0.02])
    grid = Affine(10, 0, round(east, -1), 0, -10, round(north, -1) + 10 * height)
    source = {"src_crs": _UTM, "src_transform": grid * Affine.translation(-_MARGIN, -_MARGIN), "dst_crs": WGS84}
    storage: dict[str, Any] = {"nodata": 0, "compress": "deflate", "predictor": 3, "tiled": True}
    sar, sar_grid = reproject(images[-2:], **source, dst_resolution=(_PIXEL, _PIXEL), dst_nodata=0)
    with atomic_write(folder) as unfinished:
        unfinished.mkdir(parents=True)
        _write_tif(unfinished / "msi.tif", images[:-2, own, own] * ~beyond, _UTM, grid, **storage)
        _write_tif(unfinished / "sar.tif", sar, WGS84, sar_grid, **storage)
        for level, classes in (("l1", roll_up(l2, PARENTS)), ("l2", l2)):
            truth = np.where(beyond, IGNORE, classes[own, own]).astype(np.uint8)[None]
            _write_tif(
                unfinished / f"truth_{level}.tif", truth, _UTM, grid, **storage | {"nodata": IGNORE, "predictor": 2}
            )
    log.info("simulated a scene of %d x %d px under %s", width, height, folder)
