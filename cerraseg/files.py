"""Whole or absent: write a file or folder under a temporary name and rename it when it is complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cerraseg.storage import writing


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well, what was written there takes its name.

    Works for files and folders. What killed processes left behind is cleared first; on an exception nothing is left.

    Raises:
        StorageError: if the disk is full, the folder may not be written, or either fails.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{path.name}.*.part{path.suffix}"):
            if not _alive(int(leftover.name.removeprefix(f".{path.name}.").split(".")[0])):
                _remove(leftover)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        with writing(path):
            yield temporary
            if path.is_dir():
                _remove(path)
            temporary.replace(path)
    finally:
        with suppress(OSError):  # a disk that has become read-only, say, of which the error tells
            _remove(temporary)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
