"""Maps for the overview page: reduced, quantised and compressed, so that a page with dozens of them opens."""

import base64
import gzip
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import Legend, position_table
from cerraseg.evaluation.area_estimates import read_area_table
from cerraseg.geo.cog import NO_DATA
from cerraseg.report.map_figures import Grid, measure_ground, read_reduced
from cerraseg.report.overview.basemap import fit_tiles

BUDGET = 6_000_000
"""Most characters that all maps of a page may take together."""

SIDES = (1024, 768, 512, 384, 256)
"""Most pixels of a map's longer side: the first with which all maps keep to the budget, else the last."""

CONFIDENCE_STEP = 5
"""Percent between two confidences that are told apart: finer steps are noise that does not compress."""


@dataclass(frozen=True)
class View:
    """Files of one map; rasters are uint8 with 255 for no data."""

    place: str  # name of what is mapped: a scene's name, or the mosaic with its CRS
    scenario: str  # id of the scenario that mapped it
    level: str
    classes: Path  # class map
    confidence: Path  # percent, on the grid of ``classes``
    image: Path | None = None  # RGB or RGBA, in the CRS of ``classes``, on a grid of its own
    truth: Path | None = None  # class map on the grid of ``classes``
    areas: Path | None = None  # CSV with one row per class


def find_views(results: Path, levels: Mapping[str, str], scenes: Sequence[str] = ()) -> list[View]:
    """Find the maps in a results folder, with their image, truth and areas where these exist.

    ``levels`` maps the id of a scenario to its level. Its maps of the ``scenes`` come first, then its mosaics.
    """
    views = []
    for scene in scenes:
        for scenario, level in levels.items():
            folder, truth = results / "scenes" / scene / scenario / "map", results / "scenes" / scene / "truth"
            if (classes := folder / "classes.tif").exists():
                beside = (truth / "image.tif", truth / level / "truth.tif")
                areas = results / "scores" / scenario / f"areas_{scene}.csv"
                views.append(_view(scene, scenario, level, classes, folder / "confidence.tif", *beside, areas))
    for scenario, level in levels.items():
        for classes in sorted((results / "scenarios" / scenario / "mosaic").glob("prediction_*.tif")):
            tag = classes.stem.removeprefix("prediction_")
            confidence, truth = classes.with_name(f"confidence_{tag}.tif"), results / "truth"
            beside = (truth / f"image_{tag}.tif", truth / level / f"truth_{tag}.tif")
            areas = results / "scores" / scenario / "areas.csv"
            views.append(_view(f"mosaic {tag}", scenario, level, classes, confidence, *beside, areas))
    return views


def _view(place: str, scenario: str, level: str, classes: Path, confidence: Path, *others: Path) -> View:
    return View(place, scenario, level, classes, confidence, *(path if path.exists() else None for path in others))


def pack_maps(views: Sequence[View], folder: Path, dataset: Dataset, budget: int = BUDGET) -> dict[str, Any]:
    """Pack maps for a page, ready for JSON.

    Args:
        views: the maps.
        folder: the page's folder, from which it names files.
        dataset: has the legends of the maps.
        budget: most characters of all maps together, unless even the smallest of :data:`SIDES` takes more.

    Returns:
        ``side`` (most pixels of a longer side), ``step`` (:data:`CONFIDENCE_STEP`), ``texts`` and ``views``, which
        refer to texts by number. Texts are data URIs of images, and positions in the legend or confidences in steps as
        base64 of gzip of uint8 rows, the lowest row first.

    Raises:
        DataError: if a file cannot be read, holds no map, or does not fit the view's class map.
    """
    for side in SIDES:
        texts: dict[str, int] = {}  # text → its number: what views share is held once
        images: dict[Path, dict[str, Any]] = {}
        packed = [_pack_view(view, dataset.classes(view.level), folder, side, texts, images) for view in views]
        if sum(map(len, texts)) <= budget:
            break
    return {"side": side, "step": CONFIDENCE_STEP, "texts": list(texts), "views": packed}


def _pack_view(
    view: View, legend: Legend, folder: Path, side: int, texts: dict[str, int], images: dict[Path, dict[str, Any]]
) -> dict[str, Any]:
    def put(text: str) -> int:
        return texts.setdefault(text, len(texts))

    positions = position_table(legend)
    (classes,), grid = read_reduced(view.classes, side)
    confidence = _read_on_grid(view.confidence, side, grid)
    steps = np.where(confidence == NO_DATA, NO_DATA, (confidence + CONFIDENCE_STEP // 2) // CONFIDENCE_STEP)
    left, bottom, right, top = grid.bounds
    degrees = grid.crs and not grid.crs.is_projected
    ground = measure_ground(grid.crs, grid.extent)
    files = {name: getattr(view, name) for name in ("classes", "confidence", "truth", "image", "areas")}
    entry = {
        "place": view.place,
        "scenario": view.scenario,
        "level": view.level,
        "full": grid.shape,
        "shape": classes.shape,
        "extent": grid.bounds,
        # Length of a unit of x on the ground by that of y.
        "stretch": math.cos(math.radians((bottom + top) / 2)) if degrees else 1.0,
        "metres": ground.unit if ground else None,  # of one unit of x
        "tiles": fit_tiles(grid) if ground else None,
        "axes": grid.axes,
        "decimals": max(0, 1 - math.floor(math.log10((right - left) / grid.shape[1]))),
        "files": {name: Path(os.path.relpath(path, folder)).as_posix() for name, path in files.items() if path},
        "classes": put(_compress(positions[classes])),
        "confidence": put(_compress(steps.astype(np.uint8))),
        "truth": put(_compress(positions[_read_on_grid(view.truth, side, grid)])) if view.truth else None,
        "image": None,
        "areas": json.loads(read_area_table(view.areas).to_json(orient="records")) if view.areas else None,
    }
    if view.image:
        if view.image not in images:
            bands, own = read_reduced(view.image, side, Resampling.average)
            images[view.image] = {"text": put(_webp(bands)), "extent": own.bounds}
        entry["image"] = images[view.image]
    return entry


def _read_on_grid(path: Path, side: int, grid: Grid) -> NDArray[np.uint8]:
    (array,), own = read_reduced(path, side)
    if own != grid:
        raise DataError(
            f"{path} has the grid {own.shape} of {own.crs} at {own.bounds}, the class map {grid.shape} of {grid.crs} "
            f"at {grid.bounds}; expected one grid: make them from the same patches or the same scene."
        )
    return np.asarray(array)


def _compress(array: NDArray[np.uint8]) -> str:
    return base64.b64encode(gzip.compress(np.flipud(array).tobytes(), compresslevel=6, mtime=0)).decode()


def _webp(bands: NDArray[np.uint8]) -> str:
    buffer = BytesIO()
    Image.fromarray(np.moveaxis(bands, 0, -1)).save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
