"""Map a place and a season with a model in hand: search, fetch and map tile by tile, each whole or absent."""

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cerraseg.config.regions import check_region
from cerraseg.core.content import content
from cerraseg.core.errors import ConfigError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress
from cerraseg.data.imagery import search
from cerraseg.data.imagery.fetch import fetch_tile
from cerraseg.data.imagery.region import Region
from cerraseg.data.imagery.zone_image import write_zone_image
from cerraseg.data.scale import Statistics
from cerraseg.evaluation.areas import mapped_areas
from cerraseg.geo.grids import Grid
from cerraseg.mapping.cut import Cut
from cerraseg.mapping.join import join_maps
from cerraseg.mapping.map_scene import Settings, map_scene
from cerraseg.mapping.scene import SceneFiles, open_scene
from cerraseg.mapping.scene_check import fitting_scale
from cerraseg.mapping.stac import write_collection, write_item
from cerraseg.models.checkpoint import Segmenter

_BRIGHT = 2.0  # no reflectance is above it


def region_of(
    segmenter: Segmenter, aoi: str | Sequence[float], dates: Sequence[str], folder: Path, **source: Any
) -> Region:
    """Return the region of a place and a season for a model: its sensors and bands, in the units of its training.

    Args:
        aoi: file with polygons, or west, south, east and north in degrees.
        dates: first and last day, YYYY-MM-DD.
        folder: of its files.
        source: ``catalogue`` (a ready name or an address), and what :mod:`cerraseg.config.regions` has: ``collections``
            (sensor → collection), ``max_cloud``, ``limit`` and ``grid``.

    Raises:
        ConfigError: for what the configuration would be refused for.
    """
    blueprint = segmenter.blueprint
    dataset, trained, stac = blueprint.described, blueprint.statistics, {}
    for sensor in dataset.sensors_of(blueprint.modality):
        own = {band: trained[band] for band in sensor.bands if band in trained}
        stac[sensor.name] = {
            "url": source["catalogue"],
            **({"collection": source["collections"][sensor.name]} if sensor.name in source["collections"] else {}),
            **{key: source[key] for key in ("max_cloud", "limit")},
            **({"units": _units(own, radar=sensor.logarithmic)} if own else {}),
        }
    entry = {"name": folder.name, "aoi": aoi, "dates": list(dates), "stac": stac, "grid": source["grid"]}
    return Region(check_region(entry, dataset) | {"scenarios": []}, dataset, str(folder))


def _units(trained: Statistics, *, radar: bool) -> str:
    if radar:
        return "db" if all(of["mean"] < 0 for of in trained.values()) else "power"
    if max(of["max"] for of in trained.values()) <= _BRIGHT:
        return "reflectance"
    return "dn_offset"  # or without the 1,000: see _offsets


def find_images(region: Region) -> list[search.Found]:
    """Return the frozen list of a region's images, which is asked for where there is none, and log what it costs.

    Raises:
        ConfigError: if the folder holds the list of another place, season or catalogue.
    """
    folder, sensors = Path(region.folder), region.settings["sensors"]
    file, asked = folder / "items.ndjson", folder / "question.json"
    question = json.dumps(region.searched | {"tiles": region.all_fetched}, sort_keys=True)
    if asked.is_file() and asked.read_text(encoding="utf-8") != question:
        raise ConfigError(f"{folder} holds the images of other settings; expected a new folder: name another one")
    with atomic_write(asked) as part:
        part.write_text(question, encoding="utf-8")
    if not file.is_file():  # it may be a colleague's
        lines = search.search(region.area, region.settings["dates"], sensors, region.bands)
        search.write_list(lines, file, folder / "items.sha256")
    found = search.parse(file.read_bytes())
    grids = [Grid.from_values(tile) for tile in region.all_fetched.values()]
    for line in search.as_text(search.plan(found, grids, sensors, region.bands)):
        log.info("%s", line)
    return found


def map_region(
    region: Region, found: Sequence[search.Found], model_file: Path, segmenter: Segmenter, settings: Settings
) -> Path:
    """Fetch and map a region tile by tile, and return its STAC collection; what is finished is not made again.

    ``map_<EPSG code>`` has the map of each UTM zone, ``areas.csv`` the area of each class over all of them.

    Args:
        found: images of :func:`find_images`.
        model_file, segmenter: the model, as a file and in memory.
        settings: of the map.

    Raises:
        DataError: if the images have not the units of training.
        DownloadError: if files cannot be read.
    """
    folder = Path(region.folder)
    for tile, of in progress(region.all_fetched.items(), "fetch", len(region.all_fetched)):
        if not (made := folder / "tiles" / tile).is_dir():
            grid = Grid.from_values(of)
            images = search.by_sensor(found, grid, of["sensors"])
            fetch_tile(images, of["sensors"], of["bands"], grid, made)
    offsets = _offsets(region, segmenter)
    key = {"model": content(model_file).sha256, "settings": repr(settings)}
    _clear_others(folder / "maps", json.dumps(key, sort_keys=True))
    items = [_map_zone(region, epsg, offsets, model_file, segmenter, settings) for epsg in region.zones]
    _write_areas(segmenter, [item.parent / "classes.tif" for item in items], folder / "areas.csv")
    write_collection(
        folder / "collection.json", items, id=region.name, title=f"Land cover of {region.name}",
        description=f"One map a UTM zone, by {model_file.name}",
        beside={"areas": folder / "areas.csv", "images": folder / "items.ndjson"},
    )  # fmt: skip
    return folder / "collection.json"


