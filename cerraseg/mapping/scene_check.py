"""Check a scene before anything is mapped, and write its facts, its picture and its reference."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.core.content import content
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import IGNORE, LEVELS, MODALITIES
from cerraseg.data.masks import roll_up
from cerraseg.geo.cog import CHUNK, NO_DATA, new_map
from cerraseg.mapping import scene
from cerraseg.mapping.scene import SceneFiles, SceneGrid
from cerraseg.mapping.true_colour import scene_image


def survey(
    files: SceneFiles,
    modality: str,
    trained: Mapping[str, Any],
    path: Path,
    *,
    resampling: str,
    scale: bool,
) -> SceneGrid:
    """Check a scene and write its facts.

    Args:
        files: its rasters.
        modality: whose bands it must have.
        trained: band → its statistics in training, see :mod:`cerraseg.data.statistics`.
        path: JSON to write: grid, whether a raster is warped, by band the range and mean of a sample and of training,
            and the SHA-256 of the files.
        resampling: name of rasterio's resampling for a raster on another grid.
        scale: whether to check that it has the units of the training patches.

    Returns:
        The grid of its map.

    Raises:
        DataError: if the scene cannot be mapped.
    """
    with scene.open_scene(files, modality, resampling) as image:
        sample = image.sample()
        if not sample.size:
            raise DataError(
                f"scene {files.name} has no pixel with data in all of its bands; expected an image: look at it"
            )
        for line in compare_scale(image.bands, sample, trained).values():
            log.info(line)
        if scale:
            check_scale(files.name, image.bands, sample, trained)
        grid, warped = image.grid, image.warped
    bands = {
        band: {
            "mean": float(pixels.mean(dtype=float)),
            "min": float(pixels.min()),
            "max": float(pixels.max()),
            "training": {name: trained[band][name] for name in ("mean", "min", "max")},
        }
        for band, pixels in zip(image.bands, sample, strict=True)
    }
    found = {
        "name": files.name,
        "crs": grid.crs.to_string(),
        "transform": list(grid.transform)[:6],
        "shape": grid.shape,
        "warped": warped,
        "bands": bands,
        "sha256": {layer: content(file).sha256 for layer, file in (("msi", files.msi), ("sar", files.sar)) if file},
    }
    with atomic_write(path) as part:
        part.write_text(json.dumps(found, indent=2) + "\n")
    return grid


def check_scale(name: str, bands: Sequence[str], sample: NDArray[np.float32], trained: Mapping[str, Any]) -> None:
    """Check that a scene has the units of the training patches.

    Args:
        name: name of the scene.
        bands: its bands.
        sample: pixels (bands, N) of it.
        trained: band → ``mean``, ``min`` and ``max`` in training.

    Raises:
        DataError: if the bands of a modality are on another scale: most values negative where training had none, or
            none where training's mean is negative (decibels against a linear scale), or every band's mean 20 times
            larger or smaller (reflectance of 0 to 1 against 0 to 10,000).
    """
    lines = compare_scale(bands, sample, trained)
    for layer in ("msi", "sar"):
        ours = [
            (pixels, trained[band]) for band, pixels in zip(bands, sample, strict=True) if band in MODALITIES[layer]
        ]
        if ours and (fault := _scale_fault(ours)):
            listed = "; ".join(lines[band] for band in bands if band in MODALITIES[layer])
            raise DataError(
                f"scene {name}: its {layer} bands are not on the scale that the models were trained on: {fault}. "
                f"{listed}. Expected the units of the training patches: convert the scene, or set maps.check_scale: "
                "false to map it as it is"
            )


def compare_scale(bands: Sequence[str], sample: NDArray[np.float32], trained: Mapping[str, Any]) -> dict[str, str]:
    """Describe, by band, mean and range of a sample (bands, N) beside those of training."""
    return {
        band: f"{band} {pixels.mean(dtype=float):.4g} ({pixels.min():.4g} to {pixels.max():.4g}), "
        f"training {trained[band]['mean']:.4g} ({trained[band]['min']:.4g} to {trained[band]['max']:.4g})"
        for band, pixels in zip(bands, sample, strict=True)
    }


def _scale_fault(bands: Sequence[tuple[NDArray[np.float32], Mapping[str, float]]]) -> str | None:
    if all(trained["min"] >= 0 and np.mean(pixels < 0) > 0.5 for pixels, trained in bands):
        return "most values are negative, as in decibels, and no training value was"
    if all(trained["mean"] < 0 and pixels.min() >= 0 for pixels, trained in bands):
        return "no value is negative, as on a linear scale, and most training values were, as in decibels"
    ratios = [float(np.abs(pixels).mean(dtype=float)) / max(abs(trained["mean"]), 1e-12) for pixels, trained in bands]
    if max(ratios) < 1 / 20 or min(ratios) > 20:
        return f"the means are {min(ratios):.3g} to {max(ratios):.3g} times those of training"
    return None


def write_picture(files: SceneFiles, path: Path, *, tags: Mapping[str, str]) -> None:
    """Write the picture of a scene (:func:`true_colour.scene_image`), of its MSI raster if it has one."""
    layers = (("msi", files.msi, files.msi_bands), ("sar", files.sar, files.sar_bands))
    layer, file, names = next((layer, file, names) for layer, file, names in layers if file)
    with scene.open_scene_raster(files.name, layer, file) as dataset:
        indexes = scene.band_indexes(files.name, dataset, layer, names)
    scene_image(file, dict(zip(MODALITIES[layer], indexes, strict=True)), path, tags=tags)


def write_reference(
    name: str, reference: Path, level: str, grid: SceneGrid, folder: Path, *, tags: Mapping[str, str], threads: int
) -> None:
    """Bring a mask of class ids onto the grid of a scene by the nearest pixel.

    Args:
        name: name of the scene.
        reference: raster of class ids; 255 and the file's no-data value have no reference.
        level: its level. One of ``l2`` is written as ``l1``, too.
        grid: grid of the scene.
        folder: folder to write ``<level>/truth.tif`` into.
        tags: further metadata of the files.
        threads: threads that compress.

    Raises:
        DataError: if a value is no class of ``level``, or the mask lies elsewhere.
    """
    with ExitStack() as stack:
        dataset = stack.enter_context(scene.open_scene_raster(name, "reference", reference))
        scene.check_overlap(name, dataset, grid)
        warped = stack.enter_context(scene.warp(dataset, grid, "nearest"))
        georeference: dict[str, Any] = {"shape": grid.shape, "crs": grid.crs, "transform": grid.transform}
        drafts = {
            of: stack.enter_context(
                new_map(folder / of / "truth.tif", **georeference, classes=LEVELS[of], tags=tags, threads=threads)
            )
            for of in ((level, "l1") if level == "l2" else (level,))
        }
        for row, column in np.ndindex(*(-(-side // CHUNK) for side in grid.shape)):
            ids = _read_ids(name, warped, row, column, len(LEVELS[level]))
            for of, draft in drafts.items():
                draft.write(row, column, ids if of == level else roll_up(ids))


def _read_ids(name: str, warped: Any, row: int, column: int, classes: int) -> NDArray[np.uint8]:
    """Read class ids of a chunk of a reference, 255 where there is none."""
    window = Window(column * CHUNK, row * CHUNK, CHUNK, CHUNK).intersection(Window(0, 0, warped.width, warped.height))
    with scene.readable(warped):
        values = warped.read(1, window=window)
    known = np.isfinite(values) & (values != IGNORE)
    ids = np.where(known, values, 0)
    if not np.isin(ids, np.arange(classes)).all():
        raise DataError(
            f"scene {name}: its reference holds the value {ids[~np.isin(ids, np.arange(classes))][0]:g}; expected "
            f"class ids of 0 to {classes - 1}, or {IGNORE} for no reference: correct the mask, or its reference_level"
        )
    return np.where(known, ids, NO_DATA).astype(np.uint8)
