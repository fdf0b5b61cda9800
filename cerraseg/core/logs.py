"""What a step tells its user: a log file, the same lines on standard error, and progress bars on a terminal."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from cerraseg.core.errors import CerraSegError
from cerraseg.core.storage import writing
from cerraseg.orchestration import run_lock
from cerraseg.orchestration.provenance import records

T = TypeVar("T")

log = logging.getLogger("cerraseg")

_TELL_EVERY = 60  # seconds


@contextmanager
def step(job: Any) -> Iterator[None]:
    """Run one workflow step, Snakemake's ``job``: log to its log file and standard error; at a good end write its
    record (:mod:`provenance.records`); end with exit code 1 and no traceback on a :class:`CerraSegError`, on storage
    that fails and on a lack of memory, with the traceback in the log on anything else, after which inputs are named
    that are not what their makers wrote."""
    handlers = [_attached(logging.StreamHandler())]
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        with writing(), run_lock.taking_part():
            handlers.append(_attached(_file(Path(job.log[0]))))
            logging.getLogger("py.warnings").addHandler(handlers[1])
            yield
            records.write(job)
    except CerraSegError as error:
        log.error("%s", error)
        sys.exit(1)
    except MemoryError as error:
        log.error("%s", _NO_MEMORY.format(why=error or "MemoryError"))
        sys.exit(1)
    except Exception:
        log.exception("the step failed; looking whether its inputs are whole")
        for line in records.changed(job):
            log.error("%s", line)
        raise
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            with suppress(OSError):  # a full disk, of which the step has told
                handler.close()


_NO_MEMORY = (
    "The memory is used up ({why}); expected enough for what this step holds: give it fewer threads (--set-threads), "
    "let fewer steps run side by side (--cores), or take a machine with more; then give the same command again"
)


class _Log(logging.FileHandler):
    """A log that a full disk cuts short: the lines still come out at standard error."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: logging would print a traceback for each line."""


def _file(path: Path) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    return _Log(path, mode="w", encoding="utf-8")


def _attached(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    return handler


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """Iterate over ``items`` with a progress bar named ``what``; where nobody watches, a line in the log a minute."""
    if not sys.stderr.isatty():
        return _told(items, what, total)
    from tqdm import tqdm  # here, as a step that nobody watches need not load it

    return tqdm(items, desc=what, total=total, leave=False)


def _told(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    teller = Teller(what, total)
    for done, item in enumerate(items):
        teller.tell(done)
        yield item


class Teller:
    """Says in the log once a minute how far work is, from now on; ``total`` is how much there is of it."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what, self.total = what, total
        self.began = self.told = time.monotonic()

    def tell(self, done: int) -> None:
        """So much is done."""
        now = time.monotonic()
        if now - self.told < _TELL_EVERY:
            return
        self.told = now
        rest = (now - self.began) / done * (self.total - done) / 60 if self.total and done else None
        log.info("%s: %d%s", self.what, done, "" if rest is None else f" of {self.total}, {rest:.0f} min left")
