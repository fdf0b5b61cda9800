"""One GeoTIFF per predicted patch, as the published code writes them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from rasterio.windows import Window

from cerraseg.config.dataset import DEFAULT, Dataset
from cerraseg.config.scenario import Scenario
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import progress
from cerraseg.core.taxonomy import EDGES, LandCover, id_table
from cerraseg.geo.rasters import check_written, checksum


def file_stem(dataset: Dataset, scenario: Scenario) -> str:
    """Return the published name of a patch's file up to its id; of other data, with its name for ``parrot_beak``."""
    known = dataset.name == Dataset.of(DEFAULT).name
    place = "parrot_beak" if known else re.sub(r"[^A-Za-z0-9.-]+", "-", dataset.name)
    return f"{place}_{scenario.model}" + ("" if scenario.model == "transnuseg" else f"_{scenario.weighting}")


def export_geotiffs(
    table: pd.DataFrame,
    predictions: Mapping[str, NDArray[np.uint8]],
    folder: str | Path,
    *,
    classes: Sequence[LandCover],
    stem: str,
) -> None:
    """Write one GeoTIFF per patch, ``<stem>_<id>.tif``.

    With edges, the classes go into the subfolder ``seg`` and the edges into ``edg``, as published.

    Args:
        table: rows of the patch table, in the order of the predictions.
        predictions: ``seg``, positions in the legend, and perhaps ``edg``, 0 or 1: (N, H, W) uint8 each, 255 for no
            data; written as int32, as published, with the patch's CRS and transform, the classes by their ids.
        folder: folder to write; it replaces an older one when it is complete.
        classes: the legend.
        stem: of the names, see :func:`file_stem`.
    """
    height, width = predictions["seg"].shape[1:]
    profile = {"driver": "GTiff", "compress": "deflate", "width": width, "height": height, "count": 1, "dtype": "int32"}
    ids = {"seg": id_table(classes), "edg": id_table(EDGES)}
    with atomic_write(folder) as temporary, rasterio.Env():
        for name, prediction in predictions.items():
            target = temporary / name if len(predictions) > 1 else temporary
            target.mkdir(parents=True)
            for tile, patch in progress(zip(prediction, table.itertuples(), strict=True), f"export {name}", len(table)):
                path, pixels = target / f"{stem}_{patch.id}.tif", ids[name][tile].astype(np.int32)
                place = {"crs": patch.crs, "transform": Affine(patch.a, patch.b, patch.c, patch.d, patch.e, patch.f)}
                with rasterio.open(path, "w", **profile, **place) as file:
                    file.write(pixels, 1)
                check_written(path, {Window(0, 0, width, height): checksum(pixels)})
