"""Check the entries of ``areas`` and ``scenes``: images and labels, brought to one form whatever their spelling.

An image is ``{"files": [...], "bands": [...], "nodata": number or None, "mask": {"file", "values"} or None}``, the
labels of a level are ``{"file", "layer", "field", "classes"}``; both are plain values, as parameters of rules are.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cerraseg.config.dataset import Dataset, Level
from cerraseg.config.descriptions import ENTRY_KEYS
from cerraseg.config.entries import files_of
from cerraseg.config.suggestions import check_known, expand_path, nearest
from cerraseg.core.errors import ConfigError
from cerraseg.core.layout import ENDINGS
from cerraseg.core.taxonomy import IGNORE


def check_areas(given: Sequence[Mapping[str, Any]], dataset: Dataset, *, must_exist: bool) -> list[dict[str, Any]]:
    """Return each area as name, images (sensor → image, in the dataset's order) and labels (level → labels).

    Keys of scenes alone are passed over, so that one entry may serve as both. The files are needed unless the patches
    are packed already.

    Raises:
        ConfigError: on unknown keys, sensors, levels and class ids, and missing files, with the key.
    """
    areas = []
    for entry in given:
        where = f"areas.{entry['name']}"
        images, labels = _images(entry, where, dataset), check_labels(entry, where, dataset)
        areas.append({"name": entry["name"], "images": images, "labels": labels})
        if must_exist:
            _check_files(areas[-1], where)
    return areas


def check_scene(
    entry: Mapping[str, Any], dataset: Dataset, *, must_exist: bool, made: Collection[str] = ()
) -> dict[str, Any]:
    """Return a scene as name, images, labels, and its date and scenarios as they are given.

    ``reference`` is a raster of ids at ``reference_level``: the one that is given, which then is the only labels, or
    the labels of the finest level that has some, if they are such a raster. Both keys are absent without one. The files
    are needed unless the map is there already or, in ``made``, the run itself makes them.

    Raises:
        ConfigError: as :func:`check_areas`.
    """
    where = f"scenes.{entry['name']}"
    if "reference" in entry:
        level = entry.get("reference_level") or next(iter(dataset.levels))
        check_known(f"{where}.reference_level", level, dataset.levels)
        file = expand_path(f"{where}.reference", entry["reference"])
        labels: dict[str, dict[str, Any]] = {level: {"file": file, "layer": None, "field": None, "classes": {}}}
    else:
        labels = check_labels(entry, where, dataset)
    scene = {"name": entry["name"], "images": _images(entry, where, dataset), "labels": labels}
    if must_exist:
        _check_files(scene, where, made)
    if labels:
        level, finest = list(labels.items())[-1]
        if finest["field"] is None and not finest["classes"]:
            scene |= {"reference": finest["file"], "reference_level": level}
    return scene | {key: entry[key] for key in ("date", "scenarios") if key in entry}


def _check_files(entry: Mapping[str, Any], where: str, made: Collection[str] = ()) -> None:
    for file in files_of(entry):
        if file not in made and not Path(file).exists():
            raise ConfigError(f"{where}: {file}: no such file; expected one that can be read: correct the path")


def _images(entry: Mapping[str, Any], where: str, dataset: Dataset) -> dict[str, dict[str, Any]]:
    known = [*dataset.sensors, *ENTRY_KEYS, *(f"{sensor}_bands" for sensor in dataset.sensors)]
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}.{key}: unknown key{nearest(key, known)}")
    images = {sensor: _image(entry, sensor, where) for sensor in dataset.sensors if sensor in entry}
    if not images:
        raise ConfigError(f"{where}: no image; expected one under at least one of {', '.join(dataset.sensors)}: add it")
    return images


def _image(entry: Mapping[str, Any], sensor: str, where: str) -> dict[str, Any]:
    """Return an image in full: its own bands, no-data value and mask come before those of the entry."""
    given = entry[sensor]
    image = given if isinstance(given, Mapping) else {"files": given}
    files = [image["files"]] if isinstance(image["files"], str) else image["files"]
    mask = image.get("mask", entry.get("mask"))
    return {
        "files": [expand_path(f"{where}.{sensor}", file) for file in files],
        "bands": list(image.get("bands", entry.get(f"{sensor}_bands", []))),
        "nodata": image.get("nodata", entry.get("nodata")),
        "mask": mask and {"file": expand_path(f"{where}.mask", mask["file"]), "values": list(mask["values"])},
    }


def check_labels(entry: Mapping[str, Any], where: str, dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Return level → its labels, coarse to fine; keys beside ``labels`` count where a level has none of its own."""
    given = entry.get("labels", {})
    given = given if isinstance(given, Mapping) else {list(dataset.levels)[-1]: given}
    for level in given:
        check_known(f"{where}.labels", level, dataset.levels)
    shared = {key: entry[key] for key in ("layer", "field", "classes") if key in entry}
    own = {level: part if isinstance(part, Mapping) else {"file": part} for level, part in given.items()}
    return {
        name: _labels_of({**shared, **own[name]}, f"{where}.labels", level)
        for name, level in dataset.levels.items()
        if name in own
    }


def _labels_of(given: Mapping[str, Any], where: str, level: Level) -> dict[str, Any]:
    file = expand_path(where, given["file"])
    vector = not file.lower().endswith((*ENDINGS, ".dat"))
    if vector and "field" not in given:
        raise ConfigError(
            f"{where}: {file} holds polygons or points by its ending, and the attribute with their classes is not "
            f"named; expected field beside labels: add it (rasters end in {', '.join(ENDINGS)} or .dat)"
        )
    classes = given.get("classes", {})
    for value, id_ in classes.items():
        if id_ not in (*level.ids, *level.ignore, IGNORE):
            raise ConfigError(
                f"{where}: classes gives {value!r} the id {id_}, which level {level.name} has not; expected one of "
                f"{', '.join(map(str, level.ids))}, or {IGNORE} for no label: correct it"
            )
    named = {key: given.get(key) if vector else None for key in ("layer", "field")}
    return {"file": file, **named, "classes": dict(classes)}
