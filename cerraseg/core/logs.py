"""What a step tells its user: a log file, the same lines on standard error, and progress bars on a terminal."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger("cerraseg")

_TELL_EVERY = 60  # seconds


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """Iterate over ``items`` with a progress bar named ``what``; where nobody watches, a line in the log a minute."""
    if not sys.stderr.isatty():
        return _told(items, what, total)
    from tqdm import tqdm  # here, as a step that nobody watches need not load it

    return tqdm(items, desc=what, total=total, leave=False)


def _told(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    progress_log = ProgressLog(what, total)
    for done, item in enumerate(items):
        progress_log.update(done)
        yield item


class ProgressLog:
    """Says in the log once a minute how far work is, from now on; ``total`` is how much there is of it."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what, self.total = what, total
        self.began = self.told = time.monotonic()

    def update(self, done: int) -> None:
        """So much is done."""
        now = time.monotonic()
        if now - self.told < _TELL_EVERY:
            return
        self.told = now
        rest = (now - self.began) / done * (self.total - done) / 60 if self.total and done else None
        log.info("%s: %d%s", self.what, done, "" if rest is None else f" of {self.total}, {rest:.0f} min left")
