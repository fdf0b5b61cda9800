"""Results of chunks come in order from worker processes, whose errors and deaths reach the step."""

import os
import signal

import pytest

from cerraseg.core.errors import DataError
from cerraseg.core.processes import process_map


def process_of(chunk):
    return chunk, os.getpid()


def die(chunk):
    if chunk == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def refuse(chunk):
    raise DataError(f"chunk {chunk} is bad")


def test_order_is_kept_and_processes_are_used():
    chunks, processes = zip(*process_map(process_of, range(9), 2), strict=True)
    assert chunks == tuple(range(9)) and os.getpid() not in processes


def test_few_chunks_stay_in_this_process():
    assert {process for _, process in process_map(process_of, range(7), 8)} == {os.getpid()}
    assert list(process_map(process_of, [], 2)) == []


@pytest.mark.parametrize("count", [1, 9])
def test_errors_of_a_chunk_arrive(count):
    with pytest.raises(DataError, match="chunk 0 is bad"):
        list(process_map(refuse, range(count), 2))


def test_a_killed_worker_is_reported():
    with pytest.raises(DataError, match="killed"):
        list(process_map(die, range(9), 2))
