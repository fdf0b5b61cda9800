"""What a step tells its user: a log file, the same lines on standard error, and progress bars on a terminal."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cerraseg import records, running
from cerraseg.errors import CerraSegError

T = TypeVar("T")

log = logging.getLogger("cerraseg")

_TELL_EVERY = 60  # seconds


@contextmanager
def step(job: Any) -> Iterator[None]:
    """Run one workflow step, Snakemake's ``job``: log to its log file and standard error; at a good end write its
    record (:mod:`cerraseg.records`); end with exit code 1 and no traceback on a :class:`CerraSegError`, with the
    traceback in the log on anything else."""
    log_file = job.log[0]
    Path(log_file).parent.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.FileHandler(log_file, mode="w", encoding="utf-8"),
        logging.StreamHandler(),
    ]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(handlers[0])
    try:
        with running.taking_part():
            yield
            records.write(job)
    except CerraSegError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        log.exception("the step failed")
        raise
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """Iterate over ``items`` with a progress bar named ``what``; where nobody watches, a line in the log a minute."""
    if not sys.stderr.isatty():
        return _told(items, what, total)
    from tqdm import tqdm  # here, as a step that nobody watches need not load it

    return tqdm(items, desc=what, total=total, leave=False)


def _told(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    began = told = time.monotonic()
    for done, item in enumerate(items):
        if (now := time.monotonic()) - told >= _TELL_EVERY:
            told = now
            left = f" of {total}, {(now - began) / done * (total - done) / 60:.0f} min left" if total and done else ""
            log.info("%s: %d%s", what, done, left)
        yield item
