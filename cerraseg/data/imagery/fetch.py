"""Fetch the images of a tile and compose them, in a memory that holds one band of all dates."""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from cerraseg.core.errors import DownloadError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress
from cerraseg.core.storage import need_room
from cerraseg.data.imagery import catalogues
from cerraseg.data.imagery.catalogues import TRIES, pause, signed, state
from cerraseg.data.imagery.composite import METHODS, UNITS, grown
from cerraseg.data.imagery.search import Found
from cerraseg.geo.grids import Grid
from cerraseg.geo.rasters import check_written, checksum

_PAD = 12  # pixels around a tile, so that its rim is resampled, and its cloud masks grow, as inside
_BLOCK = 512  # side of a stored block


def fetch_tile(
    images: Mapping[str, Sequence[Found]],
    sources: Mapping[str, Mapping[str, Any]],
    bands: Mapping[str, Sequence[str]],
    grid: Grid,
    folder: Path,
    threads: int = 4,
) -> None:
    """Write a composite of each sensor on a tile's grid: ``<sensor>.tif``, ``<sensor>_dates.tif``, and ``tile.json``.

    The second has the number of dates that each pixel is made of. Equal files give equal bytes, in whatever order they
    come. Where no date has data, neither has the composite; a tile without any is told in the log.

    Args:
        images: sensor → its images that meet the tile.
        sources: sensor → its entry of the configuration, see :mod:`cerraseg.config.regions`.
        bands: sensor → its bands, in their order.
        threads: files to read at a time; they wait for the network more than they compute.

    Raises:
        DownloadError: if a file is not there, or other than when it was found, after several tries.
    """
    pixels = grid.shape[0] * grid.shape[1]
    need_room(folder.parent, pixels * sum(4 * len(bands[sensor]) + 1 for sensor in images), "a tile")
    facts: dict[str, Any] = {"images": {}, "empty": []}
    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # odc-stac's, of arrays
    with atomic_write(folder) as part, rasterio.Env(**catalogues.gdal_options()):
        part.mkdir()
        for sensor, found in images.items():
            dates, layers = _compose(found, sources[sensor], bands[sensor], grid, threads)
            _write(part / f"{sensor}.tif", layers, bands[sensor], grid, sources[sensor]["units"])
            _write(part / f"{sensor}_dates.tif", dates[None], ["dates"], grid, "")
            facts["images"][sensor] = [one.id for one in found]
            if not dates.any():
                facts["empty"].append(sensor)
                log.warning(
                    "%s: no clear pixel of %s in %d images: it is left without data", folder.name, sensor, len(found)
                )
        digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(part.iterdir())}
        (part / "tile.json").write_text(json.dumps(facts | {"sha256": digests}, indent=2) + "\n")


