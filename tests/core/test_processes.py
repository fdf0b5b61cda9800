"""A killed worker process is an error of the step, not a wait for ever."""

import multiprocessing
import os
import signal

import pytest

from cerraseg.core.errors import DataError
from cerraseg.core.processes import process_map


def end_worker(_: int) -> None:
    if multiprocessing.parent_process():
        os.kill(os.getpid(), signal.SIGKILL)


def test_killed_worker_is_an_error() -> None:
    with pytest.raises(DataError, match="killed"):
        list(process_map(end_worker, range(8), 2))
