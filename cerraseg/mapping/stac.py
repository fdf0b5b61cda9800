"""A STAC item: what a mapped scene is, where it lies and which files it has, as catalogues read it."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.errors import RasterioError
from rasterio.warp import transform as reproject

from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import LEVELS, LandCover
from cerraseg.geo import rasters
from cerraseg.geo.cog import NO_DATA

FIRST_IMAGE = "2014-04-03T00:00:00Z"
"""Launch of Sentinel-1A: no image of Sentinel-1 or Sentinel-2 is older."""

_EDGE_POINTS = 21  # a side of the footprint: in UTM its arc then leaves the true border by far less than a pixel
_DECIMALS = 7  # of a degree: a centimetre


class _Kind(NamedTuple):
    """What an asset is."""

    title: str
    description: str
    roles: tuple[str, ...]


ASSETS = {
    "classes": _Kind("Land cover", "Class id of each pixel; 255 is no data.", ("data",)),
    "classes_l1": _Kind("Land cover, L1", "Class id of the coarser level at each pixel; 255 is no data.", ("data",)),
    "confidence": _Kind("Confidence", "Probability of the predicted class in percent; 255 is no data.", ("data",)),
    "probabilities": _Kind("Class probabilities", "Probability of each class, a band a class.", ("data",)),
    "margin": _Kind("Margin", "Probability of the likeliest class less that of the second.", ("data",)),
    "entropy": _Kind("Entropy", "Entropy of the class probabilities.", ("data",)),
    "areas": _Kind("Areas", "Area of each class.", ("metadata",)),
    "figure": _Kind("Quick-look", "The map in class colours.", ("overview",)),
    "sieved": _Kind("Land cover, sieved", "Class id of each pixel without areas below the unit.", ("data",)),
    "polygons": _Kind("Polygons", "Areas of one class with class, hectares and mean confidence.", ("data",)),
}
"""Key of an asset → its texts and roles."""

_CLASSIFIED = ("classes", "sieved")
_MEDIA = {".tif": "COG", ".gpkg": "GEOPACKAGE", ".png": "PNG"}


def write_item(
    path: Path,
    *,
    id: str,
    date: str | None,
    files: Mapping[str, Path],
    sources: Sequence[Path],
    classes: Sequence[LandCover],
    properties: Mapping[str, Any],
) -> None:
    """Write the STAC 1.1 item ``id`` of a mapped scene to ``path``.

    ``files`` are its assets by key of :data:`ASSETS`; those that do not exist are left out, but for the class map
    (``classes``): its grid gives geometry (the outline of the raster, no-data and all), bounding box and the
    projection extension. Class maps list ``classes`` by the classification extension. Links to files are relative to
    the item. ``properties`` are added to the item's.

    ``date``, "YYYY-MM-DD", is when the images were taken. With None the item has no ``datetime``, but the span in which
    they must have been: from the launch of Sentinel-1A to the newest modification time of ``sources`` (in UTC, whole
    seconds). Equal input, those times included, gives equal bytes.

    Raises :class:`ConfigError` for a date of another form, :class:`DataError` for a class map that is missing, cannot
    be read or has no CRS, and where neither a date nor sources are given.
    """
    import pystac  # here, as its import takes as long as all else in a step

    geometry, bbox, grid = _place(files["classes"])
    taken, span = _time(date, sources)
    item = pystac.Item(id, geometry, bbox, taken, {**span, **properties})
    item.ext.add("proj")
    item.ext.add("classification")
    item.properties |= grid
    legends = dict.fromkeys(_CLASSIFIED, classes) | {"classes_l1": LEVELS["l1"]}
    for key, kind in ASSETS.items():
        if key in files and files[key].exists():
            item.add_asset(key, _asset(files[key], kind, path.parent, legends.get(key)))
    text = json.dumps(item.to_dict(include_self_link=False, transform_hrefs=False), indent=2, ensure_ascii=False)
    with atomic_write(path) as unfinished:
        unfinished.write_text(text + "\n", encoding="utf-8")


def _asset(file: Path, kind: _Kind, folder: Path, classes: Sequence[LandCover] | None) -> Any:
    from pystac import Asset, MediaType

    href = Path(os.path.relpath(file, folder)).as_posix()
    media = MediaType[_MEDIA[file.suffix]] if file.suffix in _MEDIA else "text/csv"
    fields: dict[str, Any] = {}
    if file.suffix == ".tif":
        with rasters.open_raster(file) as raster:
            fields["data_type"] = raster.dtypes[0]
            if raster.nodata is not None:
                fields["nodata"] = raster.nodata if np.isfinite(raster.nodata) else str(raster.nodata)
    if classes is not None:
        fields["classification:classes"] = _legend(classes)
    return Asset(href, kind.title, kind.description, media, list(kind.roles), fields)


def _legend(classes: Sequence[LandCover]) -> list[dict[str, Any]]:
    from pystac.extensions.classification import Classification

    known = [
        Classification.create(
            entry.id, name=_slug(entry.name), title=entry.name, color_hint=bytes(entry.colour).hex().upper()
        )
        for entry in classes
    ]
    return [entry.to_dict() for entry in (*known, Classification.create(NO_DATA, name="no-data", nodata=True))]


def _slug(name: str) -> str:
    """A class's name in the letters that the extension allows."""
    return re.sub(r"[^0-9A-Za-z]+", "-", name.replace("+", " plus")).lower()


def _time(date: str | None, sources: Sequence[Path]) -> tuple[datetime | None, dict[str, str]]:
    if date is not None:
        try:
            return datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC), {}
        except ValueError as error:
            raise ConfigError(f'date is {date!r}, expected a day such as "2022-08-31"; correct it.') from error
    if not sources:
        raise DataError("the scene has neither a date nor source files; expected one: give its date.")
    newest = datetime.fromtimestamp(int(max(source.stat().st_mtime for source in sources)), UTC)
    return None, {"start_datetime": FIRST_IMAGE, "end_datetime": f"{newest:%Y-%m-%dT%H:%M:%SZ}"}


def _place(path: Path) -> tuple[dict[str, Any], list[float], dict[str, Any]]:
    """Footprint (GeoJSON), its bounding box and the projection fields of a raster."""
    try:
        with rasters.open_raster(path) as file:
            crs, transform, (height, width) = file.crs, file.transform, file.shape
    except RasterioError as error:
        raise DataError(f"{path} cannot be read ({error}); expected a GeoTIFF: map the scene again.") from error
    if not crs:
        raise DataError(f"{path} has no coordinate reference system; expected one: georeference the map.")
    step = np.linspace(0, 1, _EDGE_POINTS)[:-1]
    column = np.concatenate([0 * step, step, 0 * step + 1, 1 - step]) * width
    row = np.concatenate([step, 0 * step + 1, 1 - step, 0 * step]) * height
    a, b, c, d, e, f = transform[:6]
    x, y = a * column + b * row + c, d * column + e * row + f
    outline = np.column_stack(reproject(crs, rasters.WGS84, x, y))
    authority = crs.to_authority()
    system = {"proj:code": ":".join(authority)} if authority else {"proj:wkt2": crs.to_wkt(version="WKT2_2019")}
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
