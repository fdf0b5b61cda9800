"""The patch table, the split table, and the ids of predicted patches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write


def read_patch_table(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read the patch table, or some columns of it.

    Raises:
        DataError: if it is none, or lacks a column.
    """
    try:
        table = pd.read_parquet(path, columns=columns)
        table.select_dtypes("str").to_numpy(object)  # a damaged text is else found at its first use
    except Exception as error:  # of any type, where the file is damaged
        raise DataError(f"{path}: cannot be read as a patch table ({error}); run the index step again") from None
    return table


def read_split(path: str | Path) -> pd.DataFrame:
    """Read a split table (id, split and further columns) as texts; an id such as ``NA`` is a text, too.

    Raises:
        DataError: if it is none.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a split table ({error}); run the split step again") from None
    if lacking := {"id", "split"} - set(table.columns):
        raise DataError(f"{path}: a split table without {' and '.join(sorted(lacking))}; run the split step again")
    return table


def rows_of(split: str | Path, patches: str) -> NDArray[np.int64]:
    """Return the rows of the packed arrays that hold a part of the split (``train``, ``validation``, ``test``) or ``all``."""
    parts = read_split(split)["split"]
    return np.flatnonzero((parts == patches).to_numpy() | (patches == "all"))


def write_ids(path: str | Path, ids: Sequence[str]) -> None:
    """Write the ids of predicted patches, in the order of the arrays beside them.

    Raises:
        StorageError: if the disk is full.
    """
    with atomic_write(path) as part:
        pd.Series(ids, name="id").to_csv(part, index=False)


def read_ids(path: str | Path) -> pd.Index:
    """Read what :func:`write_ids` wrote.

    Raises:
        DataError: if it is no such file.
    """
    try:
        ids: pd.Index = pd.Index(pd.read_csv(path, dtype=str, keep_default_na=False)["id"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: cannot be read as ids of patches ({error}); run the predict step again") from None
    return ids


def find_ids(all_ids: pd.Index, wanted: Sequence[str] | pd.Index, path: str | Path) -> NDArray[np.int64]:
    """Find ids among others.

    Args:
        all_ids: ids to search, each one once.
        wanted: ids to find.
        path: file that lacks those that are not found, for the message.

    Returns:
        The place of each wanted id.

    Raises:
        DataError: if one is not there.
    """
    places = all_ids.get_indexer(pd.Index(wanted))
    if len(lacking := pd.Index(wanted)[places < 0]):
        raise DataError(
            f"{path}: lacks {len(lacking)} patches (the first is {lacking[0]}); expected all that were predicted or "
            "are to be scored: remove it and give the same command again"
        )
    return np.asarray(places, np.int64)


def read_predicted_patches(table: str | Path, ids: str | Path) -> pd.DataFrame:
    """Read the rows of the patch table that belong to a prediction, in its order.

    Args:
        table: the patch table.
        ids: ids of the predicted patches.

    Raises:
        DataError: if a file cannot be read, or the table lacks a patch.
    """
    patches = read_patch_table(table)
    return patches.iloc[find_ids(pd.Index(patches["id"].astype(str)), read_ids(ids), table)]
