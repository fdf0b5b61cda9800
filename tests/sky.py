"""Simulated Sentinel-2 L2A and Sentinel-1 RTC items astride the border of UTM zones 22 and 23 south, for stac_server.

All are warped from one image of the simulated landscape, the master, so that it is known what their composite shows.
"""

import json
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject, transform_bounds

from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.masks import roll_up
from cerraseg.data.simulation.images import render
from cerraseg.data.simulation.land import CERRADATA, PARENTS, Land

PIXEL = 8.983e-5  # degrees: 10 m on the ground
CENTRE = (-48.0, -6.0)  # degrees east and north; the zones meet at this meridian
ZONES = {"22MHU": 32722, "23MJP": 32723}  # MGRS square → EPSG code
DATES = ("2022-01-12", "2022-04-22", "2022-06-26", "2022-08-15")
RADAR_DATES = ("2022-02-03", "2022-06-15", "2022-10-13")
CLEAR, SHADOW, CLOUD = 4, 3, 9  # of the scene classification
AOI_MARGIN = 70  # px
# fmt: off
ASSETS = {  # of Earth Search, in the order of the master's bands → metres of a pixel
    "coastal": 60, "blue": 10, "green": 10, "red": 10, "rededge1": 20, "rededge2": 20, "rededge3": 20, "nir": 10,
    "nir08": 20, "nir09": 60, "swir16": 20, "swir22": 20,
}
# fmt: on
EXTENSIONS = ("eo/v1.1.0", "grid/v1.1.0", "projection/v2.0.0", "raster/v1.1.0", "sar/v1.0.0")

Item = dict[str, Any]


class Kind(NamedTuple):
    """What an optical item says, and what its pixels have lost of the master's 1000."""

    baseline: str
    offset_applied: bool
    offset: float
    taken_off: int


KINDS = (Kind("02.14", False, 0, 1000), Kind("05.09", False, -0.1, 0), Kind("05.09", True, -0.1, 1000))
LIE = Kind("05.09", False, -0.1, 1000)


@dataclass(frozen=True)
class Sky:
    """Where everything lies, and the grid of the master and of the truth."""

    folder: Path
    items: Path
    aoi: Path
    master_msi: Path
    master_sar: Path
    truth_l1: Path
    truth_l2: Path
    grid: Affine
    shape: tuple[int, int]


@dataclass(frozen=True)
class Zone:
    """The 10 m grid of a zone's items."""

    square: str
    epsg: int
    grid: Affine
    shape: tuple[int, int]

    def warp(self, master: Path, band: int) -> NDArray[np.float32]:
        """Warp a band of a master image to this grid; NaN is no data."""
        warped = np.full(self.shape, np.nan, np.float32)
        grids = {"dst_crs": f"EPSG:{self.epsg}", "dst_transform": self.grid}
        missing = {"src_nodata": np.nan, "dst_nodata": np.nan}
        with rasterio.open(master) as source:
            reproject(rasterio.band(source, band), warped, **grids, **missing, resampling=Resampling.bilinear)
        return warped


