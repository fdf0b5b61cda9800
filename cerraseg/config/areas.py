"""Check the entries of ``areas`` and ``scenes``: images and labels, brought to one form whatever their spelling.

An image is ``{"files": [...], "bands": [...], "nodata": number or None, "mask": {"file", "values"} or None}``, the
labels of a level are ``{"file", "layer", "field", "classes"}``; both are plain values, as parameters of rules are.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cerraseg.config.dataset import Dataset, Level
from cerraseg.config.descriptions import ENTRY_KEYS
from cerraseg.config.suggestions import check_known, expand_path, nearest
from cerraseg.core.errors import ConfigError
from cerraseg.core.layout import ENDINGS
from cerraseg.core.taxonomy import IGNORE

_FOLDERS = (".safe", ".gdb")  # endings of images and tables that are folders
_Finder = Callable[[str, str, str], str]


def check_areas(given: Sequence[Mapping[str, Any]], dataset: Dataset, *, must_exist: bool) -> list[dict[str, Any]]:
    """Return each area as name, images (sensor → image, in the dataset's order) and labels (level → labels).

    Keys of scenes alone are passed over, so that one entry may serve as both.

    Args:
        must_exist: whether the files are needed; not where the patches are packed already.

    Raises:
        ConfigError: on unknown keys, sensors, levels and class ids, and missing files, with the key.
    """
    areas: list[dict[str, Any]] = []
    for entry in given:
        where = f"areas.{entry['name']}"
        if entry["name"].lower() in [other["name"].lower() for other in areas]:
            raise ConfigError(f"{where}: two areas have this name; expected one a name: rename one of them")
        find = partial(_find, needed=must_exist, made=())
        images = _images(entry, where, dataset, find)
        areas.append({"name": entry["name"], "images": images, "labels": _labels(entry, where, dataset, find)})
    return areas


def check_scene(
    entry: Mapping[str, Any], dataset: Dataset, *, must_exist: bool, made: Collection[str] = ()
) -> dict[str, Any]:
    """Return a scene as name, images, labels, and its date and scenarios as they are given.

    ``reference`` is a raster of ids at ``reference_level``: the one that is given, which then is the only labels, or
    the labels of the finest level that has some, if they are such a raster. Both keys are absent without one.

    Args:
        must_exist: whether the files are needed; not where the map is there already.
        made: paths of files that the run itself makes.

    Raises:
        ConfigError: as :func:`check_areas`.
    """
    where = f"scenes.{entry['name']}"
    find = partial(_find, needed=must_exist, made=made)
    images = _images(entry, where, dataset, find)
    if "reference" in entry:
        level = entry.get("reference_level") or next(iter(dataset.levels))
        check_known(f"{where}.reference_level", level, dataset.levels)
        file = find(f"{where}.reference", entry["reference"], "a raster of class ids")
        labels: dict[str, dict[str, Any]] = {level: {"file": file, "layer": None, "field": None, "classes": {}}}
    else:
        labels = _labels(entry, where, dataset, find)
    scene = {"name": entry["name"], "images": images, "labels": labels}
    if labels:
        level, finest = list(labels.items())[-1]
        if finest["field"] is None and not finest["classes"]:
            scene |= {"reference": finest["file"], "reference_level": level}
    return scene | {key: entry[key] for key in ("date", "scenarios") if key in entry}


def _images(entry: Mapping[str, Any], where: str, dataset: Dataset, find: _Finder) -> dict[str, dict[str, Any]]:
    known = [*dataset.sensors, *ENTRY_KEYS, *(f"{sensor}_bands" for sensor in dataset.sensors)]
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}.{key}: unknown key{nearest(key, known)}")
    images = {sensor: _image(entry, sensor, where, find) for sensor in dataset.sensors if sensor in entry}
    if not images:
        raise ConfigError(f"{where}: no image; expected one under at least one of {', '.join(dataset.sensors)}: add it")
    if isinstance(entry.get("nodata"), Mapping):
        for sensor in entry["nodata"]:
            check_known(f"{where}.nodata", sensor, images)
    return images


def _image(entry: Mapping[str, Any], sensor: str, where: str, find: _Finder) -> dict[str, Any]:
    """Return an image in full: its own bands, no-data value and mask come before those of the entry."""
    given = entry[sensor]
    image = given if isinstance(given, Mapping) else {"files": given}
    key = f"{where}.{sensor}"
    files = [image["files"]] if isinstance(image["files"], str) else image["files"]
    bands = image.get("bands", entry.get(f"{sensor}_bands", []))
    if not isinstance(bands, list):
        raise ConfigError(f"{key}_bands: {bands!r}; expected a list of names, one a band of the file")
    if bands and len(files) > 1 and len(files) != len(bands):
        raise ConfigError(f"{key}: {len(files)} files and {len(bands)} bands; expected one name a file: correct them")
    shared = entry.get("nodata")
    mask = image.get("mask", entry.get("mask"))
    return {
        "files": [find(key, file, "a raster, a VRT or a .SAFE folder") for file in files],
        "bands": list(bands),
        "nodata": image.get("nodata", shared.get(sensor) if isinstance(shared, Mapping) else shared),
        "mask": mask and {"file": find(f"{where}.mask", mask["file"], "a raster"), "values": list(mask["values"])},
    }


def _labels(entry: Mapping[str, Any], where: str, dataset: Dataset, find: _Finder) -> dict[str, dict[str, Any]]:
    """Return level → its labels, coarse to fine; keys beside ``labels`` count where a level has none of its own."""
    given = entry.get("labels", {})
    given = given if isinstance(given, Mapping) else {list(dataset.levels)[-1]: given}
    for level in given:
        check_known(f"{where}.labels", level, dataset.levels)
    shared = {key: entry[key] for key in ("layer", "field", "classes") if key in entry}
    own = {level: part if isinstance(part, Mapping) else {"file": part} for level, part in given.items()}
    return {
        name: _labels_of({**shared, **own[name]}, f"{where}.labels", level, find)
        for name, level in dataset.levels.items()
        if name in own
    }


def _labels_of(given: Mapping[str, Any], where: str, level: Level, find: _Finder) -> dict[str, Any]:
    file = find(where, given["file"], "a raster of class ids, or polygons or points")
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


def _find(where: str, path: str, what: str, *, needed: bool, made: Collection[str]) -> str:
    found = expand_path(where, path)
    file = Path(found)
    there = file.is_file() or (file.is_dir() and file.suffix.lower() in _FOLDERS)
    if needed and found not in made and not there:
        raise ConfigError(f"{where}: {found}: no such file; expected {what}: correct the path")
    return found
