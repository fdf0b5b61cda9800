"""Maps for the overview page: reduced, quantised and compressed, so that a page with dozens of them opens."""

import base64
import gzip
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from cerraseg.core.errors import DataError
from cerraseg.evaluation.area_estimates import read_area_table
from cerraseg.geo import rasters
from cerraseg.geo.cog import NO_DATA
from cerraseg.report.map_figures import axis_names

BUDGET = 6_000_000
"""Most characters that all maps of a page may take together."""

SIDES = (1024, 768, 512, 384, 256)
"""Most pixels of a map's longer side: the first with which all maps keep to the budget, else the last."""

CONFIDENCE_STEP = 5
"""Percent between two confidences that are told apart: finer steps are noise that does not compress."""


@dataclass(frozen=True)
class View:
    """Files of one map.

    Attributes:
        place: name of what is mapped: a scene's name, or the mosaic with its CRS.
        scenario: id of the scenario that mapped it.
        level: a key of :data:`cerraseg.core.taxonomy.LEVELS`.
        classes: class map, uint8 with 255 for no data.
        confidence: percent as uint8 on the grid of ``classes``, 255 for no data.
        image: RGB or RGBA, uint8, in the CRS of ``classes``, on a grid of its own.
        truth: class map on the grid of ``classes``.
        areas: CSV with one row per class.
    """

    place: str
    scenario: str
    level: str
    classes: Path
    confidence: Path
    image: Path | None = None
    truth: Path | None = None
    areas: Path | None = None


@dataclass
class _Texts:
    """Texts that views refer to by number, each kept once; images that many views share are read once."""

    numbers: dict[str, int] = field(default_factory=dict)
    images: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def put(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


@dataclass(frozen=True)
class _Grid:
    shape: tuple[int, int]
    transform: Any
    crs: Any
    bounds: tuple[float, float, float, float]


def find_views(results: Path, levels: Mapping[str, str], scenes: Sequence[str] = ()) -> list[View]:
    """Find the maps in a results folder: each scenario's mosaics, then the scenes that it mapped.

    Args:
        results: the folder.
        levels: scenario id → level.
        scenes: names of the scenes.

    Returns:
        The maps with their image, truth and areas where these exist.
    """
    views = []
    for scenario, level in levels.items():
        folder, scores = results / "scenarios" / scenario, results / "scores" / scenario
        for classes in sorted((folder / "mosaic").glob("prediction_*.tif")):
            tag = classes.stem.removeprefix("prediction_")
            parts = (classes.with_name(f"confidence_{tag}.tif"), results / "truth" / f"image_{tag}.tif")
            truth = results / "truth" / level / f"truth_{tag}.tif"
            views.append(_view(f"mosaic {tag}", scenario, level, classes, *parts, truth, scores / "areas.csv"))
    for scene in scenes:
        truth_folder = results / "scenes" / scene / "truth"
        for scenario, level in levels.items():
            folder, scores = results / "scenes" / scene / scenario, results / "scores" / scenario
            if (classes := folder / "map" / "classes.tif").exists():
                parts = (classes.with_name("confidence.tif"), truth_folder / "image.tif")
                truth = truth_folder / level / "truth.tif"
                views.append(_view(scene, scenario, level, classes, *parts, truth, scores / f"areas_{scene}.csv"))
    return views


def _view(place: str, scenario: str, level: str, classes: Path, confidence: Path, *others: Path) -> View:
    return View(place, scenario, level, classes, confidence, *(path if path.exists() else None for path in others))


def pack_maps(views: Sequence[View], folder: Path, budget: int = BUDGET) -> dict[str, Any]:
    """Pack maps for a page, ready for JSON.

    Args:
        views: the maps.
        folder: the page's folder, from which it names files.
        budget: most characters of all maps together, unless even the smallest of :data:`SIDES` takes more.

    Returns:
        ``side`` (most pixels of a longer side), ``step`` (:data:`CONFIDENCE_STEP`), ``texts`` and ``views``, which
        refer to texts by number. Texts are data URIs of images, and class ids or confidences in steps as base64 of
        gzip of uint8 rows, the lowest row first.

    Raises:
        DataError: if a file cannot be read, holds no map, or does not fit the view's class map.
    """
    for side in SIDES:
        texts = _Texts()
        packed = [_pack_view(view, folder, side, texts) for view in views]
        if sum(map(len, texts.numbers)) <= budget:
            break
    return {"side": side, "step": CONFIDENCE_STEP, "texts": list(texts.numbers), "views": packed}


def _pack_view(view: View, folder: Path, side: int, texts: _Texts) -> dict[str, Any]:
    classes, grid = _read(view.classes, side)
    confidence = _read_on_grid(view.confidence, side, grid)
    steps = np.where(confidence == NO_DATA, NO_DATA, (confidence + CONFIDENCE_STEP // 2) // CONFIDENCE_STEP)
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
        # Length of a unit of x on the ground by that of y.
        "stretch": math.cos(math.radians((bottom + top) / 2)) if grid.crs and geographic else 1.0,
        "axes": axis_names(grid.crs),
        "decimals": max(0, 1 - math.floor(math.log10((right - left) / grid.shape[1]))),
        "files": {name: Path(os.path.relpath(path, folder)).as_posix() for name, path in files.items() if path},
        "classes": texts.put(_compress(classes)),
        "confidence": texts.put(_compress(steps.astype(np.uint8))),
        "truth": texts.put(_compress(_read_on_grid(view.truth, side, grid))) if view.truth else None,
        "image": _pack_image(view.image, side, texts) if view.image else None,
        "areas": _area_rows(view.areas) if view.areas else None,
    }


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
    """Read the first band by its nearest pixels, from the overviews, with a longer side of at most ``side`` pixels."""
    with _opened(path) as file:
        grid = _grid(file)
        if file.dtypes[0] != "uint8":
            raise DataError(f"{path} holds {file.dtypes[0]}; expected uint8 with {NO_DATA} for no data: map it again.")
        return file.read(1, out_shape=_reduced(file.shape, side)), grid


def _read_on_grid(path: Path, side: int, grid: _Grid) -> NDArray[np.uint8]:
    array, own = _read(path, side)
    if own.shape != grid.shape or not own.transform.almost_equals(grid.transform, 1e-6) or own.crs != grid.crs:
        raise DataError(
            f"{path} has the grid {own.shape} of {own.crs} at {own.bounds}, the class map {grid.shape} of {grid.crs} "
            f"at {grid.bounds}; expected one grid: make them from the same patches or the same scene."
        )
    return array


def _compress(array: NDArray[np.uint8]) -> str:
    return base64.b64encode(gzip.compress(np.flipud(array).tobytes(), compresslevel=6, mtime=0)).decode()


def _pack_image(path: Path, side: int, texts: _Texts) -> dict[str, Any]:
    """Pack an image as a WebP data URI, with its extent."""
    if path in texts.images:
        return texts.images[path]
    with _opened(path) as file:
        own = _grid(file)
        bands = file.read(out_shape=(file.count, *_reduced(file.shape, side)), resampling=Resampling.average)
    texts.images[path] = {"text": texts.put(_webp(bands)), "extent": own.bounds}
    return texts.images[path]


def _webp(bands: NDArray[np.uint8]) -> str:
    buffer = BytesIO()
    Image.fromarray(np.moveaxis(bands, 0, -1)).save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _area_rows(path: Path) -> list[dict[Any, Any]]:
    """Read the rows of a table of areas, None where a cell is empty."""
    table = read_area_table(path)
    return [dict(row) for row in table.astype(object).where(table.notna(), None).to_dict("records")]
