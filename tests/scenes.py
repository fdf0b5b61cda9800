"""Small scenes and a small model that tests map them with."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import Affine, from_origin

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import known_names
from cerraseg.geo.images import ImageFiles
from cerraseg.mapping.scene import SceneFiles
from cerraseg.mapping.tiles import tile_starts
from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Blueprint, Segmenter, describe

CERRADATA = Dataset.of("cerradata-4mm")
NAMES = known_names(CERRADATA)
UTM = "EPSG:32722"
CORNER = from_origin(600000, 8300000, 10, 10)
TRAINED = {band: {"mean": 2000.0, "std": 500.0, "min": 100.0, "max": 9000.0} for band in CERRADATA.bands("msi")}
TRAINED |= {band: {"mean": 100.0, "std": 50.0, "min": 1.0, "max": 900.0} for band in CERRADATA.bands("sar")}


def write_raster(
    path: Path,
    array: NDArray,
    bands: tuple[str, ...] = (),
    *,
    crs: str | None = UTM,
    transform: Affine = CORNER,
    **further: Any,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = array.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": array.dtype, "crs": crs}
    with rasterio.open(path, "w", transform=transform, **profile, **further) as target:
        target.write(array)
        for place, band in enumerate(bands, 1):
            target.set_band_description(place, band)
    return path


def pixels(modality: str, height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Values around those of training, unlike from pixel to pixel and band to band."""
    rng = np.random.default_rng(seed)
    bands = CERRADATA.bands(modality)
    level = np.array([TRAINED[band]["mean"] for band in bands])[:, None, None]
    return (level * rng.uniform(0.5, 1.5, (len(bands), height, width))).astype(np.float32)


def write_scene(folder: Path, height: int, width: int, *, nodata: float | None = None) -> SceneFiles:
    """A scene of both modalities on one grid."""
    for layer in ("msi", "sar"):
        write_raster(folder / f"{layer}.tif", pixels(layer, height, width), CERRADATA.bands(layer), nodata=nodata)
    return scene_files(msi=folder / "msi.tif", sar=folder / "sar.tif")


def scene_files(**rasters: Path) -> SceneFiles:
    """A scene of one raster per sensor."""
    return SceneFiles("somewhere", {sensor: ImageFiles((path,)) for sensor, path in rasters.items()})


def write_model(path: Path, modality: str = "concat", level: str = "l1", hierarchical: bool = False) -> Path:
    """A checkpoint of a small U-Net with random parameters."""
    torch.manual_seed(0)
    trained = {band: TRAINED[band] for band in CERRADATA.bands(modality)}
    mean, std = (tuple(of[key] for of in trained.values()) for key in ("mean", "std"))
    settings = {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": [16, 16, 8]}
    described = describe(CERRADATA, modality, level)
    blueprint = Blueprint("unet", settings, modality, level, described, mean, std, hierarchical, trained)
    checkpoint.save(path, blueprint, Segmenter(blueprint).net.state_dict(), {})
    return path


def seams(layer: NDArray, overlap: float) -> float:
    """Mean jump of probabilities (classes, H, W) across the tiles' edges over that between all other neighbours."""
    on_edges, inside = [], []
    for side in (layer.astype(float), layer.transpose(0, 2, 1).astype(float)):
        jumps = np.abs(np.diff(side, axis=2)).mean((0, 1))
        edges = tile_edges(side.shape[2], overlap)
        on_edges += list(jumps[edges])
        inside += list(np.delete(jumps, edges))
    return float(np.mean(on_edges) / np.mean(inside))


def tile_edges(length: int, overlap: float) -> list[int]:
    """Return the last pixel before each edge of a tile along a side of a scene."""
    size = CERRADATA.patch_size
    firsts = tile_starts(length, size, overlap)
    return sorted({edge - 1 for first in firsts for edge in (first, first + size) if 0 < edge < length})
