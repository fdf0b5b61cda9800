"""Check a scene before anything is mapped, and write its facts, its picture and its reference."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.config.dataset import UNKNOWN, Dataset, Sensor
from cerraseg.core.content import content
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.scale import Statistics, describe, scale_fault, scale_warning, statistics_of
from cerraseg.geo.grids import Grid
from cerraseg.geo.images import Mask, open_image, open_mask
from cerraseg.geo.rasters import crs_text
from cerraseg.mapping.map_files import Raster, write_map, write_parents
from cerraseg.mapping.scene import Scene, SceneFiles, open_scene
from cerraseg.mapping.true_colour import scene_image

Floats = NDArray[np.float32]

_LISTED = 10  # unknown values in a message


def survey(
    files: SceneFiles, sensors: Sequence[Sensor], trained: Statistics, path: Path, *, resampling: str, scale: bool
) -> Grid:
    """Check a scene and write its facts.

    Args:
        files: its images.
        sensors: those that it must have.
        trained: band → its statistics in training, see :mod:`cerraseg.data.statistics`.
        path: JSON to write: grid, whether an image is warped, by band the range and mean of a sample and of training,
            the SHA-256 of the files, and of images that declare a scale or an offset, whether it is applied.
        resampling: see :func:`cerraseg.mapping.scene.open_scene`.
        scale: whether to check that it has the units of the training patches.

    Returns:
        The grid of its map.

    Raises:
        DataError: if the scene cannot be mapped.
    """
    scaled = fitting_scale(files, sensors, trained, resampling=resampling) if scale else {}
    with open_scene(files, sensors, resampling, scaled) as image:
        sample = _sample(files, image)
    tagged = [name for name, part in image.images.items() if part.scaled_by_tags]
    facts = {
        "name": files.name,
        "crs": crs_text(image.grid.crs),
        "transform": list(image.grid.transform)[:6],
        "shape": image.grid.shape,
        "warped": image.warped,
        **({"scaled": {name: scaled.get(name, True) for name in tagged}} if tagged else {}),
        "bands": {
            band: {
                "mean": float(pixels.mean(dtype=float)),
                "min": float(pixels.min()),
                "max": float(pixels.max()),
                "training": {name: trained[band][name] for name in ("mean", "min", "max")},
            }
            for band, pixels in zip(image.bands, sample, strict=True)
        },
        "sha256": _digests(files),
    }
    with atomic_write(path) as part:
        part.write_text(json.dumps(facts, indent=2) + "\n")
    return image.grid


def read_scaled(path: Path) -> dict[str, bool]:
    """Read from the facts of a scene (:func:`survey`) which sensors' scales and offsets are applied."""
    scaled: dict[str, bool] = json.loads(path.read_text()).get("scaled", {})
    return scaled


def fitting_scale(
    files: SceneFiles,
    sensors: Sequence[Sensor],
    trained: Statistics,
    *,
    resampling: str,
    scaled: Mapping[str, bool] | None = None,
) -> dict[str, bool]:
    """Find how to read a scene for a model, and check that it then has the units of the model's training.

    Where values have other units and their files declare a scale or an offset, they are read the other way: as they are
    stored, or scaled. What differs by degree is logged.

    Args:
        files, sensors, resampling: see :func:`cerraseg.mapping.scene.open_scene`.
        trained: statistics of training of the sensors' bands, from a checkpoint or of this run; none: no check.
        scaled: how to read it first; by default scaled.

    Returns:
        Sensor → whether to apply the scale and offset that its files declare.

    Raises:
        DataError: if the bands of a sensor are on another scale both ways, see
            :func:`cerraseg.data.scale.scale_fault`.
    """
    decided = {sensor.name: (scaled or {}).get(sensor.name, True) for sensor in sensors}
    if not trained:
        return decided
    with open_scene(files, sensors, resampling, decided) as image:
        sample = _sample(files, image)
        tagged = {name for name, part in image.images.items() if part.scaled_by_tags}
    for sensor in sensors:
        places = [image.bands.index(band) for band in sensor.bands]
        ours = statistics_of(sensor.bands, sample[places], trained)
        fault = scale_fault(ours, trained)
        if fault and sensor.name in tagged:
            other = {sensor.name: not decided[sensor.name]}
            with open_scene(files, [sensor], resampling, other) as again:
                converted = statistics_of(sensor.bands, _sample(files, again), trained)
            if not scale_fault(converted, trained):
                ours, fault, decided = converted, None, decided | other
                how = "with its scale and offset" if decided[sensor.name] else "as stored, without its scale and offset"
                log.info("scene %s: %s is read %s, which has the units of training", files.name, sensor.name, how)
        _tell(files.name, sensor, ours, trained, fault)
    return decided


