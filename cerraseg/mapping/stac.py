"""A STAC item: what a mapped scene is, where it lies and which files it has, as catalogues read it."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.warp import transform as reproject

from cerraseg.core.errors import ConfigError
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import LandCover
from cerraseg.geo import rasters
from cerraseg.geo.cog import NO_DATA

_FIRST_IMAGE = "2014-04-03T00:00:00Z"  # launch of Sentinel-1A: no image of Sentinel-1 or Sentinel-2 is older
_EDGE_POINTS = 21  # a side of the footprint: in UTM its arc then leaves the true border by far less than a pixel
_DECIMALS = 7  # of a degree: a centimetre


ASSETS = {
    "classes": ("Land cover", "Class id of each pixel; 255 is no data.", "data"),
    "confidence": ("Confidence", "Probability of the predicted class in percent; 255 is no data.", "data"),
    "probabilities": ("Class probabilities", "Probability of each class, a band a class.", "data"),
    "margin": ("Margin", "Probability of the likeliest class less that of the second.", "data"),
    "entropy": ("Entropy", "Entropy of the class probabilities.", "data"),
    "set": ("Class set", "Classes that are possible at the pixel: how many, then 1 or 0 for each.", "data"),
    "disagreement": ("Disagreement", "Mutual information of class and member of an ensemble, in percent.", "data"),
    "areas": ("Areas", "Area of each class.", "metadata"),
    "figure": ("Quick-look", "The map in class colours.", "overview"),
    "sieved": ("Land cover, sieved", "Class id of each pixel without areas below the unit.", "data"),
    "polygons": ("Polygons", "Areas of one class with class, hectares and mean confidence.", "data"),
}
"""Key of an asset → its title, description and role; beside them there is ``classes_<level>`` of coarser levels."""

_COARSER = "Class id of the coarser level at each pixel; 255 is no data."
_MEDIA = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".gpkg": "application/geopackage+sqlite3",
    ".png": "image/png",
    ".csv": "text/csv",
    ".ndjson": "application/x-ndjson",
}


def write_item(
    path: Path,
    *,
    id: str,
    date: str | None,
    files: Mapping[str, Path],
    sources: Sequence[Path],
    classes: Sequence[LandCover],
    coarser: Mapping[str, Sequence[LandCover]],
    properties: Mapping[str, Any],
) -> None:
    """Write the STAC 1.1 item of a mapped scene; equal input, times of ``sources`` included, gives equal bytes.

    Args:
        path: item to write; its links are relative to it.
        id: of the item.
        date: when the images were taken, YYYY-MM-DD, or the first and last day, joined by ``/``. With None the item has
            no ``datetime``, but the span in which they must have been: from the launch of Sentinel-1A to the newest
            modification time of ``sources`` (in UTC, whole seconds).
        files: its assets by key (see :data:`ASSETS`), of which those are taken that exist. The class map (``classes``)
            must: the outline of the raster is the item's geometry.
        sources: the scene's images.
        classes: legend of the class map, which lists it by the classification extension.
        coarser: coarser level → legend of its class map.
        properties: further properties of the item.

    Raises:
        ConfigError: for a date of another form.
    """
    import pystac  # here, as its import takes as long as all else in a step

    geometry, bbox, grid = _place(files["classes"])
    taken, span = _time(date, sources)
    item = pystac.Item(id, geometry, bbox, taken, {**span, **properties})
    item.ext.add("proj")
    item.ext.add("classification")
    item.properties |= grid
    legends = {"classes": classes, "sieved": classes, **{f"classes_{level}": coarser[level] for level in coarser}}
    maps = {f"classes_{level}": (f"Land cover, {level.upper()}", _COARSER, "data") for level in coarser}
    for key, (title, description, role) in {"classes": ASSETS["classes"], **maps, **ASSETS}.items():
        if key in files and files[key].exists():
            href = Path(os.path.relpath(files[key], path.parent)).as_posix()
            suffix = files[key].suffix
            fields: dict[str, Any] = {"data_type": "uint8", "nodata": float(NO_DATA)} if suffix == ".tif" else {}
            if key in legends:
                fields["classification:classes"] = _legend(legends[key])
            item.add_asset(key, pystac.Asset(href, title, description, _MEDIA[suffix], [role], fields))
    text = json.dumps(item.to_dict(include_self_link=False, transform_hrefs=False), indent=2, ensure_ascii=False)
    with atomic_write(path) as unfinished:
        unfinished.write_text(text + "\n", encoding="utf-8")


def write_collection(
    path: Path, items: Sequence[Path], *, id: str, title: str, description: str, beside: Mapping[str, Path]
) -> None:
    """Write a STAC collection over items of :func:`write_item`; equal input gives equal bytes.

    Args:
        path: collection to write; its links are relative to it.
        items: at least one.
        beside: key → file of what belongs to all of them.
    """
    import pystac

    read = [pystac.Item.from_file(str(item)) for item in items]
    times = [item.common_metadata for item in read]
    start = min(of.start_datetime for of in times if of.start_datetime)
    span = pystac.TemporalExtent([[start, max(of.end_datetime for of in times if of.end_datetime)]])
    extent = pystac.Extent(pystac.SpatialExtent([list(item.bbox or []) for item in read]), span)
    collection = pystac.Collection(id, description, extent, title, license="other")
    for item, file in zip(read, items, strict=True):
        href = Path(os.path.relpath(file, path.parent)).as_posix()
        collection.add_link(pystac.Link("item", href, "application/geo+json", item.id))
    for key, file in beside.items():
        href = Path(os.path.relpath(file, path.parent)).as_posix()
        collection.add_asset(key, pystac.Asset(href, key, media_type=_MEDIA.get(file.suffix), roles=["metadata"]))
    text = json.dumps(collection.to_dict(include_self_link=False, transform_hrefs=False), indent=2, ensure_ascii=False)
    with atomic_write(path) as unfinished:
        unfinished.write_text(text + "\n", encoding="utf-8")


def class_name(entry: LandCover) -> str:
    """Return a class's name as the classification extension allows it."""
    return re.sub(r"[^0-9A-Za-z]+", "-", entry.name.replace("+", " plus")).lower()


