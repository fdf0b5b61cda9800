"""Whether a run works in this folder: every one holds a shared lock that ends with its process."""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cerraseg.errors import CerraSegError

LOCK = Path(".snakemake/alive")
"""Held by every Snakemake of the folder, see ``clear_lock_of_killed_run`` in ``guard.smk``."""


class RunningError(CerraSegError):
    """Another run works in this folder."""


@contextmanager
def alone() -> Iterator[None]:
    """Keep runs from starting in this folder.

    Raises:
        RunningError: if one is there.
    """
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunningError("a snakemake still runs in this folder; wait for its end, or stop it first") from None
        except OSError as error:
            print(f"no locks on this file system ({error}): be sure that no snakemake runs here", file=sys.stderr)
        yield


def ensure_alone() -> None:
    """Raise :class:`RunningError` if a run works in this folder."""
    with alone():
        pass