def _compose(
    found: Sequence[Found], source: Mapping[str, Any], bands: Sequence[str], grid: Grid, threads: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return of how many dates each pixel is made, (H, W), and the composite (bands, H, W)."""
    box = GeoBox(grid.shape, grid.transform, str(grid.crs)).pad(_PAD)
    inner = slice(_PAD, -_PAD)
    clearest = source["composite"] == "least_cloud"
    found = sorted(  # of a day, the zone's own images first: they need no warping
        found, key=lambda one: (one.cloud if clearest else 0, one.date, one.code != str(grid.crs), one.id)
    )
    days = list(dict.fromkeys(one.date for one in found))
    layers = np.full((len(bands), *grid.shape), np.nan, np.float32)
    with ThreadPoolExecutor(threads) as pool:
        unusable = list(pool.map(partial(_unusable, source=source, box=box), found))
        dates = np.zeros(grid.shape, np.uint8)
        for place, band in enumerate(progress(bands, "fetch", len(bands))):
            stack = np.full((len(days), *grid.shape), np.nan, np.float32)
            read = pool.map(partial(_values, band=band, kind=source["kind"], box=box), found)
            for one, values, masked in zip(found, read, unusable, strict=True):
                day = stack[days.index(one.date)]  # items of a day fill each other
                values = np.where(masked, np.nan, values)[inner, inner]
                np.copyto(day, values, where=np.isnan(day))
            if len(days):
                seen = np.isfinite(stack).sum(axis=0).astype(np.uint8)
                dates = seen if place == 0 else np.minimum(dates, seen)
                layers[place] = _by_rows(METHODS[source["composite"]], stack)
    layers[:, dates == 0] = np.nan
    return dates, UNITS[source["units"]](layers)


def _by_rows(method: Callable[..., Any], stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compose a few rows at a time, as a method takes several times the memory of what it is given."""
    rows = range(0, stack.shape[1], _BLOCK // 4)
    return np.concatenate([method(stack[:, row : row + _BLOCK // 4]) for row in rows])


def _unusable(one: Found, *, source: Mapping[str, Any], box: GeoBox) -> NDArray[np.bool_]:
    """Return where the mask of an image forbids its pixels, grown; nowhere without a mask."""
    if not source["mask"]:
        return np.zeros(box.shape, bool)
    values = _load(one, "mask", box, "nearest", "uint8", 0)
    return grown(np.isin(values, source["mask"]["values"]), source["mask"]["grow"])


def _values(one: Found, *, band: str, kind: str, box: GeoBox) -> NDArray[np.float32]:
    """Return a band of an image as reflectance or linear power, NaN without data."""
    if kind == "radar":
        values = _load(one, band, box, "bilinear", "float32", np.nan)
        return np.where(values > 0, values, np.float32(np.nan))
    stored = _load(one, band, box, "bilinear", "uint16", 0)
    return np.where(stored == 0, np.float32(np.nan), (stored * one.scale + one.offset).astype(np.float32))


def _load(one: Found, band: str, box: GeoBox, resampling: str, dtype: str, nodata: float) -> NDArray[Any]:
    """Read a file of an image on a grid, once it is the one that was found; what fails is tried again.

    Raises:
        DownloadError: if it still fails, is not there, is cut, or has changed since.
    """
    from odc import stac

    key = one.assets[band]
    href, wait = one.item["assets"][key]["href"], pause()
    for attempt in range(TRIES):
        try:
            _check(one, key, href)
            with rasterio.Env(**catalogues.gdal_options()):
                item = pystac.Item.from_dict(dict(one.item))
                how: dict[str, Any] = {"dtype": dtype, "nodata": nodata, "groupby": "id"}
                how |= {"resampling": resampling, "chunks": None, "patch_url": signed}
                loaded = stac.load([item], bands=[key], geobox=box, **how)
            _check(one, key, href)  # a file that changes while it is read is a mixture
            return np.asarray(loaded[key].values[0])
        except (DownloadError, RasterioError) as error:
            why = str(error.__cause__ or error)
            log.info("%s %s: %s; try %d of %d", one.id, key, why, attempt + 1, TRIES)
            time.sleep(wait * 2**attempt if attempt + 1 < TRIES else 0)
    raise DownloadError(f"{href} of {one.id}: {why}; run again later, or ask for a new list: --forcerun search")


def _check(one: Found, key: str, href: str) -> None:
    now, then = state(href), tuple(one.files[key])
    for what, is_, was in zip(("ETag", "size in bytes"), now, then, strict=True):
        if None not in (was, is_) and is_ != was:
            raise DownloadError(
                f"{href} has the {what} {is_}, not {was} as when it was found: it was changed or is cut"
            )


def _write(path: Path, layers: NDArray[Any], names: Sequence[str], grid: Grid, units: str) -> None:
    """Write a tiled GeoTIFF; whole numbers as uint16, 0 without data, others as float32, NaN without data."""
    whole = units in ("dn", "dn_offset")
    if whole:
        layers = np.where(np.isnan(layers), 0, np.rint(layers).clip(1, 65_535)).astype(np.uint16)
    nodata = {"uint16": 0, "uint8": None, "float32": np.nan}[str(layers.dtype)]
    profile = {"driver": "GTiff", "count": len(layers), "dtype": layers.dtype, "nodata": nodata, "crs": grid.crs}
    profile |= {"height": grid.shape[0], "width": grid.shape[1], "transform": grid.transform, "tiled": True}
    profile |= {"blockxsize": _BLOCK, "blockysize": _BLOCK, "compress": "deflate", "bigtiff": "if_safer"}
    profile |= {"predictor": 3 if layers.dtype == np.float32 else 2, "interleave": "band"}
    with rasterio.open(path, "w", **profile) as file:
        file.descriptions = tuple(names)
        file.update_tags(UNITS=units)
        file.write(layers)
    check_written(path, {rasterio.windows.Window(0, 0, grid.shape[1], grid.shape[0]): checksum(layers)})
