"""Where patches lie on the ground, whatever their coordinate systems."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from cerraseg.core.errors import DataError
from cerraseg.geo.rasters import WGS84

COLUMNS = ["id", "crs", "a", "left", "bottom", "right", "top"]
"""Columns of the patch table that :func:`locate` needs."""

_TRUE_SCALE = 0.01  # a system is metric where its metres are those of the ground to 1 %: UTM is, Web Mercator is not
_AXIS, _ECCENTRICITY2 = 6378137.0, 0.00669437999014  # of the ellipsoid WGS 84: m, and squared

_DEEP = 0.5  # pixels of overlap from which on patches overlap: less is the rounding of coordinates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """The places of N patches, each the rectangle of its bounds."""

    ids: list[str]
    crs: NDArray[np.str_]  # their coordinate systems as text, (N,)
    system: Ints  # a number for each of these texts, (N,)
    metric: NDArray[np.bool_]  # whether the system is projected, in metres of true scale, (N,)
    bounds: Floats  # left, bottom, right, top in units of the system, (N, 4)
    degrees: Floats  # longitude and latitude of the centre, (N, 2)
    corners: Floats  # the same of the corners, one after the other around the patch, (N, 4, 2)
    pixel: Floats  # the shorter side of a pixel in m, (N,)

    @cached_property
    def plane(self) -> CRS:
        """An equal-area projection around the middle of all patches, in metres."""
        x, y, z = geocentric(self.degrees).mean(axis=0)
        return equal_area_around(float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y)))))

    @cached_property
    def shapes(self) -> NDArray[np.object_]:
        """The patches as quadrangles on :attr:`plane`, (N,) of shapely polygons."""
        x, y = transform(WGS84, self.plane, *self.corners.reshape(-1, 2).T)
        return np.asarray(shapely.polygons(np.stack([x, y], axis=-1).reshape(-1, 4, 2)))


def locate(table: pd.DataFrame) -> Places:
    """Places of the patches in a table with the columns :data:`COLUMNS`, in its row order.

    Raises:
        DataError: if a coordinate system is unknown to GDAL or local, or a patch lies outside its domain.
    """
    texts = table["crs"].astype(str).to_numpy(np.str_)
    bounds = table[["left", "bottom", "right", "top"]].to_numpy(np.float64)
    left, bottom, right, top = bounds.T
    x = np.stack([left, right, right, left, (left + right) / 2], axis=1)
    y = np.stack([bottom, bottom, top, top, (bottom + top) / 2], axis=1)
    names, system = np.unique(texts, return_inverse=True)
    degrees, metres = np.empty((len(texts), 5, 2)), np.zeros(len(texts), bool)
    for number, name in enumerate(names.tolist()):
        rows = np.flatnonzero(system == number)
        degrees[rows], metres[rows] = _degrees(name, x[rows], y[rows])
    pixels = np.maximum(1, np.round((right - left) / np.abs(table["a"].to_numpy(np.float64))))  # along a side
    ids = table["id"].astype(str).tolist()
    if lost := [id_ for id_, where in zip(ids, degrees, strict=True) if not np.isfinite(where).all()]:
        raise DataError(
            f"{len(lost)} patches (the first is {lost[0]}) lie outside the domain of their coordinate reference "
            "system; expected a place on Earth: correct the georeference of their files"
        )
    corners = geocentric(degrees[:, :4])
    sides = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    metric = metres & (abs(sides[:, 0] / (right - left) - 1) <= _TRUE_SCALE)
    return Places(ids, texts, system, metric, bounds, degrees[:, 4], degrees[:, :4], sides.min(axis=1) / pixels)


def _degrees(name: str, x: Floats, y: Floats) -> tuple[Floats, bool]:
    """Longitudes and latitudes, with a last axis of 2, and whether the system is projected in metres."""
    try:
        crs = CRS.from_user_input(name)
        lonlat = np.stack(transform(crs, WGS84, x.ravel(), y.ravel()), axis=-1)
    except Exception as error:  # rasterio has no public name for the errors of PROJ
        raise DataError(
            f"the coordinate reference system {name!r} has no known place on Earth ({error}); "
            'expected one such as "EPSG:32722": correct the georeference of the files'
        ) from error
    return lonlat.reshape(*x.shape, 2), bool(crs.is_projected and crs.linear_units_factor[1] == 1)


def overlaps(places: Places) -> tuple[Ints, Floats]:
    """Find the pairs of patches that overlap by more than half a pixel: rows (M, 2), first < second, and shares (M,).

    A share is that of the smaller patch which the other one covers.
    """
    if len(places.ids) < 2:
        return np.empty((0, 2), np.int64), np.empty(0)
    tree = shapely.STRtree(places.shapes)
    first, second = tree.query(places.shapes, "intersects")
    pairs = np.stack([first, second], axis=1)[first < second]
    one, other = places.shapes[pairs[:, 0]], places.shapes[pairs[:, 1]]
    common = shapely.intersection(one, other)
    area, sides = shapely.area(common), shapely.length(common) / 2  # width + height of the common rectangle, any way up
    narrow = 2 * area / np.maximum(sides + np.sqrt(np.maximum(sides**2 - 4 * area, 0)), 1e-9)  # the shorter of the two
    deep = narrow > _DEEP * np.maximum(places.pixel[pairs[:, 0]], places.pixel[pairs[:, 1]])
    share = area / np.minimum(shapely.area(one), shapely.area(other))
    return pairs[deep], share[deep]


def geocentric(degrees: Floats) -> Floats:
    """Geocentric x, y, z in m (last axis 3) on the ellipsoid WGS 84 of longitudes and latitudes (last axis 2)."""
    longitude, latitude = np.moveaxis(np.radians(degrees), -1, 0)
    radius = _AXIS / np.sqrt(1 - _ECCENTRICITY2 * np.sin(latitude) ** 2)
    across = radius * np.cos(latitude)
    up = radius * (1 - _ECCENTRICITY2) * np.sin(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), up], axis=-1)


def utm_zone(degrees: Floats) -> Ints:
    """EPSG code of the UTM zone (6° wide, WGS 84, of the hemisphere) that holds each longitude and latitude (N, 2)."""
    zone = np.floor((degrees[:, 0] + 180) / 6) % 60 + 1
    return np.asarray(np.where(degrees[:, 1] < 0, 32700, 32600) + zone, dtype=np.int64)


def equal_area_around(longitude: float, latitude: float) -> CRS:
    """The Lambert azimuthal equal-area projection around a place, in metres."""
    return CRS.from_string(f"+proj=laea +lat_0={latitude!r} +lon_0={longitude!r} +datum=WGS84 +units=m")
