"""One GeoTIFF a predicted patch, as the published code writes them."""

from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

from cerraseg.files import replacing
from cerraseg.logs import progress
from cerraseg.patches import SIZE


def export_geotiffs(
    table: pd.DataFrame, prediction: NDArray[np.uint8], folder: str | Path, *, model: str, weighting: str
) -> None:
    """Write one GeoTIFF a patch under the published names, ``parrot_beak_<model>_<nw or w>_<id>.tif``.

    Args:
        table: rows of the patch table, in the order of ``prediction``.
        prediction: class ids (N, 128, 128) uint8; written as int32, as published, with the patch's CRS and transform.
        folder: folder to write; it replaces an older one when it is complete.
        model: first part of the names.
        weighting: second part of the names.
    """
    prefix = f"parrot_beak_{model}_{weighting}"
    with replacing(folder) as temporary:
        temporary.mkdir()
        for classes, patch in progress(zip(prediction, table.itertuples(), strict=True), "export", len(table)):
            profile = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": 1, "dtype": "int32",
                       "crs": patch.crs, "compress": "deflate",
                       "transform": Affine(patch.a, patch.b, patch.c, patch.d, patch.e, patch.f)}  # fmt: skip
            with rasterio.open(temporary / f"{prefix}_{patch.id}.tif", "w", **profile) as target:
                target.write(classes.astype(np.int32), 1)
