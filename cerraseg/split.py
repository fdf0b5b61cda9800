"""Which patch trains, validates and tests."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import splitfolders

from cerraseg.errors import DataError
from cerraseg.files import replacing
from cerraseg.logs import log

PARTS = ("train", "validation", "test")


def write_split(
    table: str | Path, split: str | Path, *, scheme: str, shares: dict[str, float], seed: int, validation_seed: int
) -> None:
    """Assign every patch of the patch table to a part and write the split table (CSV: id, split).

    Args:
        table: patch table (Parquet).
        split: split table to write, in the row order of the patch table.
        scheme: a name in ``SCHEMES``.
        shares: share (0-1) of each of ``train``, ``validation`` and ``test``.
        seed: seed of the test split.
        validation_seed: seed of the train/validation split.

    Raises:
        DataError: if a part would be empty.
    """
    ids = pd.read_parquet(table, columns=["id"])["id"].tolist()
    parts = SCHEMES[scheme](ids, shares, seed, validation_seed)
    frame = pd.DataFrame({"id": ids, "split": [parts[id_] for id_ in ids]})
    sizes = frame["split"].value_counts()
    if empty := [part for part in PARTS if part not in sizes]:
        raise DataError(
            f"{len(ids)} patches leave {' and '.join(empty)} empty; add patches or change the split's shares"
        )
    with replacing(split) as temporary:
        frame.to_csv(temporary, index=False)
    log.info("split %s: %s", scheme, ", ".join(f"{sizes[part]} {part}" for part in PARTS))


def paper_split(ids: Sequence[str], shares: dict[str, float], seed: int, validation_seed: int) -> dict[str, str]:
    """The published split: ``splitfolders.ratio`` takes the test patches, torch's ``random_split`` the validation.

    Both libraries get what they got in the published code: files sorted by name, here empty ones named by id.

    Returns:
        id → ``train``, ``validation`` or ``test``.
    """
    import torch  # only this scheme needs it, and every other light step must stay light
    from torch.utils.data import random_split

    learn = round(shares["train"] + shares["validation"], 9)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "in", "patches")
        files.mkdir(parents=True)
        for id_ in ids:
            (files / f"{id_}.tif").touch()
        with Path(os.devnull).open("w") as silent, contextlib.redirect_stderr(silent):
            splitfolders.ratio(files.parent, Path(folder, "out"), seed, (learn, 0.0, round(1 - learn, 9)), move=True)
        names = {
            part: sorted(p.name for p in Path(folder, "out", part, "patches").iterdir()) for part in ("train", "test")
        }
    # The sizes are the published code's: the training part is cut down to a whole number, validation takes the rest.
    size = int(round(shares["train"] / learn, 9) * len(names["train"]))
    generator = torch.Generator().manual_seed(validation_seed)
    learning: list[str] = names["train"]
    halves: Iterable[Iterable[str]] = random_split(learning, [size, len(learning) - size], generator)  # type: ignore
    assigned = zip(PARTS, [*halves, names["test"]], strict=True)
    return {name.removesuffix(".tif"): part for part, chosen in assigned for name in chosen}


SCHEMES = {"paper": paper_split}
"""Scheme name → function of (ids, shares, seed, validation seed) that assigns each id to a part."""
