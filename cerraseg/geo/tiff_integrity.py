"""Whether a GeoTIFF that GDAL wrote is whole: on a full disk GDAL may close a file without its end and say nothing.

Errors of a file's last writes, at its close, reach neither GDAL's caller nor rasterio's. The lists of where its blocks
lie (TIFF 6.0, Adobe, 1992; BigTIFF) tell whether a file has them.
"""

import errno
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_UNWRITTEN = re.compile("TIFF(Append|Flush|Rewrite|Write)")
_OFFSETS, _LENGTHS = (273, 324), (279, 325)  # tags of strips and of tiles
_TYPES = {3: "<u2", 4: "<u4", 13: "<u4", 16: "<u8", 18: "<u8"}


@contextmanager
def written(*paths: Path) -> Iterator[None]:
    """Make sure that the GeoTIFFs at ``paths`` are whole when the block, which writes and closes them, ends.

    Raises:
        OSError: if one is not.
    """
    heard = _Errors()
    logger = logging.getLogger("rasterio._env")
    level = logger.level
    logger.addHandler(heard)
    logger.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        logger.removeHandler(heard)
        logger.setLevel(level)
    for path in paths:
        if heard.said or not is_whole(path):
            raise OSError(errno.EIO, f"GDAL could not write all of it {heard.said}".rstrip(), str(path))


class _Errors(logging.Handler):
    """What GDAL signalled of failed writes; rasterio raises some of it and logs the rest."""

    said = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first."""
        message = record.getMessage()
        if _UNWRITTEN.search(message):
            self.said = self.said or message


def is_whole(path: Path) -> bool:
    """Whether a little-endian TIFF or BigTIFF has every block that it lists, overviews too."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            return all(_ends(directory, file) <= size for directory in _directories(file))
        except (ValueError, KeyError):  # cut short within its own lists
            return False


def _directories(file: BinaryIO) -> Iterator[dict[int, tuple[str, int, int]]]:
    """Tag → type, number of values, and place in the file, of each directory."""
    big = {b"II*\0": False, b"II+\0": True}[file.read(4)]
    word, short = ("<u8", "<u8") if big else ("<u4", "<u2")
    entry = np.dtype([("tag", "<u2"), ("type", "<u2"), ("count", word), ("value", word)])
    place, seen = int(_read(file, 8 if big else 4, word, 1)[0]), set[int]()
    while place:
        if place in seen:
            raise ValueError("a directory leads back to itself")
        seen.add(place)
        count = int(_read(file, place, short, 1)[0])
        first = place + np.dtype(short).itemsize
        entries = _read(file, first, entry, count)
        tags = {}
        for number, (tag, kind, length, value) in enumerate(entries.tolist()):
            bytes_ = length * np.dtype(_TYPES.get(kind, "u1")).itemsize
            inside = first + (number + 1) * entry.itemsize - np.dtype(word).itemsize
            tags[tag] = (_TYPES.get(kind, "u1"), length, inside if bytes_ <= np.dtype(word).itemsize else value)
        yield tags
        place = int(_read(file, first + count * entry.itemsize, word, 1)[0])


def _ends(directory: dict[int, tuple[str, int, int]], file: BinaryIO) -> int:
    """The last byte of a directory's blocks; 0 where all are holes."""
    offsets, lengths = (
        _read(file, place, kind, length)
        for of_strips, of_tiles in (_OFFSETS, _LENGTHS)
        for kind, length, place in [directory[of_strips if of_strips in directory else of_tiles]]
    )
    return int((offsets.astype(np.uint64) + lengths.astype(np.uint64)).max())


def _read(file: BinaryIO, place: int, dtype: object, count: int) -> NDArray[np.generic]:
    of = np.dtype(dtype)  # type: ignore[call-overload]
    if place + count * of.itemsize > os.fstat(file.fileno()).st_size:
        raise ValueError("cut short")
    file.seek(place)
    values: NDArray[np.generic] = np.fromfile(file, of, count)
    return values