def write_sky(
    folder: Path,
    *,
    width: int,
    height: int,
    seed: int,
    land_scene: int = 2**32 - 2,
    dates: tuple[str, ...] = DATES,
    radar_dates: tuple[str, ...] = RADAR_DATES,
    lie: bool = False,
    date_gain: float = 0.0,
    **settings: Any,
) -> Sky:
    """Write items.json and its files over an area of px of 10 m; ``settings`` are of the :class:`Land`.

    Optical items are of three kinds by turns, two on a date. With ``lie``, the last one in zone 22 has lost the offset
    that it claims. ``date_gain`` is the standard deviation of the logarithm of reflectance between dates.
    """
    grid = Affine(PIXEL, 0, CENTRE[0] - width / 2 * PIXEL, 0, -PIXEL, CENTRE[1] + height / 2 * PIXEL)
    names = ("items.json", "aoi.geojson", "master_msi.tif", "master_sar.tif", "truth_l1.tif", "truth_l2.tif")
    sky = Sky(folder, *(folder / name for name in names), grid, (height, width))
    folder.mkdir(parents=True, exist_ok=True)
    write_master(sky, Land(seed, land_scene, **settings))
    write_aoi(sky)
    rng, items = np.random.default_rng(seed), []
    clouds, gains = draw_clouds(sky.shape, len(dates), rng), np.exp(date_gain * rng.standard_normal(len(dates)))
    for place, square in enumerate(ZONES):
        zone = zone_of(sky, square)
        kinds = [KINDS[(turn + place) % len(KINDS)] for turn in range(len(dates))]
        if lie and place == 0:
            kinds[-1] = LIE
        optical = [optical_item(sky, zone, date, kind) for date, kind in zip(dates, kinds, strict=True)]
        write_optical(sky, zone, [*zip(optical, kinds, gains.tolist(), strict=True)], clouds)
        items += optical + write_radar(sky, zone, radar_dates)
    sky.items.write_text(json.dumps(items))
    return sky


def write_master(sky: Sky, land: Land) -> None:
    """Render the land block by block: the master image, and the classes that it shows."""
    profile = {"driver": "GTiff", "width": sky.shape[1], "height": sky.shape[0], "crs": "EPSG:4326", "tiled": True}
    profile |= {"transform": sky.grid, "interleave": "band", "dtype": "float32"}  # blocks of 256 px
    classes = profile | {"count": 1, "dtype": "uint8", "nodata": IGNORE, "compress": "deflate"}
    with (
        rasterio.open(sky.master_msi, "w", **profile, count=12) as msi,
        rasterio.open(sky.master_sar, "w", **profile, count=2) as sar,
        rasterio.open(sky.truth_l1, "w", **classes) as l1,
        rasterio.open(sky.truth_l2, "w", **classes) as l2,
    ):
        msi.descriptions, sar.descriptions = CERRADATA.bands("msi"), CERRADATA.bands("sar")
        for _, block in msi.block_windows(1):
            images, ground = render(land, (block.row_off, block.col_off, block.height, block.width))
            truth = ground.l2[1:-1, 1:-1].astype(np.uint8)
            msi.write(images[:12], window=block)
            sar.write(images[12:], window=block)
            l1.write(roll_up(truth, PARENTS), 1, window=block)
            l2.write(truth, 1, window=block)


def write_aoi(sky: Sky) -> None:
    """Write a pentagon that leaves a margin of the area on every side."""
    height, width = (side - 2 * AOI_MARGIN for side in sky.shape)
    assert min(height, width) > 0, "an area too small for its margins"
    corners = [(0.5, 0), (0, 0.4), (0.2, 1), (0.8, 1), (1, 0.4), (0.5, 0)]
    ring = [sky.grid * (AOI_MARGIN + x * width, AOI_MARGIN + y * height) for x, y in corners]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    sky.aoi.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


def draw_clouds(shape: tuple[int, int], dates: int, rng: np.random.Generator) -> list[NDArray[Any]]:
    """Draw discs (column, row, radius in the master's px) by date: a quarter is hidden, never but for two dates."""
    rows, columns = np.arange(3, shape[0], 6)[:, None], np.arange(3, shape[1], 6)
    hidden, clouds = np.zeros((len(rows), len(columns)), int), []
    for _ in range(dates):
        here, discs = np.zeros(hidden.shape, bool), np.empty((0, 3))
        for _ in range(30):
            disc = rng.uniform((0, 0, 0.06 * min(shape)), (shape[1], shape[0], 0.14 * min(shape)))
            more = here | (paint([disc], columns, rows, 12) != CLEAR)  # the zones' pixels lie elsewhere
            if more.mean() < 0.24 and (hidden + more).max() <= dates - 2:
                here, discs = more, np.vstack((discs, disc))
        hidden += here
        clouds.append(discs)
    return clouds


