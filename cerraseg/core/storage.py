"""Disks and folders that do not take what is written to them: the system's errors in the user's words."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cerraseg.core.errors import CerraSegError, StorageError

_FULL = 2**20  # bytes free at which an error without a reason, of GDAL or torch, is put down to a full disk
_UNKNOWN = "a folder that this step writes to"
_AGAIN = "then give the same command again: it goes on from what is finished"
_ELSEWHERE = f"point `results` at another disk; {_AGAIN}"
_FAILS = (
    "The disk or network file system of {where} fails ({why}); expected one that answers: have it looked at, " + _AGAIN
)
_DENIED = "{where}: {why}; expected the permission for it: change its mode or owner, or " + _ELSEWHERE
_NO_FOLDER = "{where} is no folder, perhaps a broken link, and one is needed there: move it away, " + _AGAIN
_FAULTS = {
    errno.ENOSPC: "The disk of {where} is full ({why}{free}); expected room for what this step writes: free some "
    "space, or " + _ELSEWHERE,
    errno.EDQUOT: "The quota for the disk of {where} is used up; expected room for what this step writes: remove files "
    "of yours there, or " + _ELSEWHERE,
    errno.EFBIG: "{where}: larger than a file may be ({why}); expected no such limit: raise it (ulimit -f), or "
    + _ELSEWHERE,
    errno.EROFS: "{where} is read-only ({why}); expected a folder that can be written: mount it so, or " + _ELSEWHERE,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.EIO: _FAILS,
    errno.ESTALE: _FAILS,
    errno.EMFILE: "Too many files are open ({why}); expected no such limit: raise it (ulimit -n), " + _AGAIN,
}


@contextmanager
def explain_disk_errors(path: Path | None = None) -> Iterator[None]:
    """Say in the user's words why ``path``, or what else an error names, cannot be written.

    Raises:
        StorageError: instead of the system's own errors, and of those that GDAL and torch make of a full disk.
    """
    try:
        yield
    except CerraSegError:
        raise
    except Exception as error:
        if told := _told(error, path):
            raise told from None
        raise


def need_room(folder: Path, needed: float, what: str) -> None:
    """Refuse to begin with ``what``, which takes at least so many bytes, where there are fewer.

    Raises:
        StorageError: likewise.
    """
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{what} needs {_size(needed)} in {folder}, {_size(free)} are free; free some space or {_ELSEWHERE}"
        )


def ensure_folder(path: Path, written: bool = False) -> None:
    """Refuse a path that is no folder and cannot become one or, if it is to be ``written``, may not be.

    Nothing is made.

    Raises:
        StorageError: likewise.
    """
    path = path.absolute()
    there = next(part for part in (path, *path.parents) if part.exists() or part.is_symlink())
    code = 0
    if not there.is_dir():
        code = errno.ENOTDIR
    elif written and not os.access(there, os.W_OK):
        code = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
    if code:
        with explain_disk_errors(path):
            raise OSError(code, os.strerror(code), str(path))


def _told(error: Exception, path: Path | None) -> StorageError | None:
    if earlier := next((one for one in _chain(error) if isinstance(one, StorageError)), None):
        return earlier  # what came after it is its consequence
    known = next((one for one in _chain(error) if isinstance(one, OSError) and one.errno in _FAULTS), None)
    full = path and _free(path) < _FULL
    if not known and not full:
        return None
    code = known.errno if known and known.errno and not (full and known.errno == errno.EIO) else errno.ENOSPC
    where = _place(code, known and known.filename, path)
    if not where:
        return None
    free = "" if where == _UNKNOWN else f"; {_size(_free(Path(where)))} free"
    told = StorageError(_FAULTS[code].format(where=where, why=(known and known.strerror) or error, free=free))
    told.errno = code
    return told


def _place(code: int, named: Any, path: Path | None) -> str | Path | None:
    """What an error is about; None where that is not for us to say."""
    if code in (errno.EEXIST, errno.ENOTDIR):
        way = reversed([path, *path.parents]) if path else ()
        return next((part for part in way if not part.is_dir() and (part.exists() or part.is_symlink())), None)
    if path and code in (errno.ENOSPC, errno.EDQUOT):
        return path.parent
    return named or (path.parent if path else _UNKNOWN)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _free(path: Path) -> int:
    """Bytes free where ``path`` is, or would be."""
    there = next((part for part in (path, *path.parents) if part.exists()), Path())
    return shutil.disk_usage(there).free


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