def _tell(name: str, sensor: Sensor, ours: Statistics, trained: Statistics, fault: str | None) -> None:
    if fault:
        raise DataError(
            f"scene {name}: its {sensor.name} bands are not on the scale that the model was trained on: {fault}. "
            f"{describe(ours, trained)}. Expected the units of the training patches: convert the scene, or set "
            "maps.check_scale: false to map it as it is"
        )
    if warning := scale_warning(ours, trained):
        told = "scene %s: %s: %s; the map may be poor. %s"
        log.warning(told, name, sensor.name, warning, describe(ours, trained))


def _sample(files: SceneFiles, image: Scene) -> Floats:
    sample = image.sample()
    if not sample.size:
        raise DataError(f"scene {files.name} has no pixel with data in all of its bands; expected an image: look at it")
    return sample


def _digests(files: SceneFiles) -> dict[str, str | dict[str, str]]:
    """Return sensor → SHA-256 of its image's file, or file name → SHA-256 where there are several."""
    found: dict[str, str | dict[str, str]] = {}
    for sensor, image in files.images.items():
        digests = {str(source): content(source).sha256 for source in image.sources}
        found[sensor] = next(iter(digests.values())) if len(digests) == 1 else digests
    return found


def write_picture(files: SceneFiles, dataset: Dataset, path: Path, *, tags: Mapping[str, str]) -> None:
    """Write the picture of a scene, see :func:`cerraseg.mapping.true_colour.scene_image`, of one of its sensors."""
    sensors = [dataset.sensors[name] for name in files.images]
    shown, _ = dataset.composite([band for sensor in sensors for band in sensor.bands])
    sensor = next((sensor for sensor in sensors if set(shown) <= set(sensor.bands)), sensors[0])
    with open_image(files.images[sensor.name], sensor.bands, f"scene {files.name}: {sensor.name}") as image:
        scene_image(image, path, composite=dataset.composite(sensor.bands), tags=tags)


def write_reference(
    name: str,
    reference: Path,
    level: str,
    dataset: Dataset,
    grid: Grid,
    folder: Path,
    *,
    tags: Mapping[str, str],
    threads: int,
) -> None:
    """Bring a mask of class ids onto the grid of a scene by the nearest pixel.

    Args:
        name: the scene's, for messages.
        reference: raster of class ids; 255, the level's ignored values and the file's no-data value have no reference.
        level: its level. It is written for each coarser level that is linked to it, too.
        dataset: has the level.
        grid: grid of the scene.
        folder: folder to write ``<level>/truth.tif`` into.
        tags, threads: see :func:`cerraseg.geo.cog.new_map`.

    Raises:
        DataError: if a value is no class of ``level``, or the mask lies elsewhere.
    """
    classes, target = dataset.classes(level), folder / level / "truth.tif"
    with open_mask(reference, f"scene {name}: reference", grid=grid) as mask:

        def read(window: Window) -> Raster:
            return _positions(name, dataset, level, mask, window)

        write_map(target, grid, read, classes=classes, tags=tags, threads=threads)
    for coarser, parents in dataset.ancestors(level).items():
        path = folder / coarser / "truth.tif"
        write_parents(target, path, classes, parents, dataset.classes(coarser), tags, threads)


def _positions(name: str, dataset: Dataset, level: str, mask: Mask, window: Window) -> Raster:
    values, valid = mask.read(window)
    positions = np.where(valid, dataset.levels[level].positions(values), np.uint8(IGNORE))
    if (unknown := positions == UNKNOWN).any():
        found = np.unique(values[unknown])
        listed = ", ".join(f"{value:g}" for value in found[:_LISTED]) + (", …" if len(found) > _LISTED else "")
        raise DataError(
            f"scene {name}: its reference holds the values {listed}; expected class ids of {level} "
            f"({', '.join(map(str, dataset.levels[level].ids))}), or {IGNORE} for no reference: correct the mask, or "
            "its reference_level"
        )
    return positions