def paint(discs: Any, columns: NDArray[Any], rows: NDArray[Any], margin: float = 0) -> NDArray[np.uint8]:
    """Classify places, in the master's px: clouds, and shadows of the same size to the south-east."""
    classes = np.full(np.broadcast_shapes(columns.shape, rows.shape), CLEAR, np.uint8)
    for kind, shift in ((SHADOW, 1), (CLOUD, 0)):
        for x, y, radius in discs:
            distance = np.hypot(columns - x - shift * radius, rows - y - shift * radius)
            classes[distance < radius + margin] = kind
    return classes


def zone_of(sky: Sky, square: str) -> Zone:
    """Make a zone's grid on whole 60 m, which reaches at least as far beyond the master."""
    (west, north), (east, south) = sky.grid * (0, 0), sky.grid * sky.shape[::-1]
    west, south, east, north = transform_bounds("EPSG:4326", f"EPSG:{ZONES[square]}", west, south, east, north)
    left, bottom, right, top = floor(west / 60) - 1, floor(south / 60) - 1, ceil(east / 60) + 1, ceil(north / 60) + 1
    grid = Affine(10, 0, 60 * left, 0, -10, 60 * top)
    return Zone(square, ZONES[square], grid, (6 * (top - bottom), 6 * (right - left)))


