"""Predictions of a cross-validation's folds as one: each patch by the model that did not learn from its part."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.data.packed import open_array
from cerraseg.data.tables import read_split, rows_of


def pool(splits: Sequence[str | Path], folds: Sequence[str | Path], pooled: str | Path) -> None:
    """Write the packed array (N, 128, 128) uint8 of all patches, in row order, from those of the folds.

    Args:
        splits: split table of each fold.
        folds: packed array of each fold's test patches.
        pooled: ``.npy`` to write.

    Raises:
        DataError: if the folds' test patches are not every patch once, or an array does not fit its split.
    """
    rows = [rows_of(split, "test") for split in splits]
    arrays = [open_array(fold) for fold in folds]
    patches = len(read_split(splits[0]))
    fits = [len(array) == len(part) for array, part in zip(arrays, rows, strict=True)]
    if not all(fits) or not np.array_equal(np.sort(np.concatenate(rows)), np.arange(patches)):
        raise DataError(
            f"{', '.join(map(str, folds))} hold {[len(array) for array in arrays]} patches, the folds test "
            f"{[len(part) for part in rows]} of {patches}; expected every patch in one of them: predict the folds again"
        )
    with atomic_write(pooled) as temporary:
        start = open_memmap(temporary, "w+", np.uint8, (patches, *arrays[0].shape[1:])).offset
        with temporary.open("r+b") as file:  # a mapped page for which a full disk has no room would end the process
            for array, part in zip(arrays, rows, strict=True):
                for row, tile in zip(part.tolist(), array, strict=True):
                    file.seek(start + row * tile.nbytes)
                    file.write(tile.data)
