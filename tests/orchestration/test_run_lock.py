"""Runs of one folder know of each other, on this machine and on others."""

import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import TINY, Project

from cerraseg.orchestration import run_lock

GATE = "    import time\n    Path('waits').touch()\n    while not Path('go').exists():\n        time.sleep(0.05)\n"
TARGET = "results/split.csv"
JOIN = "import sys, time; from cerraseg.orchestration.run_lock import join; print(join(), flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_lock, "_held", [])
    monkeypatch.setattr(run_lock.atexit, "register", lambda *_, **__: None)
    return tmp_path


@pytest.fixture
def other():
    """Another process that has joined this folder."""
    where = {**os.environ, "PYTHONPATH": str(Path(run_lock.__file__).parents[2])}
    command = [sys.executable, "-c", JOIN, "--cores", "2", "a/b://ana:s3cret@host/x"]
    with subprocess.Popen(command, env=where, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "False\n"
        yield process
        process.kill()


def note_of(host: str, process: int = 123, silent: float = 0) -> Path:
    """A note that another machine's run left."""
    run_lock.NOTES.mkdir(parents=True, exist_ok=True)
    note = run_lock.NOTES / f"{host}.{process}.json"
    run = {
        "process": process,
        "user": "ana",
        "host": host,
        "since": "2026-11-01 10:00:00+00:00",
        "command": "snakemake",
    }
    note.write_text(json.dumps(run))
    os.utime(note, (time.time() - silent, time.time() - silent))
    return note


def test_another_run_is_named(other):
    (run,) = run_lock.others()
    assert (run.process, run.host) == (other.pid, platform.node())
    assert run.command.endswith("--cores 2 a/b://***@host/x")
    said = run_lock.refusal()
    assert f"process {other.pid} of {run.user} on {platform.node()} since {run.since}: " in said
    assert f"kill -INT {other.pid};" in said
    with pytest.raises(run_lock.RunningError, match=f"still runs in this folder.*\n  process {other.pid} of"):
        run_lock.ensure_alone()
    assert run_lock.join()


def test_killed_run_is_forgotten_and_its_lock_cleared(other, folder):
    lock = folder / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir()
    lock.touch()
    assert run_lock.join() and lock.exists()
    for handle in run_lock._held:
        handle.close()
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert run_lock.refusal() == "" and not run_lock.join() and not lock.exists()
    assert [note.name for note in run_lock.NOTES.iterdir()] == [f"{platform.node()}.{os.getpid()}.json"]


def test_run_of_another_machine_counts_until_it_is_silent(folder):
    """Its lock does not reach here, as on file systems whose locks are each machine's own."""
    lock = folder / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    note = note_of("node2.cluster.org", silent=60)
    assert "process 123 of ana on node2.cluster.org since 2026-11-01" in run_lock.refusal()
    assert "kill -INT 123, on node2.cluster.org" in run_lock.refusal()
    assert run_lock.join() and lock.exists()
    note_of("node2.cluster.org", silent=600)
    assert run_lock.others() == [] and not note.exists()


def test_lock_of_another_machine_that_reaches_here_decides(folder):
    note = note_of("node2", silent=600)
    with note.open("r+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert [run.host for run in run_lock.others()] == ["node2"]


def test_file_system_without_locks(monkeypatch, folder):
    """Nothing is cleared, and who gave a sign of life lately is named."""

    def refused(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refused)
    lock = folder / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert not run_lock.join() and lock.exists() and run_lock.refusal() == ""
    note_of(platform.node(), silent=10)
    note_of("node2", 7, silent=600)
    assert [run.process for run in run_lock.others()] == [123]


def test_damaged_note_harms_nobody():
    note_of("node2").write_text("{")
    note_of("node3").write_text('{"who": 1}')
    assert run_lock.others() == [] and run_lock.refusal() == ""


def test_jobs_are_told_whose_they_are(monkeypatch, folder):
    monkeypatch.setenv(run_lock.RUN, "of another run that called this one")
    run_lock.join()
    assert run_lock.RUN not in os.environ
    run_lock.lead()
    assert os.environ[run_lock.RUN] == str(folder / run_lock._own())
    monkeypatch.delenv(run_lock.RUN)
    with run_lock.taking_part():  # of a run that cannot be told
        pass


def test_signs_of_life(monkeypatch):
    monkeypatch.setattr(run_lock, "_BEAT", 0.01)
    run_lock.join()
    note = run_lock._own()
    os.utime(note, (0, 0))
    time.sleep(0.2)
    assert note.stat().st_mtime > 1e9


def test_user_without_a_name(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(run_lock.getpass, "getuser", nobody)
    assert run_lock._user() == f"user {os.getuid()}"


def test_run_that_was_killed_alone_counts_as_long_as_its_jobs(other, folder):
    """Else a job of the killed run and one of the next would write the same files."""
    job = "import time; from cerraseg.orchestration.run_lock import *\n"
    job += "with taking_part(): print(1, flush=True); time.sleep(60)"
    note = next((folder / run_lock.NOTES).iterdir())
    where = {**os.environ, "PYTHONPATH": str(Path(run_lock.__file__).parents[2]), run_lock.RUN: str(note)}
    with subprocess.Popen([sys.executable, "-c", job], env=where, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"1\n"
        other.kill()
        other.wait()
        said = run_lock.refusal()
        assert f"  process {other.pid} of" in said and f"left jobs that still work here: [{process.pid}]" in said
        assert f"kill -INT {process.pid};" in said
        process.kill()
    assert run_lock.refusal() == "" and not note.exists()


@pytest.fixture
def waiting(folder) -> Iterator[tuple[Project, subprocess.Popen]]:
    """A project and a run of it, in the middle of the split until there is a file "go"."""
    project = Project(folder / "project", TINY)
    script = project.folder / "workflow/scripts/split.py"
    begin = "with step(snakemake):\n"
    script.write_text("from pathlib import Path\n" + script.read_text().replace(begin, begin + GATE))
    command = project.command(TARGET)
    with subprocess.Popen(command, cwd=project.folder, env=project.environment(), start_new_session=True) as first:
        try:
            while not (project.folder / "waits").exists():
                assert first.poll() is None
                time.sleep(0.05)
            yield project, first
        finally:
            (project.folder / "go").touch()


@pytest.mark.drill
def test_second_run_names_the_first(waiting):
    """It ends at once and harms nothing; dry runs and other files go beside it."""
    project, first = waiting
    said = project.run(TARGET, ok=False)
    assert f"process {first.pid} of " in said and f" on {platform.node()} since 20" in said
    assert f"--cores 2 {TARGET}" in said and "cannot be locked" not in said
    assert project.planned(TARGET) == {"split": 1}
    project.run("data/simulated/scene/msi.tif")
    (project.folder / "go").touch()
    assert first.wait() == 0
    assert project.planned(TARGET) == {} and not list((project.folder / run_lock.NOTES).iterdir())


@pytest.mark.drill
def test_killed_run_is_no_obstacle(waiting):
    project, first = waiting
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    (project.folder / "go").touch()
    assert len(list((project.folder / run_lock.NOTES).iterdir())) == 1
    project.run(TARGET)
    assert not list((project.folder / run_lock.NOTES).iterdir())


@pytest.mark.drill
def test_jobs_of_a_run_that_was_killed_alone_are_named(waiting, monkeypatch):
    """The run's own process is killed, its job goes on: the next one begins when that has ended."""
    project, first = waiting
    first.kill()
    first.wait()
    said = project.run(TARGET, ok=False)
    assert f"process {first.pid} of" in said and "was killed, but left jobs that still work here: [" in said
    (project.folder / "go").touch()
    monkeypatch.chdir(project.folder)
    while run_lock.others():
        time.sleep(0.1)
    project.run(TARGET)
    assert project.planned(TARGET) == {}
