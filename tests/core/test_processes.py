"""Chunks spread over processes come back in order, and the processes end with the step."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cerraseg.core import processes as workers
from cerraseg.core.errors import DataError
from cerraseg.core.processes import process_map

SLEEPER = """
import time
from test_processes import nap
from cerraseg.core import processes as workers
if __name__ == "__main__":
    workers._START = 0
    list(workers.process_map(nap, list(range(100)), 2))
"""


def where(chunk):
    return chunk, os.getpid()


def nap(chunk):
    time.sleep(0.01 if chunk < 2 else 60)


def die(chunk):
    if chunk == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def refuse(chunk):
    raise DataError(f"chunk {chunk} is bad")


def test_order_is_kept_and_processes_are_used(monkeypatch):
    monkeypatch.setattr(workers, "_START", 0)
    chunks, processes = zip(*process_map(where, range(9), 2), strict=True)
    assert chunks == tuple(range(9))
    assert set(processes[:2]) == {os.getpid()} and os.getpid() not in processes[2:]


def test_little_work_stays_here():
    assert {process for _, process in process_map(where, range(50), 8)} == {os.getpid()}
    assert list(process_map(where, [], 2)) == []


@pytest.mark.parametrize("count", [1, 9])
def test_errors_of_a_chunk_arrive(count, monkeypatch):
    monkeypatch.setattr(workers, "_START", 0)
    with pytest.raises(DataError, match="chunk 0 is bad"):
        list(process_map(refuse, range(count), 2))


def test_a_killed_worker_is_named(monkeypatch):
    monkeypatch.setattr(workers, "_START", 0)
    with pytest.raises(DataError, match=r"worker processes was killed.*run the step again, or with fewer threads"):
        list(process_map(die, range(9), 2))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_a_killed_step(number, tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    paths = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[2])))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    parent = subprocess.Popen([sys.executable, tmp_path / "sleeper.py"], env=environment)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    for _ in range(2000):
        workers_ = [pid for pid in children.read_text().split() if "spawn_main" in command(pid)]
        if len(workers_) == 2:
            break
        time.sleep(0.01)
    assert len(workers_) == 2
    parent.send_signal(number)
    parent.wait()
    for _ in range(1000):
        left = [pid for pid in workers_ if "spawn_main" in command(pid)]
        if not left:
            break
        time.sleep(0.01)
    assert left == []


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
