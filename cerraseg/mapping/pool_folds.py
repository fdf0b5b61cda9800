"""Predictions of a cross-validation's folds as one: each patch by the model that did not learn from it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.data.packed import open_array
from cerraseg.data.tables import read_ids


def pool_folds(
    patches: Sequence[str], ids: Sequence[str | Path], folds: Sequence[str | Path], pooled: str | Path
) -> None:
    """Write the predictions of all patches as one array (N, H, W) uint8.

    Args:
        patches: ids of all patches, in the order of the array.
        ids: per fold, the ids of its predicted patches (CSV).
        folds: per fold, the array of these patches.
        pooled: ``.npy`` to write.

    Raises:
        DataError: if the folds do not hold every patch once, or an array does not fit its ids.
        StorageError: if the disk is full.
    """
    rows = [pd.Index(patches).get_indexer(read_ids(path)) for path in ids]
    arrays = [open_array(fold) for fold in folds]
    fits = [len(array) == len(part) for array, part in zip(arrays, rows, strict=True)]
    if not all(fits) or not np.array_equal(np.sort(np.concatenate(rows)), np.arange(len(patches))):
        raise DataError(
            f"{', '.join(map(str, folds))} hold {[len(array) for array in arrays]} patches, their ids are "
            f"{[len(part) for part in rows]} of {len(patches)}; expected every patch in one of them: predict the folds "
            "again"
        )
    with atomic_write(pooled) as temporary:
        start = open_memmap(temporary, "w+", np.uint8, (len(patches), *arrays[0].shape[1:])).offset
        with temporary.open("r+b") as file:  # a mapped page for which a full disk has no room would end the process
            for array, part in zip(arrays, rows, strict=True):
                for row, tile in zip(part.tolist(), array, strict=True):
                    file.seek(start + row * tile.nbytes)
                    file.write(tile.data)
