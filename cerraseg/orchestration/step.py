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
            yield
            crate.write_note(job, began)
    except CerraSegError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        log.exception("the step failed; looking whether its inputs are whole")
        for path in lineage.changed_inputs(job.input, Path(job.config["results"])):
            log.error("%s: not what its step wrote; remove it and give the same command again", path)
        raise
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            with suppress(OSError):  # a full disk, of which the step has told
                handler.close()


class _Log(logging.FileHandler):
    """A log that a full disk cuts short: the lines still come out at standard error."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: logging would print a traceback for each line."""


def _attached(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    return handler
