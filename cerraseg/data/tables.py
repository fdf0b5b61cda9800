"""The patch table, the split table, and the ids of predicted patches."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write


def read_patch_table(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read the patch table, or some columns of it."""
    return pd.read_parquet(path, columns=columns)


def layers_of(columns: Iterable[str], dataset: Dataset) -> tuple[list[str], list[str]]:
    """Return the sensors and the levels that a patch table with these columns has, in the dataset's order."""
    known = set(columns)
    return [name for name in dataset.sensors if name in known], [name for name in dataset.levels if name in known]


def digest(texts: Iterable[str]) -> str:
    """Return 16 hexadecimal digits that tell texts, such as ids, in their order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def read_split(path: str | Path, ids: str | None = None) -> pd.DataFrame:
    """Read a split table: columns id, split and those of the scheme, all as text.

    With ``ids``, the digest of the patch table's ids, a table of other patches or in another order is refused.
    """
    split = _read_csv(path)
    if ids not in (None, digest(split["id"])):
        raise DataError(f"{path}: expected the ids of the patch table in its order; put them so, or split again")
    return split


def rows_of(split: str | Path, patches: str, ids: str | None = None) -> NDArray[np.int64]:
    """Return the rows of a part of the split (``train``, ``validation``, ``test``), or of ``all``, in packed arrays.

    With ``ids`` of the packed store's header, the split table must have its order: see :func:`read_split`.
    """
    parts = read_split(split, ids)["split"]
    return np.flatnonzero((parts == patches).to_numpy() | (patches == "all"))


def write_ids(path: str | Path, ids: Sequence[str]) -> None:
    """Write the ids of predicted patches, in the order of the arrays beside them."""
    with atomic_write(path) as part:
        pd.Series(ids, name="id").to_csv(part, index=False)


def read_ids(path: str | Path) -> pd.Index:
    """Read what :func:`write_ids` wrote."""
    return pd.Index(_read_csv(path)["id"])


def _read_csv(path: str | Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)  # an id may be NA


def find_ids(all_ids: pd.Index, wanted: Sequence[str] | pd.Index, path: str | Path) -> NDArray[np.int64]:
    """Return the place of each wanted id among ``all_ids``, those of ``path``; refuse one that is not there."""
    places = all_ids.get_indexer(pd.Index(wanted))
    if len(lacking := pd.Index(wanted)[places < 0]):
        raise DataError(
            f"{path}: lacks {len(lacking)} patches (the first is {lacking[0]}); expected all that were predicted or "
            "are to be scored: remove it and give the same command again"
        )
    return np.asarray(places, np.int64)


def read_predicted_patches(table: str | Path, ids: str | Path) -> pd.DataFrame:
    """Read the rows of the patch table that belong to the predicted ``ids``, in their order."""
    patches = read_patch_table(table)
    return patches.iloc[find_ids(pd.Index(patches["id"].astype(str)), read_ids(ids), table)]
