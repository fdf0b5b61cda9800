"""Look at a scene before anything is mapped: is it usable, what is on it, what is known of its ground."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import IGNORE, LEVELS, MODALITIES, PARENTS
from cerraseg.geo.cog import CHUNK, NO_DATA, new_map
from cerraseg.mapping import scene
from cerraseg.mapping.scale import check_scale, compared
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
    """Check a scene for the bands of ``modality`` and write what it is to ``path`` (JSON); returns its grid.

    The JSON holds the grid, whether a raster is warped, by band the range and mean of a sample and of training
    (``trained``, see :mod:`cerraseg.data.statistics`), and the files' SHA-256.

    Raises:
        DataError: if the scene cannot be mapped, or with ``scale`` is not on the scale of the training patches.
    """
    with scene.open_scene(files, modality, resampling) as image:
        sample = image.sample()
        if not sample.size:
            raise DataError(
                f"scene {files.name} has no pixel with data in all of its bands; expected an image: look at it"
            )
        for line in compared(image.bands, sample, trained).values():
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
    content = {
        "name": files.name,
        "crs": grid.crs.to_string(),
        "transform": list(grid.transform)[:6],
        "shape": grid.shape,
        "warped": warped,
        "bands": bands,
        "sha256": {layer: _digest(file) for layer, file in (("msi", files.msi), ("sar", files.sar)) if file},
    }
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n")
    return grid


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_picture(files: SceneFiles, path: Path, *, tags: Mapping[str, str]) -> None:
    """Write the picture of a scene (:func:`true_colour.scene_image`): in true colour if it has MSI bands."""
    layers = (("msi", files.msi, files.msi_bands), ("sar", files.sar, files.sar_bands))
    layer, file, names = next((layer, file, names) for layer, file, names in layers if file)
    with scene.open_scene_raster(files.name, layer, file) as dataset:
        indexes = scene.band_indexes(files.name, dataset, layer, names)
    scene_image(file, dict(zip(MODALITIES[layer], indexes, strict=True)), path, tags=tags)


def write_reference(
    name: str, reference: Path, level: str, grid: SceneGrid, folder: Path, *, tags: Mapping[str, str], threads: int
) -> None:
    """Bring a mask of class ids onto the grid of scene ``name`` as ``<level>/truth.tif``, by the nearest pixel.

    One of ``l2`` is written by its parents as ``l1``, too. 255 and the file's no-data value have no reference.

    Raises:
        DataError: if a value is no class of ``level``, or the mask lies elsewhere.
    """
    tables = {level: np.arange(len(LEVELS[level]), dtype=np.uint8)}
    if level == "l2":
        tables["l1"] = np.array(PARENTS, np.uint8)
    with ExitStack() as stack:
        dataset = stack.enter_context(scene.open_scene_raster(name, "reference", reference))
        scene.check_overlap(name, dataset, grid)
        warped = stack.enter_context(scene.warp(dataset, grid, "nearest"))
        georeference: dict[str, Any] = {"shape": grid.shape, "crs": grid.crs, "transform": grid.transform}
        drafts = {
            of: stack.enter_context(
                new_map(folder / of / "truth.tif", **georeference, classes=LEVELS[of], tags=tags, threads=threads)
            )
            for of in tables
        }
        for row, column in np.ndindex(*(-(-side // CHUNK) for side in grid.shape)):
            ids, known = _ids(name, warped, row, column, len(LEVELS[level]))
            for of, draft in drafts.items():
                draft.write(row, column, np.where(known, tables[of][ids], NO_DATA))


def _ids(name: str, warped: Any, row: int, column: int, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Class ids of a chunk of a reference, 0 where there is none, and where there is one."""
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
    return ids.astype(np.uint8), known
