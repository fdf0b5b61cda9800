"""Find the images of a place and a season in STAC catalogues, and freeze them as a list that reruns go by."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import requests
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioError

from cerraseg.core.errors import DataError, DownloadError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress
from cerraseg.data.imagery import catalogues, offsets
from cerraseg.data.imagery.catalogues import asset_of, open_catalogue, signed, state
from cerraseg.geo.grids import Grid
from cerraseg.geo.zones import footprint, parts_of

_THREADS = 8  # that ask for files at a time
_SAMPLE = 96  # pixels along each side of the overview that is looked at
_DARK = 1  # percentile of what is dark ground
_BYTES = {"optical": 2, "radar": 4}  # of a stored pixel


@dataclass(frozen=True)
class Found:
    """An image in the frozen list."""

    sensor: str
    item: Mapping[str, Any]  # STAC item, as the catalogue gave it
    assets: Mapping[str, str]  # band → key of its asset; the mask's under its own name
    files: Mapping[str, tuple[str | None, int | None]]  # key of an asset → ETag and bytes of its file
    scale: float  # of an optical image: reflectance is stored · scale + offset
    offset: float
    note: str  # where its metadata are wrong; else empty

    @property
    def id(self) -> str:
        """Its id in the catalogue."""
        return str(self.item["id"])

    @property
    def date(self) -> str:
        """Day on which it was taken, YYYY-MM-DD (UTC)."""
        return _time(self.item)[:10]

    @property
    def cloud(self) -> float:
        """Its cloud cover in percent; 0 where that is not known."""
        return float(self.item["properties"].get("eo:cloud_cover") or 0)

    @property
    def code(self) -> str:
        """The code of its coordinate system; empty where it does not tell it."""
        said = _said_crs(self.item, next(iter(self.assets.values())))
        return str(said) if said else ""

    @property
    def place(self) -> Any:
        """Its outline as a shapely geometry of longitudes and latitudes."""
        return shapely.geometry.shape(self.item["geometry"])


def search(
    area: Any, dates: Sequence[str], sensors: Mapping[str, Mapping[str, Any]], bands: Mapping[str, Sequence[str]]
) -> bytes:
    """Ask catalogues for the images of a place and a season, and return them as lines of JSON.

    Equal answers give equal bytes. Items are asked for by the bounds of each UTM zone, and kept where they meet the
    area. Of each file, ETag and bytes are noted; of each item, an overview is read, by which coordinate system and
    offset are checked.

    Args:
        area: of interest, a shapely geometry of longitudes and latitudes.
        dates: first and last day, YYYY-MM-DD.
        sensors: sensor → where its images come from, see :mod:`cerraseg.config.regions`.
        bands: sensor → its bands.

    Raises:
        ConfigError: if an asset has another name.
        DataError: if a sensor has no image.
        DownloadError: if a catalogue or a file cannot be read.
    """
    found: list[Found] = []
    for sensor, source in sensors.items():
        items = _items(area, source, dates)
        with rasterio.Env(**catalogues.gdal_options()):
            freeze = partial(_freeze, sensor=sensor, source=source, bands=bands[sensor])
            with ThreadPoolExecutor(_THREADS) as pool:
                frozen = [*progress(pool.map(freeze, items), f"look at {sensor}", len(items))]
        kept = [one for one in frozen if one is not None]
        if not kept:
            raise DataError(
                f"{source['url']} has no usable image of {source['collection']} for the area and "
                f"{' to '.join(dates)} ({len(items)} were found); expected some: widen the dates, raise "
                "max_cloud, or take another collection"
            )
        found += _hold_against_pixels(kept) if source["kind"] == "optical" else [one for one, _ in kept]
    return b"".join(_line(one) for one in found)


def write_list(lines: bytes, path: Path, digest: Path) -> None:
    """Write the frozen list, and its SHA-256 as ``sha256sum`` does."""
    with atomic_write(path) as part:
        part.write_bytes(lines)
    with atomic_write(digest) as part:
        part.write_text(f"{hashlib.sha256(lines).hexdigest()}  {path.name}\n")


def parse(lines: bytes) -> list[Found]:
    """Return the images of a frozen list."""
    return [Found(**json.loads(line)) for line in lines.splitlines()]


def of_tile(found: Sequence[Found], grid: Grid, source: Mapping[str, Any]) -> list[Found]:
    """Return the images of one sensor that meet a tile, of at most ``limit`` dates: those with the least cloud.

    Of radar, dates are spread evenly.
    """
    place = footprint(grid)
    near = [one for one in found if one.place.intersects(place)]
    clouds = {date: np.mean([one.cloud for one in near if one.date == date]) for date in {one.date for one in near}}
    dates = sorted(clouds, key=lambda date: (clouds[date], date))
    if source["kind"] == "radar":  # which clouds do not hide: spread over the season
        dates = dates[:: -(-len(dates) // source["limit"]) or 1]
    dates = dates[: source["limit"]]
    return sorted((one for one in near if one.date in dates), key=lambda one: (one.date, one.id))


def by_sensor(found: Sequence[Found], grid: Grid, sensors: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Found]]:
    """Return sensor → its images that a tile is made of, see :func:`of_tile`."""
    return {
        sensor: of_tile([one for one in found if one.sensor == sensor], grid, source)
        for sensor, source in sensors.items()
    }


def plan(
    found: Sequence[Found], grids: Sequence[Grid], sensors: Mapping[str, Mapping[str, Any]], bands: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what fetching costs: images by sensor, tiles, bytes to download and on disk; and what was odd.

    Args:
        found: the frozen list.
        grids: of all tiles.
        sensors, bands: see :func:`search`.
    """
    download, disk = 0.0, 0.0
    for grid in grids:
        place = footprint(grid)
        for sensor, images in by_sensor(found, grid, sensors).items():
            disk += grid.shape[0] * grid.shape[1] * (len(bands[sensor]) * _BYTES[sensors[sensor]["kind"]] + 1)
            for one in images:
                share = one.place.intersection(place).area / one.place.area
                download += share * sum(size or 0 for _, size in one.files.values())
    counts = {sensor: sum(one.sensor == sensor for one in found) for sensor in sensors}
    odd = [f"{one.id}: {one.note}" for one in found if one.note]
    return {"images": counts, "tiles": len(grids), "download": round(download), "disk": round(disk), "odd": odd}


