"""Run one workflow step: its log, its errors, its record."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cerraseg.core.errors import CerraSegError
from cerraseg.core.logs import log
from cerraseg.core.memory import explain_out_of_memory
from cerraseg.core.storage import explain_disk_errors
from cerraseg.orchestration.provenance import crate, lineage

_FEWER = (
    "give this step fewer threads (--set-threads), let fewer steps run side by side (--cores), or take a machine with "
    "more; then give the same command again"
)


FAILURES = Path(".snakemake/cerraseg-failures.txt")
"""What failed in this run, the first failure first: ``rule (log): error``, a line each."""

_NEEDED = ("distances", "truth", "scene")
"""Rules without whose results a training cannot be scored or used as the configuration asks."""


@contextmanager
def step(job: Any) -> Iterator[None]:
    """Run a workflow step, the script's ``snakemake``: log to its log file and standard error, and note what it did.

    A :class:`CerraSegError`, also of storage and memory, ends it with exit code 1 and no traceback; anything else with
    its traceback in the log, after which damaged inputs are named.
    """
    handlers = [_attached(logging.StreamHandler())]
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    began = crate.now()
    try:
        with explain_disk_errors(), explain_out_of_memory(_FEWER):
            file = Path(job.log[0])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            handlers.append(_attached(_Log(file, encoding="utf-8")))  # the processes of a training append to it, too
            logging.getLogger("py.warnings").addHandler(handlers[1])
            _refuse_in_vain(job)
            yield
            crate.write_note(job, began)
    except CerraSegError as error:
        log.error("%s", error)
        _note_failure(job, error)
        sys.exit(1)
    except Exception as error:
        _note_failure(job, error)
        log.exception("the step failed; looking whether its inputs are whole")
        for path in lineage.changed_inputs(job.input, Path(job.config["results"])):
            log.error("%s: not what its step wrote; remove it and give the same command again", path)
        raise
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            with suppress(OSError):  # a full disk, of which the step has told
                handler.close()


def _note_failure(job: Any, error: Exception) -> None:
    line = f"{job.rule} ({job.log[0]}): {' '.join(str(error).split()) or type(error).__name__}\n"
    with suppress(OSError), FAILURES.open("a", encoding="utf-8") as file:
        file.write(line)


def failures() -> list[str]:
    """Return the lines of :data:`FAILURES`; none without a failure."""
    return FAILURES.read_text(encoding="utf-8").splitlines() if FAILURES.is_file() else []


def _refuse_in_vain(job: Any) -> None:
    """Start no training after a failure in this run that leaves it without its scores or maps."""
    needed = [failure for failure in failures() if failure.split()[0] in _NEEDED]
    if job.rule == "train" and needed:
        raise CerraSegError(f"not begun, as its model could not be used: {needed[0]}")


class _Log(logging.FileHandler):
    """A log that a full disk cuts short: the lines still come out at standard error."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: logging would print a traceback for each line."""


def _attached(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    return handler
