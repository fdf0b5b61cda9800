"""Maps for the overview page: reduced, quantised and compressed, so that a page that holds dozens of them opens."""

import base64
import gzip
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import LEVELS
from cerraseg.geo import rasters
from cerraseg.geo.cog import NO_DATA
from cerraseg.report.overview.views import View

BUDGET = 6_000_000
"""Characters that all maps of a page may take; with many views each is reduced further, down to :data:`FLOOR`."""

LARGEST, FLOOR = 1024, 256
"""Pixels of a map's longer side at most, and where reducing for the budget ends (about 40 kB a view)."""

CONFIDENCE_STEP = 5
"""Percent between two confidences that are told apart: finer steps are noise that does not compress."""


@dataclass
class _Shelf:
    """Texts, each kept once: a view refers to one by its place. Images that many views share are read once."""

    places: dict[str, int] = field(default_factory=dict)
    images: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def put(self, text: str) -> int:
        return self.places.setdefault(text, len(self.places))


@dataclass(frozen=True)
class _Grid:
    shape: tuple[int, int]
    transform: Any
    crs: Any
    bounds: tuple[float, float, float, float]


def pack(views: Sequence[View], folder: Path, budget: int = BUDGET) -> dict[str, Any]:
    """The maps of a page in ``folder``, ready for JSON: ``side``, ``texts`` and ``views``.

    Maps have a longer side of at most ``side`` pixels, from :data:`LARGEST` down to :data:`FLOOR` as ``texts`` with no
    more than ``budget`` characters allow. ``texts`` are data URIs of images and class ids or confidences in steps of
    :data:`CONFIDENCE_STEP` percent as base64 of gzip of uint8 rows, the lowest row first. Views name texts by place.

    Raises :class:`DataError` if a file cannot be read, holds what is no map, or does not fit the view's class map.
    """
    smallest = _packed(views, folder, FLOOR)
    side = min(LARGEST, _fitting(FLOOR, smallest, budget))
    while side > FLOOR:
        packed = _packed(views, folder, side)
        if _size(packed) <= budget:
            return packed
        side = min(_fitting(side, packed, budget), 15 * side // 16)
    return smallest


def _fitting(side: int, packed: Mapping[str, Any], budget: int) -> int:
    """The side with which the maps take ``budget`` if their size grows with their area."""
    return int(side * math.sqrt(budget / max(1, _size(packed))))


def _size(packed: Mapping[str, Any]) -> int:
    return sum(map(len, packed["texts"]))


def _packed(views: Sequence[View], folder: Path, side: int) -> dict[str, Any]:
    shelf = _Shelf()
    entries = [_entry(view, folder, side, shelf) for view in views]
    return {"side": side, "step": CONFIDENCE_STEP, "texts": list(shelf.places), "views": entries}


def _entry(view: View, folder: Path, side: int, shelf: _Shelf) -> dict[str, Any]:
    classes, grid = _read(view.classes, side)
    count = len(LEVELS[view.level])
    if (classes[classes != NO_DATA] >= count).any():
        raise DataError(
            f"{view.classes} holds the value {classes[classes != NO_DATA].max()}; expected class ids 0 to {count - 1} "
            f"of level {view.level}, or {NO_DATA}: make the map again."
        )
    confidence = _on_grid(view.confidence, side, grid, view.classes)
    steps = np.where(
        confidence == NO_DATA, NO_DATA, (2 * confidence.astype(np.int64) + CONFIDENCE_STEP) // (2 * CONFIDENCE_STEP)
    )
    left, bottom, right, top = grid.bounds
    geographic = not (grid.crs and grid.crs.is_projected)
    files = {name: getattr(view, name) for name in ("classes", "confidence", "truth", "image", "areas")}
    return {
        "place": view.place,
        "scenario": view.scenario,
        "level": view.level,
        "full": grid.shape,
        "shape": classes.shape,
        "extent": grid.bounds,
        # One unit of x on the ground, in units of y.
        "stretch": math.cos(math.radians((bottom + top) / 2)) if grid.crs and geographic else 1.0,
        "axes": _axes(grid.crs),
        "decimals": max(0, 1 - math.floor(math.log10((right - left) / grid.shape[1]))),
        "files": {name: Path(os.path.relpath(path, folder)).as_posix() for name, path in files.items() if path},
        "classes": shelf.put(_text(classes)),
        "confidence": shelf.put(_text(steps.astype(np.uint8))),
        "truth": shelf.put(_text(_on_grid(view.truth, side, grid, view.classes))) if view.truth else None,
        "image": _image(view.image, side, grid, shelf) if view.image else None,
        "areas": _areas(view.areas) if view.areas else None,
    }


def _axes(crs: Any) -> list[str]:
    across, up = ("easting", "northing") if crs and crs.is_projected else ("longitude", "latitude")
    unit = crs.units_factor[0] if crs else "no CRS"
    return [f"{across} ({unit})", f"{up} ({unit})"]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with rasters.open_raster(path) as file:
            yield file
    except RasterioError as error:
        raise DataError(f"{path} cannot be read ({error}); expected a GeoTIFF: make the map again.") from error


def _reduced(shape: tuple[int, int], side: int) -> tuple[int, int]:
    scale = max(1, max(shape) / side)
    return max(1, round(shape[0] / scale)), max(1, round(shape[1] / scale))


def _grid(file: Any) -> _Grid:
    transform = file.transform
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise DataError(
            f"{file.name} has the transform {tuple(transform[:6])}; expected a north-up grid: warp it (gdalwarp)."
        )
    return _Grid(file.shape, transform, file.crs, tuple(file.bounds))


def _read(path: Path, side: int) -> tuple[NDArray[np.uint8], _Grid]:
    """The first band, its longer side at most ``side`` pixels, by the file's overviews and the nearest pixel."""
    with _opened(path) as file:
        grid = _grid(file)
        if file.dtypes[0] != "uint8":
            raise DataError(f"{path} holds {file.dtypes[0]}; expected uint8 with {NO_DATA} for no data: map it again.")
        return file.read(1, out_shape=_reduced(file.shape, side)), grid


def _on_grid(path: Path, side: int, grid: _Grid, of: Path) -> NDArray[np.uint8]:
    array, own = _read(path, side)
    if own.shape != grid.shape or not own.transform.almost_equals(grid.transform, 1e-6) or own.crs != grid.crs:
        raise DataError(
            f"{path} has the grid {own.shape} of {own.crs} at {own.bounds}, {of} {grid.shape} of {grid.crs} at "
            f"{grid.bounds}; expected one grid for both: make them from the same patches or the same scene."
        )
    return array


def _text(array: NDArray[np.uint8]) -> str:
    return base64.b64encode(gzip.compress(np.flipud(array).tobytes(), compresslevel=6, mtime=0)).decode()


def _image(path: Path, side: int, grid: _Grid, shelf: _Shelf) -> dict[str, Any]:
    """An image as a WebP data URI and its extent."""
    if path in shelf.images:
        return shelf.images[path]
    with _opened(path) as file:
        if file.count not in (3, 4) or file.dtypes[0] != "uint8" or file.crs != grid.crs:
            raise DataError(
                f"{path} has {file.count} bands of {file.dtypes[0]} in {file.crs}; expected 3 or 4 of uint8 in "
                f"{grid.crs}: make the image again."
            )
        own = _grid(file)
        bands = file.read(out_shape=(file.count, *_reduced(file.shape, side)), resampling=Resampling.average)
    shelf.images[path] = {"text": shelf.put(_webp(bands)), "extent": own.bounds}
    return shelf.images[path]


def _webp(bands: NDArray[np.uint8]) -> str:
    count, height, width = bands.shape
    profile = {"driver": "WEBP", "count": count, "height": height, "width": width, "dtype": "uint8", "QUALITY": 80}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the page knows where the image lies
        with memory.open(**profile) as target:
            target.write(bands)
        return "data:image/webp;base64," + base64.b64encode(memory.read()).decode()


def _areas(path: Path) -> list[dict[Any, Any]]:
    """Rows of a table of areas; None where a cell is empty."""
    try:
        table = pd.read_csv(path)
        if missing := {"name", "hectares"} - set(table):
            raise ValueError(f"no column {', '.join(sorted(missing))}")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as areas ({error}); expected one row a class: make it again."
        ) from error
    return [dict(row) for row in table.astype(object).where(table.notna(), None).to_dict("records")]
