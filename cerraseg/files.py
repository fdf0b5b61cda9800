"""Whole or absent: write a file or folder under a temporary name and rename it when it is complete."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well, what was written there takes its name.

    Works for files and folders. A leftover of a killed run is cleared first; on an exception nothing is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part{path.suffix}")
    _remove(temporary)
    try:
        yield temporary
        if path.is_dir():
            _remove(path)
        temporary.replace(path)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
