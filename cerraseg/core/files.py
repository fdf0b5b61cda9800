"""Write a file or folder under a temporary name and rename it when it is complete."""

import errno
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from cerraseg.core.storage import explain_disk_errors

_STALE = 7 * 24 * 3600  # s without a change, after which a leftover of another machine is removed
_SYNCED_TOGETHER = 16  # files of a folder, so that a journal takes them in one transaction
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP}  # of file systems that cannot flush a folder


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, of a file or folder, and rename it to ``path`` at the end of the block.

    The content is flushed to disk before it is renamed, so that a power loss cannot leave a name without its content.
    Leftovers of killed processes are removed first; on an exception nothing is left.

    Raises:
        StorageError: if the disk is full, the folder may not be written, or either fails.
    """
    path = Path(path)
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path)
    mine = f".{path.name}.{platform.node()}.{os.getpid()}"
    temporary, former = (path.with_name(f"{mine}{part}{path.suffix}") for part in (".part", ".former.part"))
    try:
        with explain_disk_errors(path):
            yield temporary
            _flush(temporary)
            if path.is_dir():  # killed while it is removed, no part of it must keep the name
                path.replace(former)
            temporary.replace(path)
            _sync(path.parent)
    finally:
        with suppress(OSError):  # as of a disk that has become read-only
            _remove(temporary)
            _remove(former)


def _clear(path: Path) -> None:
    """Remove what dead processes left of ``path``; another machine's may be alive on a shared file system."""
    name = re.compile(rf"\.{re.escape(path.name)}\.(?:(.*)\.)?(\d+)(?:\.former)?\.part{re.escape(path.suffix)}")
    for leftover in path.parent.glob(".*.part*"):
        if found := name.fullmatch(leftover.name):
            with suppress(FileNotFoundError):  # its process has just finished it
                old = time.time() - leftover.stat().st_mtime > _STALE
                if not _alive(int(found[2])) if found[1] == platform.node() else old:
                    _remove(leftover)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def _flush(path: Path) -> None:
    """Flush a file, or all of a folder, to disk."""
    with ThreadPoolExecutor(_SYNCED_TOGETHER) as pool:
        list(pool.map(_sync, path.rglob("*")))
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
