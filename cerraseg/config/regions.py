"""Check the entries of ``regions``: places and dates whose images come from STAC catalogues."""

import calendar
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cerraseg.config.areas import check_labels
from cerraseg.config.dataset import Dataset, Sensor
from cerraseg.config.suggestions import check_known, expand_path
from cerraseg.core.errors import ConfigError


class Catalogue(NamedTuple):
    """A public catalogue."""

    url: str
    optical: str  # collection of Sentinel-2 images
    radar: str | None  # collection of terrain-corrected Sentinel-1 images, where it has one
    needs: str


CATALOGUES = {
    "earth-search": Catalogue(
        "https://earth-search.aws.element84.com/v1", "sentinel-2-l2a", None, "nothing; its radar is not corrected"
    ),
    "planetary-computer": Catalogue(
        "https://planetarycomputer.microsoft.com/api/stac/v1",
        "sentinel-2-l2a",
        "sentinel-1-rtc",
        "nothing; PC_SDK_SUBSCRIPTION_KEY raises the limits",
    ),
    "cdse": Catalogue(
        "https://stac.dataspace.copernicus.eu/v1",
        "sentinel-2-l2a",
        None,
        "an account's S3 keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_S3_ENDPOINT=eodata.dataspace.copernicus.eu"
        ", AWS_VIRTUAL_HOSTING=FALSE",
    ),
}
"""Ready name → catalogue."""

SCL = (0, 1, 3, 8, 9, 10)
"""Classes of Sentinel-2's scene classification that are not used: no data, defective, shadow, clouds, cirrus."""

METHODS = {"optical": ("median", "mean", "least_cloud"), "radar": ("mean_db", "mean", "median")}
"""Kind of sensor → how its dates are composed; the first is the default."""

UNITS = {"optical": ("dn_offset", "dn", "reflectance"), "radar": ("power", "db")}
"""Kind of sensor → units of the composite; the first, those of CerraData-4MM, is the default."""

_USUAL = {"optical": "sentinel-2-l2a", "radar": "sentinel-1-rtc"}  # collections of an address
_MASK_GROWTH = 3  # pixels: bands of 60 m bring clouds so far past their mask
_MOST_DATES = 20


def check_region(entry: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Return a region in one form, whatever its spelling.

    Returns:
        ``name``; ``aoi`` (a path, or west, south, east and north); ``dates`` (first and last day); ``sensors``: sensor
        → ``kind``, ``url``, ``collection``, ``assets``, ``max_cloud``, ``limit``, ``mask``, ``composite``, ``units``;
        ``grid``; ``labels``; ``scenarios``, where they are given.

    Raises:
        ConfigError: with the key.
    """
    where = f"regions.{entry['name']}"
    given, composite = entry["stac"], entry.get("composite", {})
    for sensor in given:
        check_known(f"{where}.stac", sensor, dataset.sensors)
    for key in composite:
        check_known(f"{where}.composite", key, [*dataset.sensors, "mask"])
    if not given:
        raise ConfigError(f"{where}.stac: no sensor; expected one or more of {', '.join(dataset.sensors)}")
    region = {
        "name": entry["name"],
        "aoi": _aoi(entry["aoi"], where),
        "dates": _dates(entry["dates"], where),
        "sensors": {
            name: _source(given[name], sensor, composite, where)
            for name, sensor in dataset.sensors.items()
            if name in given
        },
        "grid": {"resolution": 10, "tile_km": 20} | entry.get("grid", {}),
        "labels": check_labels(entry, where, dataset),
    }
    return region | {key: list(entry[key]) for key in ("scenarios",) if key in entry}


def _source(given: Mapping[str, Any], sensor: Sensor, composite: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return where the images of a sensor come from and how they are composed."""
    where, kind = f"{where}.stac.{sensor.name}", "radar" if sensor.logarithmic else "optical"
    ready = CATALOGUES.get(given["url"])
    if not ready and "://" not in given["url"]:
        check_known(f"{where}.url", given["url"], [*CATALOGUES, "an address"])
    collection = given.get("collection") or (getattr(ready, kind) if ready else _USUAL[kind])
    if not collection:
        raise ConfigError(f"{where}.collection: missing; {given['url']} has none for {sensor.name}: name one")
    method, units = composite.get(sensor.name, METHODS[kind][0]), given.get("units", UNITS[kind][0])
    check_known(f"{where.replace('stac', 'composite')}", method, METHODS[kind])
    check_known(f"{where}.units", units, UNITS[kind])
    return {
        "kind": kind,
        "url": ready.url if ready else given["url"],
        "collection": collection,
        "assets": dict(given.get("assets", {})),
        "max_cloud": given.get("max_cloud", 100),
        "limit": given.get("limit", _MOST_DATES),
        "mask": _mask(composite.get("mask", "scl")) if kind == "optical" else None,
        "composite": method,
        "units": units,
    }


def _mask(given: str | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the mask: a name alone is that of a scene classification; ``none`` is no mask."""
    if given == "none" or given is None:
        return None
    mask = {"asset": given} if isinstance(given, str) else dict(given)
    return {"values": list(SCL), "grow": _MASK_GROWTH} | mask


def _aoi(given: str | Sequence[float], where: str) -> str | list[float]:
    if not isinstance(given, str):
        west, south, east, north = given
        if west >= east or south >= north:
            raise ConfigError(
                f"{where}.aoi: {list(given)}; expected west, south, east, north in degrees, in this order"
            )
        return [west, south, east, north]
    path = expand_path(f"{where}.aoi", given)
    if not Path(path).exists():
        raise ConfigError(f"{where}.aoi: {path}: no such file; expected one with polygons: correct the path")
    return path


def _dates(given: Sequence[str], where: str) -> list[str]:
    first, last = given
    try:
        in_order = datetime.date.fromisoformat(first) <= datetime.date.fromisoformat(last)
    except ValueError as error:
        raise ConfigError(f"{where}.dates: {error}; expected two days, YYYY-MM-DD") from None
    if not in_order:
        raise ConfigError(f"{where}.dates: {first} is after {last}; expected the first day and the last one")
    return [first, last]


def place_of(text: str) -> list[float] | str:
    """Return west, south, east and north of a text such as ``-48.1,-6.1,-47.9,-5.9``; else the text, a file's path."""
    try:
        west, south, east, north = map(float, text.split(","))
    except ValueError:
        return text
    return [west, south, east, north]


def span_of(text: str) -> list[str]:
    """Return the first and the last day of ``first/last``, each a day or a month (YYYY-MM-DD or YYYY-MM).

    Raises:
        ConfigError: if it is neither.
    """
    try:
        first, last = text.split("/")
        days = [datetime.date.fromisoformat(part if part.count("-") > 1 else f"{part}-01") for part in (first, last)]
    except ValueError as error:
        raise ConfigError(f"dates: {text} ({error}); expected FIRST/LAST, such as 2022-06/2022-09") from None
    if last.count("-") == 1:
        days[1] = days[1].replace(day=calendar.monthrange(days[1].year, days[1].month)[1])
    return [day.isoformat() for day in days]
