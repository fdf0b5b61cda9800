"""Read the patch table and the split table."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.core.errors import DataError


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