def _legend(classes: Sequence[LandCover]) -> list[dict[str, Any]]:
    """Classes by the classification extension; it allows letters, digits and - in a name."""
    known = [
        {
            "value": entry.id,
            "name": class_name(entry),
            "title": entry.name,
            "color_hint": bytes(entry.colour).hex().upper(),
        }
        for entry in classes
    ]
    return [*known, {"value": NO_DATA, "name": "no-data", "nodata": True}]


def _time(date: str | None, sources: Sequence[Path]) -> tuple[datetime | None, dict[str, str]]:
    if date is None:
        newest = datetime.fromtimestamp(int(max(source.stat().st_mtime for source in sources)), UTC)
        return None, {"start_datetime": _FIRST_IMAGE, "end_datetime": f"{newest:%Y-%m-%dT%H:%M:%SZ}"}
    try:
        first, *last = (datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) for day in date.split("/"))
        if not last:
            return first, {}
        return None, {"start_datetime": f"{first:%Y-%m-%dT00:00:00Z}", "end_datetime": f"{last[0]:%Y-%m-%dT23:59:59Z}"}
    except ValueError as error:
        raise ConfigError(f'date is {date!r}, expected a day such as "2022-08-31"; correct it.') from error


def _place(path: Path) -> tuple[dict[str, Any], list[float], dict[str, Any]]:
    """Footprint (GeoJSON), its bounding box and the projection fields of a raster."""
    with rasters.open_raster(path) as file:
        crs, transform, (height, width) = file.crs, file.transform, file.shape
    step = np.linspace(0, 1, _EDGE_POINTS)[:-1]
    column = np.concatenate([0 * step, step, 0 * step + 1, 1 - step]) * width
    row = np.concatenate([step, 0 * step + 1, 1 - step, 0 * step]) * height
    x, y = transform * (column, row)
    outline = np.column_stack(reproject(crs, rasters.WGS84, x, y))
    code = rasters.crs_code(crs)
    system = {"proj:code": code} if code else {"proj:wkt2": crs.to_wkt(version="WKT2_2019")}
    grid = {**system, "proj:shape": [height, width], "proj:transform": list(transform[:6])}
    return *_footprint(outline), grid


def _footprint(outline: npt.NDArray[np.float64]) -> tuple[dict[str, Any], list[float]]:
    """Polygon of longitudes and latitudes, counter-clockwise; one that crosses the antimeridian is cut there, and its
    bounding box then begins east of where it ends (RFC 7946, 3.1.9 and 5.2)."""
    outline[:, 0] = np.unwrap(outline[:, 0], period=360)
    whole = shapely.Polygon(outline.round(_DECIMALS))
    west, south, east, north = whole.bounds
    parts = []
    for turn in (-360, 0, 360):
        part = shapely.intersection(whole, shapely.box(turn - 180, -90, turn + 180, 90))
        if part.area > 0:
            moved = shapely.transform(part, lambda points, turn=turn: (points - [turn, 0]).round(_DECIMALS))
            parts.append(shapely.geometry.polygon.orient(moved))
    shape = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    bbox = [(west + 180) % 360 - 180, south, 180 - (180 - east) % 360, north]
    return shapely.geometry.mapping(shape), [round(float(side), _DECIMALS) for side in bbox]
