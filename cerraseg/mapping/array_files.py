"""Arrays written from start to end, as a memory-mapped one would grow in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from numpy.lib.format import write_array_header_1_0

from cerraseg.core.files import atomic_write


@contextmanager
def new_array(path: str | Path, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """Yield a ``.npy`` file that takes the bytes of a uint8 array of ``shape``."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        yield file
