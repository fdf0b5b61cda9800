"""What to do where there is too little memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from cerraseg.core.errors import MemoryShortage

_OUT_OF_MEMORY = re.compile("out ?of ?memory|can't allocate memory|not enough memory|ALLOC_FAILED", re.IGNORECASE)
_LONGEST = 200  # characters of an error that are shown


@contextmanager
def explain_out_of_memory(remedy: str) -> Iterator[None]:
    """Raise :class:`MemoryShortage` with the ``remedy`` where a GPU, torch or numpy lack memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(said):
            raise
        raise MemoryShortage(f"Too little memory: {remedy}. ({said[:_LONGEST]})") from None


def batch_size_hint(key: str, size: int) -> str:
    """Return the remedy where the setting ``key`` computes ``size`` patches at a time."""
    lower = f"set it to {size // 2}" if size > 1 else "it cannot be lower: take a smaller model or more memory"
    return f"{key} is {size}; expected as many patches at a time as fit: {lower}, then give the same command again"
