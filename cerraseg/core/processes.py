"""Spread the chunks of a step over processes that end with it."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from cerraseg.core.errors import DataError
from cerraseg.core.signals import end_with_parent

T = TypeVar("T")
R = TypeVar("R")

_START = 1.5  # seconds until spawned processes, each with its own imports, have caught up


def process_map(job: Callable[[T], R], chunks: Sequence[T], workers: int) -> Iterator[R]:
    """What ``job`` makes of each of the chunks, in order: here, or in ``workers`` processes where that is faster.

    The first two chunks are done here; the second one's time says what the others will take. Processes are spawned, not
    forked: the caller may hold threads (GDAL, torch), which a fork would break.

    Raises:
        DataError: if a process ended before its time.
    """
    seconds = 0.0
    for chunk in chunks[:2]:
        start = time.perf_counter()
        result = job(chunk)
        seconds = time.perf_counter() - start
        yield result
    rest = chunks[2:]
    workers = min(workers, len(rest))
    if workers <= 1 or seconds * len(rest) * (1 - 1 / workers) < _START:
        yield from map(job, rest)
        return
    try:
        with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool:
            yield from pool.map(job, rest)
    except BrokenProcessPool:
        raise DataError(
            f"one of {workers} worker processes was killed, perhaps for lack of memory; run the step again, or with "
            "fewer threads"
        ) from None