def _clear_others(folder: Path, key: str) -> None:
    """Remove the maps of other models or settings."""
    note = folder / "key.json"
    if not note.is_file() or note.read_text(encoding="utf-8") != key:
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_write(note) as part:
            part.write_text(key, encoding="utf-8")


def _offsets(region: Region, segmenter: Segmenter) -> dict[str, float]:
    """Return sensor → what is to be added to its composite: −1,000, where training means are nearer to it then, else 0.

    Composites of whole numbers are reflectance · 10,000 + 1,000; models learn from numbers with the 1,000 or without.
    """
    trained, offsets = segmenter.blueprint.statistics, dict.fromkeys(region.settings["sensors"], 0.0)
    for name, source in region.settings["sensors"].items():
        sensor = region.dataset.sensors[name]
        if source["units"] != "dn_offset" or not {*sensor.bands} <= {*trained}:
            continue
        parts = []
        for epsg in region.zones:
            with open_scene(_zone_files(region, epsg, offsets), [sensor], "nearest") as scene:
                parts.append(scene.sample())
        means = np.concatenate(parts, axis=1).mean(axis=1)
        usual, spread = (np.array([trained[band][key] for band in sensor.bands]) for key in ("mean", "std"))
        offsets[name] = min((0.0, -1000.0), key=lambda by: float(np.abs((means + by - usual) / spread).sum()))
    return offsets


def _zone_files(region: Region, epsg: int, offsets: Mapping[str, float]) -> SceneFiles:
    """Show the tiles of a zone as images, with something added to their values, and return these."""
    tiles = [Path(region.folder, "tiles", tile) for tile in region.tiles(epsg)]
    for sensor, image in region.images(epsg).items():
        write_zone_image(region.zones[epsg], tiles, Path(image), offsets[sensor])
    return SceneFiles.of(region.entry(epsg), region.dataset)


def _map_zone(
    region: Region,
    epsg: int,
    offsets: Mapping[str, float],
    model_file: Path,
    segmenter: Segmenter,
    settings: Settings,
) -> Path:
    """Map the tiles of a zone, join them, and return the STAC item."""
    folder, zone, blueprint = Path(region.folder), region.zones[epsg], segmenter.blueprint
    files, sensors = _zone_files(region, epsg, offsets), region.dataset.sensors_of(blueprint.modality)
    checked = blueprint.statistics if settings.check_scale else {}
    scaled = fitting_scale(files, sensors, checked, resampling=settings.resampling)
    parts, tags = {}, {"SCENARIO": model_file.name, "SCENE": files.name}
    for name, window in progress(zone.tiles.items(), "map", len(zone.tiles)):
        tile = folder / "maps" / f"{epsg}_{name}"
        parts[tile] = window
        if not tile.is_dir():
            resume, cut = tile.with_name(f".{tile.name}.rows"), Cut(window, zone.outside)
            how: Mapping[str, Any] = {"scaled": scaled, "segmenter": segmenter, "cut": cut}
            passed = replace(settings, check_scale=False)
            map_scene(model_file, files, tile, resume, passed, region.dataset, tags, **how)
    made = folder / f"map_{epsg}"
    join_maps(zone.grid, parts, made, region.dataset, blueprint.level, threads=settings.threads)
    ancestors = region.dataset.ancestors(blueprint.level)
    write_item(
        made / "item.json", id=files.name, date="/".join(region.settings["dates"]),
        files={file.stem: file for file in made.glob("*.tif")}, sources=files.sources,
        classes=region.dataset.classes(blueprint.level),
        coarser={level: region.dataset.classes(level) for level in ancestors},
        properties={"title": f"Land cover of {files.name}", "cerraseg:level": blueprint.level},
    )  # fmt: skip
    return made / "item.json"


def _write_areas(segmenter: Segmenter, maps: Sequence[Path], path: Path) -> None:
    """Write the area of each class as it is mapped, over all zones."""
    classes = segmenter.blueprint.described.classes(segmenter.blueprint.level)
    pixels, areas = mapped_areas(maps, classes)
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["id", "name", "pixels", "hectares"])
        rows.writerows(
            [one.id, one.name, int(n), f"{area:.4f}"] for one, n, area in zip(classes, pixels, areas, strict=True)
        )