def as_text(plan: Mapping[str, Any]) -> list[str]:
    """Return a plan as lines of text."""
    images = ", ".join(f"{count} of {sensor}" for sensor, count in plan["images"].items())
    lines = [f"{images}; {plan['tiles']} tiles; about {plan['download'] / 1e9:.2f} GB to download"]
    return [*lines, f"at most {plan['disk'] / 1e9:.2f} GB on disk, before compression", *plan["odd"]]


def _items(area: Any, source: Mapping[str, Any], dates: Sequence[str]) -> list[dict[str, Any]]:
    """Return the items of a collection that meet the area, each once, sorted by time and id."""
    from pystac_client.exceptions import APIError

    client, items = open_catalogue(source["url"]), dict[str, dict[str, Any]]()
    span = f"{dates[0]}T00:00:00Z/{dates[1]}T23:59:59Z"
    for bounds in (part.bounds for part in parts_of(area).values()):
        asked = client.search(collections=[source["collection"]], bbox=bounds, datetime=span, limit=100)
        try:
            items |= {item["id"]: item for item in asked.items_as_dicts()}
        except (APIError, requests.RequestException) as error:
            raise DownloadError(f"{source['url']}: the search failed ({error}); run it again later") from None
    near = [item for item in items.values() if shapely.geometry.shape(item["geometry"]).intersects(area)]
    clear = [item for item in near if (item["properties"].get("eo:cloud_cover") or 0) <= source["max_cloud"]]
    log.info("%s: %d images, %d of them too cloudy", source["collection"], len(near), len(near) - len(clear))
    return sorted(clear, key=lambda item: (_time(item), item["id"]))


def _time(item: Mapping[str, Any]) -> str:
    return str(item["properties"].get("datetime") or item["properties"]["start_datetime"])


def _freeze(
    item: Mapping[str, Any], *, sensor: str, source: Mapping[str, Any], bands: Sequence[str]
) -> tuple[Found, list[float]] | None:
    """Note the files of an item, and return it with the stored numbers of dark ground; None where it cannot be used."""
    assets = {band: asset_of(item, band, source["assets"]) for band in bands}
    if source["mask"]:
        assets["mask"] = asset_of(item, source["mask"]["asset"], source["assets"])
    files = {key: _state(item["assets"][key]) for key in assets.values()}
    seen = bands if source["kind"] == "radar" else (bands[min(1, len(bands) - 1)], bands[-1])
    dark = []
    for band in dict.fromkeys(seen):
        pixels, crs = _overview(item["assets"][assets[band]]["href"])
        said = _said_crs(item, assets[band])
        if crs is None or (said is not None and said != crs):
            where = "no coordinate system: it is not terrain-corrected" if crs is None else f"{crs}, not {said} as said"
            log.warning("%s is left out: its file %s has %s", item["id"], assets[band], where)
            return None
        dark.append(float(np.percentile(pixels, _DARK)) if pixels.size else np.nan)
    power = offsets.Meaning(1.0, 0.0, "")
    meaning = power if source["kind"] == "radar" else offsets.declared(item, assets[bands[0]])
    return Found(sensor, item, assets, files, *meaning), [] if np.isnan(dark).any() else dark


def _state(asset: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """Return the ETag and bytes of an asset's file, where its store does not tell them, as the catalogue does."""
    tag, size = state(asset["href"])
    return tag, size or asset.get("file:size")


def _overview(href: str) -> tuple[NDArray[Any], CRS | None]:
    """Read the pixels with data of a file, from an overview where it has one, and its coordinate system."""
    try:
        with rasterio.Env(**catalogues.gdal_options()), rasterio.open(signed(href)) as file:
            shape = min(_SAMPLE, file.height), min(_SAMPLE, file.width)
            pixels = file.read(1, out_shape=shape, masked=True)
            return pixels.compressed(), file.crs
    except RasterioError as error:
        raise DownloadError(f"{href} cannot be read ({error}); run the search again later") from None


def _said_crs(item: Mapping[str, Any], asset: str) -> CRS | None:
    for fields in (item["assets"][asset], item["properties"]):
        code = fields.get("proj:code") or fields.get("proj:epsg")
        if code:
            return CRS.from_user_input(code)
    return None


def _hold_against_pixels(kept: Sequence[tuple[Found, list[float]]]) -> Iterator[Found]:
    meanings = [offsets.Meaning(one.scale, one.offset, one.note) for one, _ in kept]
    places = [[one.item["properties"].get(code) for code in ("grid:code", "s2:mgrs_tile")] for one, _ in kept]
    for (one, _), meaning in zip(kept, offsets.checked(meanings, [dark for _, dark in kept], places), strict=True):
        if meaning.note:
            log.warning("%s: %s", one.id, meaning.note)
        yield Found(one.sensor, one.item, one.assets, one.files, *meaning)


def _line(one: Found) -> bytes:
    return json.dumps(vars(one), sort_keys=True, ensure_ascii=False).encode() + b"\n"