def coarsen(image: NDArray[Any], times: int) -> NDArray[Any]:
    height, width = image.shape
    return image.reshape(height // times, times, width // times, times).mean((1, 3))


def refine(image: NDArray[Any], times: int) -> NDArray[Any]:
    return image.repeat(times, 0).repeat(times, 1)


def write_optical(sky: Sky, zone: Zone, items: list[tuple[Item, Kind, float]], clouds: list[NDArray[Any]]) -> None:
    """Write the assets of a zone's items, each with its kind and gain. Clouds go by 60 m, for bands of all sizes."""
    y, x = np.indices((zone.shape[0] // 6, zone.shape[1] // 6)) + 0.5
    degrees = Transformer.from_crs(zone.epsg, 4326, always_xy=True).transform(*(zone.grid * (6 * x, 6 * y)))
    skies = [paint(discs, *(~sky.grid * degrees)) for discs in clouds]
    white = np.random.default_rng(0).uniform(8000, 9000, x.shape).astype(np.float32)
    for band, (asset, metres) in enumerate(ASSETS.items(), 1):
        master = coarsen(zone.warp(sky.master_msi, band), metres // 10)
        for (item, kind, gain), classes in zip(items, skies, strict=True):
            seen, ground = refine(classes, 60 // metres), (master - 1000) * gain + 1000
            ground[seen == SHADOW] = 1000 + 0.2 * (ground[seen == SHADOW] - 1000)
            ground = np.where(seen == CLOUD, refine(white, 60 // metres), ground) - kind.taken_off
            image = np.where(np.isnan(master), 0, ground.round().clip(1, 65535)).astype(np.uint16)
            add_asset(sky, zone, item, asset, image, 0, scale=0.0001, offset=kind.offset)
    write_classes(sky, zone, [item for item, _, _ in items], skies)


def write_classes(sky: Sky, zone: Zone, items: list[Item], skies: list[NDArray[np.uint8]]) -> None:
    """Write the scene classifications, and check that clouds hide as little as they should."""
    valid = ~np.isnan(coarsen(zone.warp(sky.master_msi, 1), 2))
    layers = [refine(classes, 3) * valid for classes in skies]
    assert sum(layer == CLEAR for layer in layers)[valid].min() >= min(2, len(layers)), "ground that clouds hide"
    for item, layer in zip(items, layers, strict=True):
        assert np.isin(layer, (CLOUD, SHADOW)).sum() <= 0.25 * valid.sum(), "more clouds than asked for"
        item["properties"]["eo:cloud_cover"] = round(100 * float((layer == CLOUD).sum() / valid.sum()), 2)
        add_asset(sky, zone, item, "scl", layer, 0)


def write_radar(sky: Sky, zone: Zone, dates: tuple[str, ...]) -> list[Item]:
    """Write a zone's radar items, by factors of which the logarithms have mean 0."""
    items = [radar_item(sky, zone, date) for date in dates]
    for band, asset in enumerate(("vv", "vh"), 1):
        master = zone.warp(sky.master_sar, band)
        for turn, item in enumerate(items):
            image = np.where(np.isnan(master), np.float32(-32768), master * 1.1 ** (turn - (len(items) - 1) / 2))
            add_asset(sky, zone, item, asset, image, -32768)
    return items


def optical_item(sky: Sky, zone: Zone, date: str, kind: Kind) -> Item:
    stated = {"s2:processing_baseline": kind.baseline, "earthsearch:boa_offset_applied": kind.offset_applied}
    about = {"datetime": f"{date}T13:32:00Z", "platform": "sentinel-2a", "grid:code": f"MGRS-{zone.square}"} | stated
    return new_item(sky, zone, "sentinel-2-l2a", f"S2A_{zone.square}_{date.replace('-', '')}_0_L2A", about)


def radar_item(sky: Sky, zone: Zone, date: str) -> Item:
    about = {"datetime": f"{date}T08:56:00Z", "platform": "sentinel-1a", "sat:orbit_state": "descending"}
    about |= {"sar:instrument_mode": "IW", "sar:frequency_band": "C", "sar:product_type": "GRD"}
    name = f"S1A_IW_GRDH_1SDV_{date.replace('-', '')}T085600_{zone.square}_rtc"
    return new_item(sky, zone, "sentinel-1-rtc", name, about | {"sar:polarizations": ["VV", "VH"]})


def new_item(sky: Sky, zone: Zone, collection: str, name: str, about: Item) -> Item:
    """Make an item without assets, whose data cover the area of the master."""
    (west, north), (east, south) = sky.grid * (0, 0), sky.grid * sky.shape[::-1]
    ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [f"https://stac-extensions.github.io/{extension}/schema.json" for extension in EXTENSIONS],
        "id": name,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": about | {"proj:epsg": zone.epsg, "proj:code": f"EPSG:{zone.epsg}"},
        "links": [],
        "assets": {},
    }


def add_asset(sky: Sky, zone: Zone, item: Item, name: str, image: NDArray[Any], nodata: int, **values: float) -> None:
    """Write an asset as a COG, and name it in its item; ``values`` are of raster:bands."""
    (height, width), times = image.shape, zone.shape[0] // image.shape[0]
    grid, href = zone.grid * Affine.scale(times), f"{item['id'][:2].lower()}/{item['id']}/{name}.tif"
    profile = {"count": 1, "height": height, "width": width, "dtype": image.dtype, "nodata": nodata}
    profile |= {"driver": "COG", "crs": f"EPSG:{zone.epsg}", "transform": grid}
    storage = {"compress": "deflate", "level": 1, "predictor": "yes", "blocksize": 512 if height > 2048 else 256}
    storage["overview_resampling"] = "nearest" if name == "scl" else "average"
    (sky.folder / href).parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(sky.folder / href, "w", **profile, **storage, num_threads=2) as file:
        file.write(image, 1)
    item["assets"][name] = {
        "href": f"{{ROOT}}/{href}",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data"],
        "gsd": 10 * times,
        "proj:shape": image.shape,
        "proj:transform": grid[:6],
        "raster:bands": [{"nodata": nodata, "data_type": str(image.dtype), "spatial_resolution": 10 * times} | values],
    }


def hectares(area: Any) -> float:
    """Return the hectares of a geometry of longitudes and latitudes on the ellipsoid."""
    return abs(float(Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(area, 0.01))[0])) / 10_000
