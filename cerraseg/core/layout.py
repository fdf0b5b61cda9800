"""Paths and names: the source tree, the layer folders of a root, patch ids and the columns of the patch table."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import FOLDERS, LEVELS

SOURCE = Path(__file__).parents[2]
"""The folder that holds the package, its workflow and its reference data."""

SIZE = 128
"""Height and width of a patch in pixels."""

LAYERS = ("msi", "sar", "l1", "l2")
"""The layers that are indexed and packed, where every root has them."""


def edge_layer(level: str) -> str:
    """Name of the layer with the edges of a level."""
    return f"edge_{level}"


def levels_of(columns: Iterable[str]) -> list[str]:
    """The levels that a patch table with these columns has."""
    return [level for level in LEVELS if level in set(columns)]


def count_columns(level: str) -> list[str]:
    """The columns of the patch table with the labelled pixels of each class of ``level``, by class id."""
    return [f"{level}_{entry.id}" for entry in LEVELS[level]]


def layer_folder(root: str | Path, layer: str) -> Path | None:
    """The folder of ``layer`` under ``root``, whichever of its names it goes by; None where there is none.

    Raises:
        DataError: if it is a broken link.
    """
    for path in (Path(root) / name for name in FOLDERS[layer]):
        if path.is_dir():
            return path
        if path.is_symlink():
            raise DataError(f"{path}: a link that leads to no folder; expected one with files: mend or remove the link")
    return None


def available_layers(roots: Iterable[str | Path]) -> set[str]:
    """The layers that every root has."""
    return set.intersection(*({layer for layer in LAYERS if layer_folder(root, layer)} for root in roots))


def patch_id(path: str | Path) -> str:
    """The id that pairs the files of a patch: the last ``_``-separated token of the name."""
    return Path(path).stem.rsplit("_", 1)[-1]


def list_tifs(folder: Path) -> dict[str, os.stat_result]:
    """Name → status of each ``.tif`` of ``folder``, sorted by name; of a broken link, its own status."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".tif"):
                try:
                    found[entry.name] = entry.stat()
                except OSError:
                    found[entry.name] = entry.stat(follow_symlinks=False)
    return dict(sorted(found.items()))


def fingerprint(roots: Iterable[str | Path]) -> list[str]:
    """One line per layer folder that changes with the name, size or time of any of its ``.tif`` files."""
    lines = []
    for folder in (Path(root) / name for root in roots for names in FOLDERS.values() for name in names):
        if folder.is_dir():
            states = [(name, found.st_size, found.st_mtime_ns) for name, found in list_tifs(folder).items()]
            lines.append(f"{folder} {hashlib.sha256(repr(states).encode()).hexdigest()}")
    return lines
