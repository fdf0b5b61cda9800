"""Unpack a zip from the network: whole or not at all, inside its folder, within a size."""

import errno
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cerraseg.core.errors import DownloadError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress

MOST_BYTES = 20 * 10**9
"""Default cap on what comes out of an archive, in bytes: eight times the released checkpoints."""

MOST_ENTRIES = 1_000_000
"""CerraData-4MM has 181,746 files."""

RATIO = 200
"""An entry above a megabyte that is packed tighter than this is taken for a bomb; model parameters hardly shrink."""

_CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
_REFUSED = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENAMETOOLONG)
"""What the system says where two entries meet in one file, an offset lies outside the archive, or a name is too long:
the archive's fault, unlike a full disk."""


class ArchiveError(DownloadError):
    """The archive is damaged, or holds what must not be unpacked; it was removed."""


def unpack(archive: Path, folder: Path, *, most: int = MOST_BYTES) -> None:
    """Turn the zip ``archive`` into ``folder``, which appears when it is complete; then remove the archive.

    Refused as a whole are entries that are absolute, lead outside, are links or special files, occur twice, are
    encrypted, or are packed by a method other than deflate, contents above ``most`` bytes or of an absurd ratio, and
    more than :data:`MOST_ENTRIES`. No entry's mode is taken over.

    Raises :class:`ArchiveError` when the archive is refused or damaged, which removes it, and :class:`DownloadError`
    when the disk is full or fails, which keeps it. ``folder`` is left as it was in both cases.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            if fault := _fault(entries, archive.stat().st_size, most):
                raise _refused(archive, f"is refused: {fault}. Nothing of it was unpacked, and it was removed.")
            check_space(folder.parent, sum(entry.file_size for entry in entries), f"the contents of {archive.name}")
            with atomic_write(folder) as temporary:
                temporary.mkdir()
                for entry in progress(entries, "unpack", len(entries)):
                    _extract(opened, entry, temporary)
    except _DAMAGED as error:
        raise _refused(
            archive, f"is damaged, cut short or no zip archive ({error}). It was removed: run it again to download it."
        ) from None
    except OSError as error:
        if error.errno in _REFUSED:
            raise _refused(archive, f"is refused: an entry cannot be unpacked ({error}). It was removed.") from None
        raise DownloadError(
            f"Cannot unpack {archive} ({error.strerror or error}). It is kept: check the free space and the "
            f"permissions of {folder.parent}, then run it again."
        ) from None
    archive.unlink()
    log.info("unpacked %d entries into %s", len(entries), folder)


def _refused(archive: Path, why: str) -> ArchiveError:
    archive.unlink(missing_ok=True)
    return ArchiveError(f"The archive {archive} {why}")


def _fault(entries: Sequence[zipfile.ZipInfo], packed: int, most: int) -> str | None:
    """Say why an archive of ``packed`` bytes must not be unpacked, or None."""
    if len(entries) > MOST_ENTRIES:
        return f"it has {len(entries):,} entries, expected at most {MOST_ENTRIES:,}"
    size = sum(entry.file_size for entry in entries)
    if size > most:
        return f"it holds {size / 1e9:,.1f} GB, expected at most {most / 1e9:,.1f} GB"
    if sum(entry.compress_size for entry in entries) > packed:
        return "its entries overlap"
    seen: set[PurePosixPath] = set()
    for entry in entries:
        if fault := _entry_fault(entry):
            return f"its entry {entry.orig_filename!r} {fault}"
        name = PurePosixPath(entry.filename)
        if name in seen:
            return f"its entry {entry.orig_filename!r} occurs twice"
        seen.add(name)
    return None


def _entry_fault(entry: zipfile.ZipInfo) -> str | None:
    name, kind = entry.orig_filename, stat.S_IFMT(entry.external_attr >> 16)
    faults = {
        "is absolute": name.startswith("/") or bool(re.match("[A-Za-z]:", name)),
        "leads outside": ".." in name.split("/"),
        "has a backslash or a control character in its name": bool(re.search(r"[\\\x00-\x1f]", name)),
        "has no name": not PurePosixPath(name).parts,
        "is a link or a special file": kind not in (0, stat.S_IFDIR if name.endswith("/") else stat.S_IFREG),
        "is encrypted": bool(entry.flag_bits & 0x2041),  # plain, strong, and masked headers
        "is packed by an unusual method": entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
        "is packed too tightly to be true": entry.file_size > max(10**6, RATIO * entry.compress_size),
    }
    return next((fault for fault, found in faults.items() if found), None)


def check_space(folder: Path, need: int, what: str) -> None:
    """Raise :class:`DownloadError` unless ``folder`` has room for the ``need`` bytes of ``what``."""
    free = shutil.disk_usage(folder).free
    if need > free:
        raise DownloadError(
            f"Not enough space in {folder}: {what} needs about {need / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are "
            "free. Free some, or put the folder on a larger disk, then run it again: what arrived is kept."
        )


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Write one checked ``entry`` below ``folder``; the read verifies its CRC, the count its size."""
    target = folder / PurePosixPath(entry.filename)
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(entry) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
        if file.tell() != entry.file_size:
            raise zipfile.BadZipFile(f"{entry.filename} has {file.tell():,} bytes of {entry.file_size:,}")
