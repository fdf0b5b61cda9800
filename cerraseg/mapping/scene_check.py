"""Check a scene before anything is mapped, and write its facts, its picture and its reference."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.core.content import content
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import IGNORE, LEVELS, MODALITIES
from cerraseg.geo.cog import NO_DATA
from cerraseg.mapping import scene
from cerraseg.mapping.map_files import Raster, write_map, write_parents
from cerraseg.mapping.scene import SceneFiles, SceneGrid
from cerraseg.mapping.true_colour import scene_image

Floats = NDArray[np.float32]


def survey(
    files: SceneFiles, modality: str, trained: Mapping[str, Any], path: Path, *, resampling: str, scale: bool
) -> SceneGrid:
    """Check a scene and write its facts.

    Args:
        modality: whose bands it must have.
        trained: band → its statistics in training, see :mod:`cerraseg.data.statistics`.
        path: JSON to write: grid, whether a raster is warped, by band the range and mean of a sample and of training,
            and the SHA-256 of the files.
        resampling: see :func:`cerraseg.mapping.scene.open_scene`.
        scale: whether to check that it has the units of the training patches.

    Returns:
        The grid of its map.

    Raises:
        DataError: if the scene cannot be mapped.
    """
    with scene.open_scene(files, modality, resampling) as image:
        sample = image.sample()
    if not sample.size:
        raise DataError(f"scene {files.name} has no pixel with data in all of its bands; expected an image: look at it")
    if scale:
        check_scale(files.name, image.bands, sample, trained)
    facts = {
        "name": files.name,
        "crs": image.grid.crs.to_string(),
        "transform": list(image.grid.transform)[:6],
        "shape": image.grid.shape,
        "warped": image.warped,
        "bands": {
            band: {
                "mean": float(pixels.mean(dtype=float)),
                "min": float(pixels.min()),
                "max": float(pixels.max()),
                "training": {name: trained[band][name] for name in ("mean", "min", "max")},
            }
            for band, pixels in zip(image.bands, sample, strict=True)
        },
        "sha256": {sensor: content(file).sha256 for sensor, (file, _) in files.rasters.items()},
    }
    with atomic_write(path) as part:
        part.write_text(json.dumps(facts, indent=2) + "\n")
    return image.grid


def check_scale(name: str, bands: Sequence[str], sample: Floats, trained: Mapping[str, Any]) -> None:
    """Check that a sample (bands, N) of a scene has the units of the training patches.

    Raises:
        DataError: if the bands of a sensor are on another scale: most values negative where training had none, or none
            where training's mean is negative (decibels against a linear scale), or every band's mean 20 times larger or
            smaller (reflectance of 0 to 1 against 0 to 10,000).
    """
    for sensor in ("msi", "sar"):
        ours = {b: pixels for b, pixels in zip(bands, sample, strict=True) if b in MODALITIES[sensor]}
        if ours and (fault := _scale_fault([(pixels, trained[band]) for band, pixels in ours.items()])):
            listed = [
                f"{band} {pixels.mean(dtype=float):.4g} ({pixels.min():.4g} to {pixels.max():.4g}), training "
                "{mean:.4g} ({min:.4g} to {max:.4g})".format(**trained[band])
                for band, pixels in ours.items()
            ]
            raise DataError(
                f"scene {name}: its {sensor} bands are not on the scale that the models were trained on: {fault}. "
                f"{'; '.join(listed)}. Expected the units of the training patches: convert the scene, or set "
                "maps.check_scale: false to map it as it is"
            )


def _scale_fault(bands: Sequence[tuple[Floats, Mapping[str, float]]]) -> str | None:
    if all(trained["min"] >= 0 and np.mean(pixels < 0) > 0.5 for pixels, trained in bands):
        return "most values are negative, as in decibels, and no training value was"
    if all(trained["mean"] < 0 and pixels.min() >= 0 for pixels, trained in bands):
        return "no value is negative, as on a linear scale, and most training values were, as in decibels"
    ratios = [float(np.abs(pixels).mean(dtype=float)) / max(abs(trained["mean"]), 1e-12) for pixels, trained in bands]
    if max(ratios) < 1 / 20 or min(ratios) > 20:
        return f"the means are {min(ratios):.3g} to {max(ratios):.3g} times those of training"
    return None


def write_picture(files: SceneFiles, path: Path, *, tags: Mapping[str, str]) -> None:
    """Write the picture of a scene (:func:`scene_image`), of its MSI raster if it has one."""
    sensor, (file, names) = next(iter(files.rasters.items()))
    with scene.open_scene_raster(files.name, sensor, file) as dataset, scene.readable(dataset):
        indexes = scene.band_indexes(files.name, dataset, sensor, names)
        scene_image(dataset, dict(zip(MODALITIES[sensor], indexes, strict=True)), path, tags=tags)


def write_reference(
    name: str, reference: Path, level: str, grid: SceneGrid, folder: Path, *, tags: Mapping[str, str], threads: int
) -> None:
    """Bring a mask of class ids onto the grid of a scene by the nearest pixel.

    Args:
        reference: raster of class ids; 255 and the file's no-data value have no reference.
        level: its level. One of ``l2`` is written as ``l1``, too.
        folder: folder to write ``<level>/truth.tif`` into.
        tags, threads: see :func:`cerraseg.geo.cog.new_map`.

    Raises:
        DataError: if a value is no class of ``level``, or the mask lies elsewhere.
    """
    target = folder / level / "truth.tif"
    opened = scene.open_scene_raster(name, "reference", reference)
    with opened as dataset, scene.warp(name, dataset, grid, "nearest") as warped:

        def read(window: Window) -> Raster:
            with scene.readable(warped):
                return _class_ids(name, warped.read(1, window=window), len(LEVELS[level]))

        write_map(target, grid, read, classes=LEVELS[level], tags=tags, threads=threads)
    if level == "l2":
        write_parents(target, folder / "l1" / "truth.tif", tags, threads)


def _class_ids(name: str, values: Floats, classes: int) -> Raster:
    known = np.isfinite(values) & (values != IGNORE)
    bad = known & ~np.isin(values, np.arange(classes))
    if bad.any():
        raise DataError(
            f"scene {name}: its reference holds the value {values[bad][0]:g}; expected class ids of 0 to "
            f"{classes - 1}, or {IGNORE} for no reference: correct the mask, or its reference_level"
        )
    return np.where(known, values, NO_DATA).astype(np.uint8)
