"""The lists of files that the published split may have been drawn from, and the fingerprint of its test part.

A random split depends on the list that it is drawn from: one file less moves most patches to another part. The list
that is described cannot give the published test part (reference/README.md), so that plausible ones are tried.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.config.dataset import DEFAULT, Dataset
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import SOURCE
from cerraseg.data.splits.spatial import BUFFER

LISTS = {
    "all files": list[str](),
    "files without non-finite pixels": ["finite"],
    "files of patches with all layers": ["whole"],
}
"""Name → what the files of a list must be, in the order in which lists are tried."""

_IGNORED = 0.001  # largest share of the published test pixels that a matching part may lack, where bands have no data


class Tried(NamedTuple):
    """A list: its name, how many files and test patches it has, and whether these are the published ones."""

    name: str
    files: int
    test: int
    published: bool


def by_file_list(
    table: pd.DataFrame, dataset: Dataset, split: Callable[[list[str]], Mapping[str, str]]
) -> tuple[list[str], list[Tried]]:
    """Split the files of a patch table, rejected ones too, by the first list that gives the published test part.

    Where none does, or the data is no CerraData-4MM, that is the list of all files. Rejected patches leave their part,
    and nothing else moves; a patch that the list lacks is used by nobody.

    Args:
        table: patch table.
        dataset: what it is of.
        split: function of ids, sorted as text, that returns the part of each.
    """
    files, tried, splits = _files(table), list[Tried](), list[pd.Series]()
    for name, conditions in [*LISTS.items()][: None if dataset.name == Dataset.of(DEFAULT).name else 1]:
        ids = files.loc[files[conditions].all(axis=1), "id"].tolist()
        if tried and len(ids) == tried[0].files:
            continue  # the list of all
        part_of = split(ids)
        splits.append(table["id"].map(part_of).fillna(BUFFER))
        found = _has_fingerprint(table[splits[-1] == "test"], dataset)
        tried.append(Tried(name, len(ids), [*part_of.values()].count("test"), found))
        if found:
            break
    return splits[-1 if tried[-1].published else 0].tolist(), tried


def _files(table: pd.DataFrame) -> pd.DataFrame:
    """Return id, finite and whole of all patches that were found, sorted by id."""
    edges = [name for name in map(str, table) if name.startswith("edge_") and (table[name] != "").any()]
    kept = table[["id"]].assign(finite=table.get("gaps", 0) == 0, whole=(table[edges] != "").all(axis=1))
    rejected: list[dict[str, Any]] = table.attrs.get("rejected", [])
    return pd.DataFrame([*kept.to_dict("records"), *rejected]).sort_values("id")


@cache
def _test_pixels() -> NDArray[np.int64]:
    """Return the pixels of each L2 class in the published test part."""
    return pd.read_csv(SOURCE / "reference/classes.csv")["test_pixels"].to_numpy(np.int64)


def _has_fingerprint(test: pd.DataFrame, dataset: Dataset) -> bool:
    """Tell by number and pixels of each class whether patches are the published test part."""
    columns = dataset.levels["l2"].count_columns() if "l2" in dataset.levels else []
    if len(test) * dataset.patch_size**2 != _test_pixels().sum() or not {*columns} <= {*test}:
        return False
    lacking = _test_pixels() - test[columns].sum().to_numpy(np.int64)
    return bool((lacking >= 0).all() and lacking.sum() <= _IGNORED * _test_pixels().sum())


def write_tried(path: str | Path, scheme: str, tried: list[Tried]) -> None:
    """Write ``split.json``: the scheme, and the lists that were tried, none but in the published split."""
    content = {"scheme": scheme, "file_lists": [one._asdict() for one in tried]}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _read_tried(path: str | Path) -> list[Tried]:
    return [Tried(**one) for one in json.loads(Path(path).read_text(encoding="utf-8"))["file_lists"]]


def is_published(path: str | Path) -> bool:
    """Tell whether the test part of the split of ``split.json`` is the published one."""
    return any(one.published for one in _read_tried(path))


def describe(path: str | Path) -> str:
    """Say which list of files gave the published test part, or that none did; empty where none was tried."""
    tried = _read_tried(path)
    listed = ", ".join(f"{one.name} ({one.files:,}, of which {one.test:,} test)" for one in tried)
    if is_published(path):
        return f"The test part is the published one, patches and pixels by class, drawn from {tried[-1].name}."
    return f"The test part is not the published one, which no list of files gives: {listed}." if tried else ""
