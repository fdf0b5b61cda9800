"""The log of a step, and its progress."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger("cerraseg")

_SECONDS = 60  # between two lines on progress


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Iterate over ``items`` with a progress bar named ``what``; without a terminal, with one log line per minute."""
    if sys.stderr.isatty():
        from tqdm import tqdm  # here, as steps without a terminal need not load it

        yield from tqdm(items, desc=what, total=total, leave=False)
        return
    progress_log = ProgressLog(what, total)
    for done, item in enumerate(items):
        progress_log.update(done)
        yield item


class ProgressLog:
    """Log the progress of work once per minute; ``total`` is how much there is of it."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what, self.total = what, total
        self.began = self.logged = time.monotonic()

    def update(self, done: int) -> None:
        """Log that so much is done, if a minute has passed."""
        now = time.monotonic()
        if now - self.logged < _SECONDS:
            return
        self.logged = now
        rest = (now - self.began) / done * (self.total - done) / 60 if self.total and done else None
        log.info("%s: %d%s", self.what, done, "" if rest is None else f" of {self.total}, {rest:.0f} min left")
