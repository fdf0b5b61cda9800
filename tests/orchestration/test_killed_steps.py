"""A step that was killed is told from one that said why it failed."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from project import TINY, Project

from cerraseg.orchestration.killed_steps import untold

BLOCK = """
RuleException:
CalledProcessError in file "train.smk", line 34:
Command 'python train.py' died with <Signals.SIGKILL: 9>.
[Sat Nov 21 21:53:27 2026]
Error in rule {rule}:
    message: None
    jobid: 7
    input: images.npy, masks.npy
    output: checkpoint.pt
    log: {log} (check log file(s) for error details)
Exiting because a job execution failed. Look above for error messages
"""


def test_only_jobs_whose_fresh_log_holds_no_error_were_ended_from_outside(tmp_path):
    logs = {
        "killed": "12:00:00 INFO epoch 1/2: loss 2.6\n",
        "at_once": "",
        "refused": "12:00:00 INFO begins\n12:00:01 ERROR the disk is full\n",
        "broken": "12:00:01 ERROR the step failed\nTraceback (most recent call last):\n",
        "stale": "12:00:00 INFO all of it, yesterday\n",
    }
    began = time.time() - 10
    for name, text in logs.items():
        (tmp_path / name).write_text(text)
    os.utime(tmp_path / "stale", (began - 100, began - 100))
    run = "".join(BLOCK.format(rule=name, log=tmp_path / name) for name in [*logs, "missing", "killed"])
    said = untold(run, began)
    assert [line.split(", without")[0] for line in said] == [
        f"Rule {name} was ended from outside" for name in ("killed", "at_once")
    ]
    assert str(tmp_path / "killed") in said[0] and "same command again" in said[0]


def test_log_without_failures_says_nothing():
    assert untold("Building DAG of jobs...\n1 of 1 steps (100%) done\n", 0) == []


@pytest.mark.drill
def test_killed_step_and_unusable_results_are_told_by_the_workflow(tmp_path, small_disk):
    config = TINY | {"simulate": {"patches": 12}, "scenes": [], "training": {"epochs": 40, "batch_size": 4}}
    config["scenarios"] = {key: value for key, value in TINY["scenarios"].items() if key != "extra"}
    made = Project(tmp_path / "project", config | {"results": str(small_disk.folder / "file")})
    (small_disk.folder / "file").touch()
    assert f"{small_disk.folder}/file is no folder" in (said := made.run(ok=False)) and "Traceback" not in said
    made.configure(config | {"results": str(small_disk.folder / "results")})
    small_disk.read_only()
    assert f"{small_disk.folder}/results: Read-only" in (said := made.run(ok=False)) and "Traceback" not in said
    small_disk.writable()
    process = subprocess.Popen(
        made.command("--until", "train"), cwd=made.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    log = small_disk.folder / "results/logs/train/unet-concat-nw-l1-tuned-1.log"
    while not (log.is_file() and "epoch 1" in log.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(next(pid for pid in processes("train.py", made.folder)), signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == 1 and f"Rule train was ended from outside, without an error in its log {log}" in said
    made.configure(config | {"results": str(small_disk.folder / "results")})
    small_disk.fill(leaving=100_000)
    full = made.run("--until", "train", ok=False)
    assert "needs" in full or "is full" in full
    assert "ended from outside" not in full and log.read_text().count("ERROR") == 1
    small_disk.empty()
    made.run("--until", "train")
    assert "going on from the state" in log.read_text()
    statistics = small_disk.folder / "results/statistics.json"
    statistics.write_bytes(statistics.read_bytes()[:-100])
    said = made.run("--until", "train", ok=False)
    assert f"{statistics}: not what the step statistics wrote; remove it and give the same command again" in said
    statistics.unlink()
    made.run("--until", "train")


def processes(script, folder):
    """Ids of the processes that run a step's script in a folder."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                command = (entry / "cmdline").read_text().split("\0")
                if Path(command[0]).name.startswith("python") and command[1].endswith(script):
                    yield int(entry.name)
        except (OSError, IndexError):
            continue
