"""Check a scene before anything is mapped, and write its facts, its picture and its reference."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.config.dataset import Dataset, Sensor
from cerraseg.core.content import content
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.data.masks import read_positions
from cerraseg.data.scale import Statistics, describe, scale_fault, scale_warning, statistics_of
from cerraseg.geo.grids import Grid
from cerraseg.geo.images import open_image, open_mask
from cerraseg.geo.rasters import crs_text
from cerraseg.mapping.map_files import Raster, write_coarser, write_map
from cerraseg.mapping.scene import Scene, SceneFiles, open_scene
from cerraseg.mapping.true_colour import scene_image

Floats = NDArray[np.float32]


def survey(
    files: SceneFiles, sensors: Sequence[Sensor], trained: Statistics, path: Path, *, resampling: str, scale: bool
) -> Grid:
    """Check a scene, write its facts, and return the grid of its map.

    Args:
        sensors: those that it must have.
        trained: band → its statistics in training, see :mod:`cerraseg.data.statistics`.
        path: JSON to write: grid, whether an image is warped, by band the range and mean of a sample and of training,
            the SHA-256 of the files, and of images that declare a scale or an offset, whether it is applied.
        scale: whether to check that it has the units of the training patches.

    Raises:
        DataError: if the scene cannot be mapped.
    """
    scaled = fitting_scale(files, sensors, trained, resampling=resampling) if scale else {}
    with open_scene(files, sensors, resampling, scaled) as image:
        found = statistics_of(image.bands, _sample(files, image), trained)
    tagged = [name for name, part in image.images.items() if part.scaled_by_tags]
    shown = ("mean", "min", "max")
    facts = {
        "name": files.name,
        "crs": crs_text(image.grid.crs),
        "transform": list(image.grid.transform)[:6],
        "shape": image.grid.shape,
        "warped": image.warped,
        **({"scaled": {name: scaled.get(name, True) for name in tagged}} if tagged else {}),
        "bands": {
            band: {name: of[name] for name in shown} | {"training": {name: trained[band][name] for name in shown}}
            for band, of in found.items()
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
        trained: statistics of training of the sensors' bands, from a checkpoint or of this run; none: no check.
        scaled: how to read it first; by default scaled.

    Returns:
        Sensor → whether to apply the scale and offset that its files declare.

    Raises:
        DataError: if the bands of a sensor are on another scale both ways.
    """
    decided = {sensor.name: (scaled or {}).get(sensor.name, True) for sensor in sensors}
    for sensor in sensors if trained else ():
        ours, tagged = _statistics(files, sensor, trained, resampling, decided)
        fault = scale_fault(ours, trained)
        if fault and tagged:
            other = {sensor.name: not decided[sensor.name]}
            converted, _ = _statistics(files, sensor, trained, resampling, other)
            if not scale_fault(converted, trained):
                ours, fault, decided = converted, None, decided | other
                how = "with its scale and offset" if decided[sensor.name] else "as stored, without its scale and offset"
                log.info("scene %s: %s is read %s, which has the units of training", files.name, sensor.name, how)
        if fault:
            raise DataError(
                f"scene {files.name}: its {sensor.name} bands are not on the scale that the model was trained on: "
                f"{fault}. {describe(ours, trained)}. Expected the units of the training patches: convert the scene, "
                "or set maps.check_scale: false to map it as it is"
            )
        if warning := scale_warning(ours, trained):
            told = "scene %s: %s: %s; the map may be poor. %s"
            log.warning(told, files.name, sensor.name, warning, describe(ours, trained))
    return decided


def _statistics(
    files: SceneFiles, sensor: Sensor, trained: Statistics, resampling: str, scaled: Mapping[str, bool]
) -> tuple[Statistics, bool]:
    """Return the statistics of a sample of a sensor's bands, and whether its files declare a scale or an offset."""
    with open_scene(files, [sensor], resampling, scaled) as image:
        found = statistics_of(sensor.bands, _sample(files, image), trained)
        return found, image.images[sensor.name].scaled_by_tags


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
    """Bring the reference of the scene ``name`` onto the scene's grid by the nearest pixel.

    Args:
        reference: raster of class ids; 255, the level's ignored values and the file's no-data value have no reference.
        level: its level. It is written for each coarser level that is linked to it, too.
        folder: folder to write ``<level>/truth.tif`` into.
        tags, threads: see :func:`cerraseg.geo.cog.new_map`.

    Raises:
        DataError: if a value is no class of ``level``, or the mask lies elsewhere.
    """
    target, what = folder / level / "truth.tif", f"scene {name}: reference"
    with open_mask(reference, what, grid=grid) as mask:

        def read(window: Window) -> Raster:
            return read_positions(mask, dataset.levels[level], what, window)[1]

        write_map(target, grid, read, classes=dataset.classes(level), tags=tags, threads=threads)
    write_coarser(target, level, dataset, lambda coarser: folder / coarser / "truth.tif", tags=tags, threads=threads)
