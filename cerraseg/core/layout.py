"""Paths and names: the source tree, the layer folders of a root, and patch ids."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cerraseg.core.errors import DataError

ROOT = Path(__file__).parents[2]
"""The folder that holds the package."""

SOURCE = ROOT / "cerraseg/source" if (ROOT / "cerraseg/source").is_dir() else ROOT
"""The folder with the workflow, its profiles and the reference data: in a clone the same, else one in the package."""

ENDINGS = (".tif", ".tiff", ".jp2", ".vrt", ".img")
"""Endings, in small letters, of the files that are patches; others in a layer's folder are named and passed over."""


def layer_folder(root: str | Path, names: Iterable[str]) -> Path | None:
    """Return the folder of a layer under ``root``, whichever of its ``names`` it goes by; None where there is none.

    Raises:
        DataError: if it is a broken link.
    """
    for path in (Path(root) / name for name in names):
        if path.is_dir():
            return path
        if path.is_symlink():
            raise DataError(f"{path}: a link that leads to no folder; expected one with files: mend or remove the link")
    return None


def available_layers(roots: Iterable[str | Path], folders: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the layers, keys of ``folders``, that every root has."""
    return set.intersection(*({name for name in folders if layer_folder(root, folders[name])} for root in roots))


def patch_id(path: str | Path) -> str:
    """Return the id that pairs the files of a patch: the last ``_``-separated token of the name."""
    return Path(path).stem.rsplit("_", 1)[-1]


def is_patch(name: str) -> bool:
    """Tell whether a file of a layer's folder is a patch by its ending; hidden ones, as macOS adds them, are not."""
    return not name.startswith(".") and name.lower().endswith(ENDINGS)


def list_patches(folder: Path) -> dict[str, os.stat_result]:
    """Return name → status of each patch of ``folder``, sorted by name; of a broken link, its own status."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_patch(entry.name):
                try:
                    found[entry.name] = entry.stat()
                except OSError:
                    found[entry.name] = entry.stat(follow_symlinks=False)
    return dict(sorted(found.items()))


def fingerprint(roots: Iterable[str | Path], folders: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line per layer folder that changes with the name, size or time of any of its patches."""
    lines = []
    for folder in (Path(root) / name for root in roots for names in folders.values() for name in names):
        if folder.is_dir():
            states = [(name, found.st_size, found.st_mtime_ns) for name, found in list_patches(folder).items()]
            lines.append(f"{folder} {hashlib.sha256(repr(states).encode()).hexdigest()}")
    return lines
