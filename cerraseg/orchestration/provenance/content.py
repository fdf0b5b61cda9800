"""Size and hash of files and folders."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Content:
    """Size and SHA-256 of a file; of a folder those of its files with their names, without hidden ones."""

    bytes: int
    sha256: str


def content(path: Path) -> Content:
    """Read a file or folder and hash it, a piece at a time."""
    if not path.is_dir():
        with path.open("rb") as file:
            return Content(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())
    parts = {file.relative_to(path).as_posix(): content(file) for file in _files(path)}
    lines = [f"{part.sha256}  {name}\n" for name, part in sorted(parts.items())]
    return Content(sum(part.bytes for part in parts.values()), hashlib.sha256("".join(lines).encode()).hexdigest())


def _files(path: Path) -> Iterator[Path]:
    """A file itself; of a folder the files that are not hidden, as Snakemake's time stamps are."""
    if not path.is_dir():
        yield path
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if not name.startswith("."))
