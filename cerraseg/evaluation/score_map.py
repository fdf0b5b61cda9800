"""Score a class map by labels of its ground: confusion, scores by class, and areas corrected for the map's errors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.windows import Window

from cerraseg.config.dataset import UNKNOWN, Level
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.layout import ENDINGS
from cerraseg.core.taxonomy import position_table
from cerraseg.data.labels import open_labels
from cerraseg.evaluation.area_estimates import REFERENCE_MASK, area_table
from cerraseg.evaluation.areas import squares
from cerraseg.evaluation.metrics import Counts, compute_scores, patch_confusions
from cerraseg.geo import rasters
from cerraseg.geo.cog import NO_DATA, read_legend
from cerraseg.geo.grids import Grid

BLOCK = 128
"""Side in pixels of the blocks that intervals draw: pixels nearby are alike."""


def score_map(map_file: Path, labels: Path, field: str | None = None, layer: str | None = None) -> dict[str, Any]:
    """Score a map where labels lie on it.

    Args:
        map_file: class map with the legend that :func:`cerraseg.geo.cog.new_map` writes.
        labels: raster of class ids, or polygons or points.
        field: attribute with ids or names; needed for polygons and points.
        layer: of the file; None: the first.

    Returns:
        Plain values: ``accuracy``, ``macro_f1`` of the classes that the labels have, ``miou``, ``kappa``, ``pixels``
        compared, ``confusion`` (rows truth), and ``classes``, the rows of
        :func:`cerraseg.evaluation.area_estimates.area_table` with ``f1``.

    Raises:
        ConfigError: if polygons come without a field.
        DataError: if a file cannot be read, has unknown classes, or the labels lie elsewhere.
    """
    if field is None and labels.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{labels} holds polygons or points by its ending; expected the attribute with their classes")
    legend = read_legend(map_file)
    entry: dict[str, Any] = {"file": str(labels), "layer": layer, "field": field, "classes": {}}
    blocks, positions = [], position_table(legend, UNKNOWN)
    with rasters.open_raster(map_file) as file:
        grid = Grid.of(file)
        with open_labels(entry, Level("map", legend), grid) as read:
            for top in range(0, file.height, BLOCK):
                window = Window(0, top, file.width, min(BLOCK, file.height - top))
                mapped, truth = positions[file.read(1, window=window)], read(window)[0]
                truth = np.where(mapped == NO_DATA, NO_DATA, truth)
                counted = patch_confusions(squares(truth, BLOCK), squares(mapped, BLOCK), len(legend))
                blocks.append(counted.astype(np.int64))
    counts: Counts = np.concatenate(blocks)
    counts = counts[counts.any(axis=(1, 2))]
    if not counts.size:
        raise DataError(f"{labels}: no label lies on the map {map_file}; expected labels of its ground: check both")
    confusion = counts.sum(axis=0)
    found = compute_scores(confusion)
    table = area_table([map_file], counts, legend, REFERENCE_MASK)
    table["f1"] = [*found.f1, found.macro_f1_present]
    named = {name: float(getattr(found, name)) for name in ("accuracy", "miou_present", "kappa")}
    return {
        **named,
        "macro_f1": found.macro_f1_present,
        "pixels": int(confusion.sum()),
        "confusion": confusion.tolist(),
        "classes": [_row(row) for row in table.to_dict("records")],
    }


def _row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row with None for what is undefined, as JSON has no NaN."""
    return {str(key): None if value is None or value != value else value for key, value in row.items()}


def as_text(found: Mapping[str, Any]) -> str:
    """Return scores of :func:`score_map` as lines for people."""
    percent = {name: f"{100 * found[name]:.1f} %" for name in ("accuracy", "macro_f1", "miou_present")}
    lines = [
        f"accuracy {percent['accuracy']}, macro F1 {percent['macro_f1']}, mean IoU {percent['miou_present']}, of "
        f"{found['pixels']:,} labelled pixels (macro F1 and IoU of the classes that the labels have)",
        "",
        f"{'class':<28}{'F1 %':>7}{'mapped ha':>13}{'corrected ha [95 %]':>32}",
    ]
    for row in found["classes"]:
        score = "–" if row["f1"] is None else f"{100 * row['f1']:.1f}"
        area = "–" if row["adjusted_hectares"] is None else f"{row['adjusted_hectares']:,.1f}"
        if row["adjusted_low"] is not None:
            area += f" [{row['adjusted_low']:,.1f}, {row['adjusted_high']:,.1f}]"
        lines.append(f"{row['name'][:27]:<28}{score:>7}{row['hectares']:>13,.1f}{area:>32}")
    return "\n".join(lines)
