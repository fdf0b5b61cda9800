"""Which patch trains, validates and tests."""

import json
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import splitfolders

from cerraseg.config.dataset import DEFAULT, Dataset
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.data.splits import file_lists
from cerraseg.data.splits.conflicts import check_parts
from cerraseg.data.splits.spatial import BUFFER, Columns, Patches, by_blocks, by_folds, by_sites, in_groups
from cerraseg.data.tables import digest, read_patch_table, read_split

PARTS = ("train", "validation", "test")


def write_split(
    table: str | Path,
    split: str | Path,
    dataset: Dataset,
    *,
    facts: str | Path | None = None,
    scheme: str,
    shares: dict[str, float],
    seed: int,
    validation_seed: int,
    **settings: Any,
) -> None:
    """Assign every patch of the patch table to a part and write the split table (CSV), in the patch table's order.

    Its columns are ``id`` and ``split``; of the schemes by place also ``group``, the block or site that the patch
    belongs to; of ``kfold`` also ``fold``, and every patch is in ``test``: :func:`write_fold` makes a split of it.

    Args:
        table, split: patch table (Parquet), and split table to write.
        facts: JSON to write with the scheme and the lists of files that it tried, see :mod:`.file_lists`.
        scheme: ``paper`` or a name in ``SCHEMES``.
        shares: share (0-1) of each of ``train``, ``validation`` and ``test``.
        seed, validation_seed: of the test split, or of the folds, and of the train/validation split.
        settings: what else the scheme asks for, by the names of the configuration.
    """
    patches = read_patch_table(table)
    tried: list[dict[str, Any]] = []
    if scheme == "paper":
        drawn = partial(paper_split, shares=shares, seed=seed, validation_seed=validation_seed)
        parts, tried = file_lists.by_file_list(patches, dataset, drawn)
        columns: Columns = {"split": parts}
    else:
        columns = SCHEMES[scheme](patches, dataset, shares, seed, validation_seed, **settings)
    frame = pd.DataFrame({"id": patches["id"], **columns})
    if scheme != "kfold" and (empty := [part for part in PARTS if part not in frame["split"].to_numpy()]):
        raise DataError(
            f"{len(frame)} patches leave {' and '.join(empty)} empty; add patches or change the split's shares"
        )
    if scheme == "paper":
        check_parts(patches, frame["split"].to_numpy(np.str_), published=dataset.name == Dataset.of(DEFAULT).name)
    _write(frame, split, f"split {scheme}")
    if facts:
        content = {"scheme": scheme, "file_lists": tried}
        with atomic_write(facts) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_fold(
    table: str | Path,
    split: str | Path,
    dataset: Dataset,
    path: str | Path,
    *,
    fold: int,
    shares: dict[str, float],
    validation_seed: int,
    **limits: Any,
) -> None:
    """Write the split table of one fold (CSV: id, split, group): its patches test, the others train and validate.

    Args:
        table, split: patch table (Parquet), and split table of the scheme ``kfold``.
        path: split table to write, in the row order of the patch table.
        fold: number of the fold, from 1.
        shares: ``validation`` and ``train`` give the ratio of the two in what the fold leaves, by whole groups.
        validation_seed: with the fold's number, seed of the validation part.
        limits: ``buffer_km`` and ``tolerance``, see :func:`cerraseg.data.splits.spatial.in_groups`.
    """
    patches = read_patch_table(table)
    folds = read_split(split, digest(patches["id"]))
    if str(fold) not in folds["fold"].unique():
        raise DataError(f"{split}: no fold {fold}; expected 1 to {folds['fold'].astype(int).max()}: name one of them")
    names = folds["group"].to_numpy(np.str_)
    fixed = {"test": np.unique(names[folds["fold"] == str(fold)])}
    columns = in_groups(Patches(patches, dataset), names, shares, None, (validation_seed, fold), fixed=fixed, **limits)
    _write(pd.DataFrame({"id": patches["id"], **columns}), path, f"fold {fold}")


def _write(frame: pd.DataFrame, path: str | Path, what: str) -> None:
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False)
    sizes = frame["split"].value_counts()
    listed = ", ".join(f"{sizes[part]} {part}" for part in (*PARTS, BUFFER) if part in sizes)
    log.info("%s: %s%s", what, listed, f", {frame['group'].nunique()} groups" if "group" in frame else "")


def paper_split(ids: Iterable[str], shares: dict[str, float], seed: int, validation_seed: int) -> dict[str, str]:
    """The published split: ``splitfolders.ratio`` takes the test patches, torch's ``random_split`` the validation.

    Both libraries get what they got in the published code: files sorted by name, here empty ones named by id.
    """
    import torch  # only this scheme needs it, and every other light step must stay light
    from torch.utils.data import random_split

    learn = round(shares["train"] + shares["validation"], 9)
    with tempfile.TemporaryDirectory() as folder:
        files, out = Path(folder, "in", "patches"), Path(folder, "out")
        files.mkdir(parents=True)
        for id_ in ids:
            (files / f"{id_}.tif").touch()
        splitfolders.ratio(files.parent, out, seed, (learn, 0.0, round(1 - learn, 9)), move=True)
        learning, test = (
            sorted(path.name for path in (out / part / "patches").iterdir()) for part in ("train", "test")
        )
    # The sizes are the published code's: the training part is cut down to a whole number, validation takes the rest.
    size = int(round(shares["train"] / learn, 9) * len(learning))
    generator = torch.Generator().manual_seed(validation_seed)
    halves: Iterable[Iterable[str]] = random_split(learning, [size, len(learning) - size], generator)  # type: ignore
    assigned = zip(PARTS, [*halves, test], strict=True)
    return {name.removesuffix(".tif"): part for part, chosen in assigned for name in chosen}


SCHEMES: dict[str, Callable[..., Columns]] = {"blocks": by_blocks, "sites": by_sites, "kfold": by_folds}
"""Scheme name → function of (patch table, dataset, shares, seed, validation seed) and of the settings that it asks for,
which gives the columns of the split table beside the id."""
