"""Size and hash of files and folders."""

import hashlib
import os
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
        with path.open("rb") as opened:
            return Content(os.fstat(opened.fileno()).st_size, hashlib.file_digest(opened, "sha256").hexdigest())
    parts: dict[str, Content] = {}
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]  # hidden, as Snakemake's time stamps are
        for file in (Path(folder, name) for name in names if not name.startswith(".")):
            parts[file.relative_to(path).as_posix()] = content(file)
    lines = [f"{part.sha256}  {name}\n" for name, part in sorted(parts.items())]
    return Content(sum(part.bytes for part in parts.values()), hashlib.sha256("".join(lines).encode()).hexdigest())
