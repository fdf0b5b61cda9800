"""Errors of disks and folders that cannot be written, in the user's words."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cerraseg.core.errors import CerraSegError, StorageError

_FULL = 2**20  # bytes free below which an error of GDAL or torch without a reason is put down to a full disk
_AGAIN = "then give the same command again: it goes on from what is finished"
_FREE = f"free some space, or point `results` at another disk; {_AGAIN}"
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FREE),
    errno.EROFS: f"mount it writable, or point `results` at another disk; {_AGAIN}",
    **dict.fromkeys((errno.EACCES, errno.EPERM), f"change its mode or owner; {_AGAIN}"),
    errno.ENOTDIR: f"it is no folder, perhaps a broken link: move it away; {_AGAIN}",
    **dict.fromkeys((errno.EIO, errno.ESTALE), f"have the disk or network file system looked at; {_AGAIN}"),
    errno.EMFILE: f"raise the limit of open files (ulimit -n); {_AGAIN}",
}


@contextmanager
def explain_disk_errors(path: Path | None = None) -> Iterator[None]:
    """Raise :class:`StorageError` for errors of the system at ``path``, and of GDAL and torch on a full disk."""
    try:
        yield
    except CerraSegError:
        raise
    except Exception as error:
        if path and isinstance(error, FileExistsError | NotADirectoryError):
            ensure_folder(path.parent)  # names the part that is no folder
        known = next((each for each in _causes(error) if isinstance(each, OSError) and each.errno in _REMEDIES), None)
        if isinstance(known, StorageError):
            raise known from None
        full = path is not None and _free(path) < _FULL
        if known and not (full and known.errno == errno.EIO):  # what GDAL could not write on a full disk
            place = path.parent if path else "a folder of this step"
            raise _error(known.errno or 0, known.filename or place) from None
        if path and full:
            raise _error(errno.ENOSPC, path.parent) from None
        raise


def _error(code: int, where: object) -> StorageError:
    fault = f"The disk of {where} is full" if code == errno.ENOSPC else f"{where}: {os.strerror(code)}"
    error = StorageError(f"{fault}; {_REMEDIES[code]}")
    error.errno = code
    return error


def need_room(folder: Path, needed: float, what: str) -> None:
    """Raise :class:`StorageError` where fewer than the ``needed`` bytes, which ``what`` writes at least, are free."""
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(f"{what} needs {_size(needed)} in {folder}, {_size(free)} are free; {_FREE}")


def ensure_folder(path: Path, written: bool = False) -> None:
    """Raise :class:`StorageError` for a path that cannot be or become a folder or, if ``written``, may not be."""
    path = path.absolute()
    there = next(part for part in (path, *path.parents) if part.exists() or part.is_symlink())
    if not there.is_dir():
        raise _error(errno.ENOTDIR, there)
    if written and not os.access(there, os.W_OK):
        raise _error(errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES, path)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _free(path: Path) -> int:
    """Return the bytes free where ``path`` is, or would be."""
    there = next((part for part in (path, *path.parents) if part.exists()), Path())
    return shutil.disk_usage(there).free


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
