"""Predictions of a cross-validation's folds as one: each patch by the model that did not learn from it."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from cerraseg.core.errors import DataError
from cerraseg.data.packed import new_array, open_array
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
    """
    parts = [read_ids(path) for path in ids]
    arrays = [open_array(fold, len(part)) for fold, part in zip(folds, parts, strict=True)]
    if sorted(chain(*parts)) != sorted(patches):
        raise DataError(
            f"{', '.join(map(str, folds))} hold {[len(part) for part in parts]} of {len(patches)} patches; expected "
            "every patch in one of them: predict the folds again"
        )
    tiles = {
        id_: tile for part, array in zip(parts, arrays, strict=True) for id_, tile in zip(part, array, strict=True)
    }
    with new_array(pooled, (len(patches), *arrays[0].shape[1:])) as file:
        for id_ in patches:
            file.write(tiles[id_].data)
