"""Spread the chunks of a step over worker processes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from cerraseg.core.errors import DataError
from cerraseg.core.signals import end_with_parent

T = TypeVar("T")
R = TypeVar("R")

_CHUNKS_PER_WORKER = 4  # with fewer, starting the processes takes longer than the work


def process_map(job: Callable[[T], R], chunks: Sequence[T], workers: int) -> Iterator[R]:
    """Yield ``job``'s result for each chunk, in order, computed in up to ``workers`` processes.

    Few chunks are computed in this process. Processes are spawned, as a fork would break threads of GDAL and torch.
    Where one is killed, :class:`DataError` is raised.
    """
    workers = min(workers, len(chunks) // _CHUNKS_PER_WORKER)
    if workers <= 1:
        yield from map(job, chunks)
        return
    try:
        with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool:
            yield from pool.map(job, chunks)
    except BrokenProcessPool:
        raise DataError(
            f"one of {workers} worker processes was killed, perhaps for lack of memory; run the step again, or with "
            "fewer threads"
        ) from None
