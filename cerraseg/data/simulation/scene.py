"""A simulated scene to map: ground like that of the simulated patches, but none of theirs."""

from pathlib import Path
from typing import Any

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import reproject, transform

from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.masks import roll_up
from cerraseg.data.simulation.landscape import landscape
from cerraseg.data.simulation.patches import ORIGIN, PIXEL, write_tif
from cerraseg.data.simulation.spectra import images
from cerraseg.data.simulation.window import (
    CERRADATA,
    MSI_BANDS,
    PARENTS,
    SAR_BANDS,
    Bools,
    Floats,
    Window,
    salts,
)
from cerraseg.geo.cog import new_map
from cerraseg.geo.rasters import WGS84

_NUMBER = 2**32 - 1  # of the scene among those of the seed: no data set has as many
_CRS = CRS.from_epsg(32722)
_NORTH_OF_PATCHES = 0.02  # degrees between the scene and the patches, which begin at ORIGIN and go south
_MARGIN = 32  # px of ground around the scene: what the radar's turned grid sees more
_WEDGE = (0.6, 0.25)  # height and width, in parts of the scene, of the corner beyond the swath
_NO_DATA = 0.0  # of MSI and SAR
_TILES = {"tiled": True, "blockxsize": 256, "blockysize": 256}
_STORAGE: dict[str, Any] = {"nodata": _NO_DATA, "compress": "deflate", "predictor": 3, **_TILES}


def simulate_scene(folder: Path, *, width: int, height: int, seed: int, drift: float = 0.0) -> None:
    """Write one simulated scene of ``width`` × ``height`` px of 10 m under ``folder``, replacing what is there.

    It shows ground as the patches of the same ``seed`` and ``drift`` do, north of all of them: ``msi.tif`` (as patches,
    but in UTM zone 22 south, and no data, 0, in its north-western corner), ``sar.tif`` (as patches, 0 around it),
    ``truth_l1.tif`` and ``truth_l2.tif`` (class maps on the grid of ``msi.tif``, uint8, 255 where that has no data).
    """
    salt = salts(seed, _NUMBER)
    inner = Window(0, 0, height + 2 * _MARGIN, width + 2 * _MARGIN)
    ground = landscape(salt, inner.padded(1))
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_NUMBER,)))
    msi, sar = images(ground, salt, inner, rng, drift)
    own = slice(_MARGIN, -_MARGIN)
    msi, l2 = msi[:, own, own], ground.l2[1:-1, 1:-1][own, own]
    beyond = _beyond_swath(height, width)
    msi[:, beyond] = _NO_DATA
    grid = _grid(height)
    with atomic_write(folder) as unfinished:
        unfinished.mkdir(parents=True)
        write_tif(unfinished / "msi.tif", msi, MSI_BANDS, crs=_CRS, transform=grid, **_STORAGE)
        _write_sar(unfinished / "sar.tif", sar, grid)
        for level, classes in (("l1", roll_up(l2, PARENTS)), ("l2", l2)):
            path, legend = unfinished / f"truth_{level}.tif", CERRADATA.classes(level)
            with new_map(path, shape=l2.shape, crs=_CRS, transform=grid, classes=legend) as draft:
                draft.write(0, 0, np.where(beyond, IGNORE, classes).astype(np.uint8))
    log.info("simulated a scene of %d x %d px under %s", width, height, folder)


def _beyond_swath(height: int, width: int) -> Bools:
    row, column = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    beyond: Bools = row[:, None] / _WEDGE[0] + column / _WEDGE[1] < 1
    return beyond


def _grid(height: int) -> Affine:
    """Pixels of 10 m on whole tens of metres, as Sentinel-2's are."""
    (east,), (north,) = transform(WGS84, _CRS, [ORIGIN[0]], [ORIGIN[1] + _NORTH_OF_PATCHES])
    return Affine(10, 0, round(east, -1), 0, -10, round(north, -1) + 10 * height)


def _write_sar(path: Path, sar: Floats, grid: Affine) -> None:
    """Write the radar image, which shows a margin around ``grid``, in degrees."""
    grid = grid * Affine.translation(-_MARGIN, -_MARGIN)
    source = {"src_crs": _CRS, "src_transform": grid}
    warped, target = reproject(sar, **source, dst_crs=WGS84, dst_resolution=(PIXEL, PIXEL), dst_nodata=_NO_DATA)
    write_tif(path, warped, SAR_BANDS, crs=WGS84, transform=target, **_STORAGE)
