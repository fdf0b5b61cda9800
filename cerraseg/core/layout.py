"""Places and names: of the source tree, of the layer folders under each root, of the id in each file's name, and of the
patch table's columns."""

from collections.abc import Iterable
from pathlib import Path

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
    """The folder of ``layer`` under ``root``, whichever of its names it goes by; None where there is none."""
    return next((path for name in FOLDERS[layer] if (path := Path(root) / name).is_dir()), None)


def available_layers(roots: Iterable[str | Path]) -> set[str]:
    """The layers that every root has."""
    return set.intersection(*({layer for layer in LAYERS if layer_folder(root, layer)} for root in roots))


def patch_id(path: str | Path) -> str:
    """The id that pairs the files of a patch: the last ``_``-separated token of the name."""
    return Path(path).stem.rsplit("_", 1)[-1]


def fingerprint(roots: Iterable[str | Path]) -> list[str]:
    """One line per layer folder that changes when a file is added or removed, without listing the files."""
    folders = (folder for root in roots for layer in FOLDERS if (folder := layer_folder(root, layer)))
    return [f"{folder} {folder.stat().st_mtime_ns}" for folder in folders]
