"""The lists of files that the published split may have been drawn from, and the fingerprint of its test part.

A random split depends on its list: one file less moves most patches to another part. The list that is described cannot
give the published test part, so that plausible ones are tried.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cerraseg.config.dataset import DEFAULT, Dataset
from cerraseg.core.layout import SOURCE
from cerraseg.data.splits.spatial import BUFFER

LISTS: dict[str, list[str]] = {
    "all files": [],
    "files without non-finite pixels": ["finite"],
    "files of patches with all layers": ["whole"],
}
"""Name → what the files of a list must be, in the order in which lists are tried."""

_IGNORED = 0.001  # largest share of the published test pixels that a matching part may lack, where bands have no data


def by_file_list(
    table: pd.DataFrame, dataset: Dataset, split: Callable[[list[str]], Mapping[str, str]]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Split the files of a patch table, rejected ones too, by the first list that gives the published test part.

    Where none does, or the data is no CerraData-4MM, that is the list of all. Rejected patches leave their part, and
    nothing else moves; a patch that the list lacks is used by nobody.

    Args:
        table, dataset: patch table, and what it is of.
        split: function from ids, sorted as text, to the part of each.

    Returns:
        The part of each patch, and of each list tried: name, files, test (patches), published.
    """
    files, tried, splits = _files(table), list[dict[str, Any]](), list[list[str]]()
    for name, conditions in [*LISTS.items()][: None if dataset.name == Dataset.of(DEFAULT).name else 1]:
        ids = files.loc[files[conditions].all(axis=1), "id"].tolist()
        if tried and len(ids) == len(files):
            continue
        part_of = split(ids)
        splits.append([part_of.get(id_, BUFFER) for id_ in table["id"]])
        published = _is_published(table[[part == "test" for part in splits[-1]]], dataset)
        tests = [*part_of.values()].count("test")
        tried.append({"name": name, "files": len(ids), "test": tests, "published": published})
        if published:
            return splits[-1], tried
    return splits[0], tried


def _files(table: pd.DataFrame) -> pd.DataFrame:
    """Return id, finite and whole of all patches that were found, sorted by id."""
    edges = [name for name in map(str, table) if name.startswith("edge_") and (table[name] != "").any()]
    kept = table[["id"]].assign(finite=table.get("gaps", 0) == 0, whole=(table[edges] != "").all(axis=1))
    return pd.DataFrame([*kept.to_dict("records"), *table.attrs.get("rejected", [])]).sort_values("id")


def _is_published(test: pd.DataFrame, dataset: Dataset) -> bool:
    published = pd.read_csv(SOURCE / "reference/classes.csv")["test_pixels"].to_numpy(np.int64)
    columns = dataset.levels["l2"].count_columns() if "l2" in dataset.levels else []
    if len(test) * dataset.patch_size**2 != published.sum() or not {*columns} <= {*test}:
        return False
    lacking = published - test[columns].sum().to_numpy(np.int64)
    return bool((lacking >= 0).all() and lacking.sum() <= _IGNORED * published.sum())


def published_test_part(facts: str | Path) -> tuple[bool, str]:
    """Tell by ``split.json`` whether the test part is the published one, and say so; empty where no list was tried."""
    tried = json.loads(Path(facts).read_text(encoding="utf-8"))["file_lists"]
    if any(one["published"] for one in tried):
        drawn = f"drawn from {tried[-1]['name']}"
        return True, f"The test part is the published one, patches and pixels by class, {drawn}."
    listed = ", ".join(f"{one['name']} ({one['files']:,}, of which {one['test']:,} test)" for one in tried)
    return False, f"The test part is not the published one, which no list of files gives: {listed}." if tried else ""
