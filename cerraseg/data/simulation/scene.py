"""A simulated scene to map: ground like that of the simulated patches, but none of theirs."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio import Affine, windows
from rasterio.crs import CRS
from rasterio.transform import array_bounds
from rasterio.warp import Resampling, calculate_default_transform, reproject, transform

from cerraseg.data.masks import roll_up
from cerraseg.geo.cog import new_map
from cerraseg.core.files import atomic_write
from cerraseg.data.simulation.window import Bools, Floats, Window, salts
from cerraseg.data.simulation.landscape import landscape
from cerraseg.core.logs import log
from cerraseg.data.simulation.patches import ORIGIN, PIXEL
from cerraseg.data.simulation.spectra import images
from cerraseg.core.taxonomy import IGNORE, LEVELS, MSI_BANDS, SAR_BANDS
from cerraseg.geo.rasters import WGS84, check_written, checksum

_NUMBER = 2**32 - 1  # of the scene among those of the seed: no data set has as many
_CRS, _DEGREES = CRS.from_epsg(32722), WGS84
_NORTH_OF_PATCHES = 0.02  # degrees between the scene and the patches, which begin at ORIGIN and go south
_MARGIN = 32  # px of ground around the scene: what the radar's turned grid sees more
_WEDGE = (0.6, 0.25)  # height and width, in parts of the scene, of the corner beyond the swath
_NO_DATA = 0.0  # of MSI and SAR


def simulate_scene(folder: Path, *, width: int, height: int, seed: int, drift: float = 0.0) -> None:
    """Write one simulated scene of ``width`` × ``height`` px of 10 m under ``folder``, replacing what is there.

    It shows ground as the patches of the same ``seed`` and ``drift`` do, north of all of them. ``msi.tif`` (12 bands
    float32, reflectance × 10,000 + 1,000, UTM zone 22 south) is no data (0) beyond the swath, in its north-western
    corner. ``sar.tif`` (VV and VH float32, linear scale, EPSG:4326) has another grid, and no data (0) around it.
    ``truth_l1.tif`` and ``truth_l2.tif`` are class maps on the grid of ``msi.tif``, uint8, 255 where that has no data.
    Equal arguments give equal bytes. The scene is rendered at once, in about 150 bytes a pixel.
    """
    salt = salts(seed, _NUMBER)
    inner = Window(0, 0, height + 2 * _MARGIN, width + 2 * _MARGIN)
    ground = landscape(salt, Window(-1, -1, inner.height + 2, inner.width + 2))
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_NUMBER,)))
    msi, sar = images(ground, salt, inner, rng, drift)
    own = slice(_MARGIN, -_MARGIN)
    msi, l2 = msi[:, own, own], ground.l2[1:-1, 1:-1][own, own]
    beyond = _beyond_swath(height, width)
    msi[:, beyond] = _NO_DATA
    grid = _grid(height)
    with atomic_write(folder) as unfinished:
        unfinished.mkdir(parents=True)
        _write(unfinished / "msi.tif", msi, MSI_BANDS, _CRS, grid)
        _write_sar(unfinished / "sar.tif", sar, grid)
        for level, classes in (("l1", roll_up(l2)), ("l2", l2)):
            looks: dict[str, Any] = {"crs": _CRS, "transform": grid, "classes": LEVELS[level]}
            with new_map(unfinished / f"truth_{level}.tif", shape=l2.shape, **looks) as draft:
                draft.write(0, 0, np.where(beyond, IGNORE, classes).astype(np.uint8))
    log.info("simulated a scene of %d x %d px under %s", width, height, folder)


def _beyond_swath(height: int, width: int) -> Bools:
    row, column = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    beyond: Bools = row[:, None] / _WEDGE[0] + column / _WEDGE[1] < 1
    return beyond


def _grid(height: int) -> Affine:
    """Pixels of 10 m on whole tens of metres, as Sentinel-2's are."""
    (east,), (north,) = transform(_DEGREES, _CRS, [ORIGIN[0]], [ORIGIN[1] + _NORTH_OF_PATCHES])
    return Affine(10, 0, round(east, -1), 0, -10, round(north, -1) + 10 * height)


def _write_sar(path: Path, sar: Floats, grid: Affine) -> None:
    """Write the radar image, which shows a margin around ``grid``, in degrees."""
    height, width = sar.shape[1:]
    grid = Affine(10, 0, grid.c - 10 * _MARGIN, 0, -10, grid.f + 10 * _MARGIN)
    bounds = array_bounds(height, width, grid)
    target, columns, rows = calculate_default_transform(_CRS, _DEGREES, width, height, *bounds, resolution=PIXEL)
    warped = np.empty((len(sar), rows, columns), np.float32)
    georeference = {"src_crs": _CRS, "src_transform": grid, "dst_crs": _DEGREES, "dst_transform": target}
    reproject(sar, warped, **georeference, init_dest_nodata=True, dst_nodata=_NO_DATA, resampling=Resampling.nearest)
    _write(path, warped, SAR_BANDS, _DEGREES, target)


def _write(path: Path, image: npt.NDArray[np.float32], bands: tuple[str, ...], crs: CRS, grid: Affine) -> None:
    profile = {"driver": "GTiff", "dtype": "float32", "count": len(bands), "nodata": _NO_DATA, "crs": crs}
    size = {"height": image.shape[1], "width": image.shape[2], "transform": grid}
    storage = {"tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "band", "compress": "deflate"}
    with rasterio.Env(), rasterio.open(path, "w", **profile, predictor=3, **size, **storage) as file:
        file.descriptions = bands
        file.write(image)
    check_written(path, {windows.Window(0, 0, image.shape[2], image.shape[1]): checksum(image)})
