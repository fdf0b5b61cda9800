"""Trainings on two processes and two nodes end where one process does; a signal or a lost process ends all in order."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import yaml
from conftest import arrays, opened
from killing import processes
from project import REPOSITORY, TINY, Project
from test_slurm import Story, job_processes, started
from test_train import Killed, kill, once_in, outputs, plan, run

from cerraseg.core.errors import DataError
from cerraseg.data.tables import rows_of
from cerraseg.training.distributed import DeviceError
from cerraseg.training.module import TrainingModule
from cerraseg.training.train import train

EXACT = "transnuseg-sar-nw-l2-paper-1"  # without batch norm, float error does not grow from epoch to epoch


def exact(**changes):
    """A plan whose steps draw nothing, which two processes would do apart."""
    made = plan(EXACT, **changes)
    return dataclasses.replace(made, settings=made.settings | {"drop_path": 0.0})


def assert_alike(found, expected, rtol=1e-4):
    pd.testing.assert_frame_equal(pd.read_csv(found.history), pd.read_csv(expected.history), rtol=rtol)


@pytest.mark.parametrize(
    ("ema", "accumulate", "batch_size", "rollback"), [(0.0, 1, 4, False), (0.9, 2, 4, False), (0.0, 1, 5, True)]
)
def test_history_of_two_processes_is_that_of_one(packed, tmp_path, ema, accumulate, batch_size, rollback):
    """Eight epochs; of five patches per step the last step has one, so that a process has none."""
    what = exact(recipe={"ema": ema, "rollback": rollback}, accumulate=accumulate, batch_size=batch_size, epochs=8)
    one = run(packed, tmp_path / "one", what)
    two = run(packed, tmp_path / "two", dataclasses.replace(what, devices=2))
    assert_alike(two, one)
    first, second = (torch.load(made.last, weights_only=True)["parameters"] for made in (one, two))
    for key in first:
        np.testing.assert_allclose(second[key], first[key], atol=1e-3, err_msg=key)


def launched() -> list[psutil.Process]:
    """The processes that torch's launcher has started for this one, in the order of their start."""
    return processes(lambda found: found.ppid() == os.getpid() and "spawn_main" in " ".join(found.cmdline()))


@pytest.mark.parametrize("place", [0, 1])
def test_lost_process_ends_all_is_named_and_one_process_goes_on(packed, tmp_path, place):
    what = exact(epochs=10, batch_size=2)
    one, state, killed = run(packed, tmp_path / "one", what), tmp_path / "two/resume/last.ckpt", []

    def kill_one():
        while not state.exists():
            time.sleep(0.01)
        launched()[place].kill()
        killed.append(time.monotonic())

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(DeviceError, match=f"the process of device {place + 1} of 2 was ended by SIGKILL"):
        run(packed, tmp_path / "two", dataclasses.replace(what, devices=2))
    assert time.monotonic() - killed[0] < 60 and not launched()
    assert_alike(run(packed, tmp_path / "two", what), one)


def test_two_processes_go_on_where_one_was_killed(packed, tmp_path, monkeypatch):
    what = exact(epochs=8)
    one = run(packed, tmp_path / "one", what)
    with monkeypatch.context() as patched:
        once_in(patched, TrainingModule, "training_step", 4, kill)
        with pytest.raises(Killed):
            run(packed, tmp_path / "two", what)
    assert_alike(run(packed, tmp_path / "two", dataclasses.replace(what, devices=2)), one)


def test_lost_numbers_end_every_process(packed, tmp_path):
    rows = rows_of(packed / "split.csv", "train")
    for file in arrays(packed):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    np.lib.format.open_memmap(tmp_path / "images.npy", "r+")[rows[0], 13] = np.nan
    args = (packed / "split.csv", packed / "statistics.json", outputs(tmp_path), tmp_path / "resume")
    with pytest.raises(DataError, match="epoch 1: the training loss is nan; lower the learning rate"):
        train(plan("unet-sar-nw-l1-tuned-1", devices=2), opened(tmp_path), *args)
    assert not launched()


STEP = """
from types import SimpleNamespace
from cerraseg.training import distributed
distributed.allocated_gpus = lambda asked: asked
class Named(dict):
    __getattr__ = dict.__getitem__
job = {job!r}
snakemake = SimpleNamespace(**{{key: Named(part) if isinstance(part, dict) else part for key, part in job.items()}})
"""


def step(packed, folder, what):
    """The training step's script as Snakemake would run it, in a session of its own, with SLURM's variables, and once
    its first epoch is done."""
    images, masks, header = map(str, arrays(packed))
    split, statistics = str(packed / "split.csv"), str(packed / "statistics.json")
    job = {
        "rule": "train",
        "config": {"dataset": "cerradata-4mm", "results": str(folder)},
        "log": [str(folder / "log")],
        "threads": 1,
        "resources": {"gpu": what.devices},
        "params": {name: vars(getattr(what, name)) for name in ("scenario", "recipe")}
        | {"settings": what.settings, "code": "", "resume": str(folder / "resume")}
        | {"training": {"epochs": what.epochs, "batch_size": 2}},
        "input": {"images": images, "masks": masks, "header": header, "split": split, "statistics": statistics},
        "output": {name: str(path) for name, path in vars(outputs(folder)).items()},
    }
    script = folder / "tmp123.train.py"
    script.write_text(STEP.format(job=job) + (REPOSITORY / "workflow/scripts/train.py").read_text())
    slurm = {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0", "SLURM_JOB_ID": "none"}
    env = os.environ | slurm | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, script], env=env, start_new_session=True, stderr=subprocess.DEVNULL)
    while not (folder / "resume/last.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    return process


def wait_for_group(process, seconds=20):
    """Wait until nothing runs that a process started."""
    end = time.monotonic() + seconds
    while processes(lambda found: os.getpgid(found.pid) == process.pid and found.status() != psutil.STATUS_ZOMBIE):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(("count", "whole_group"), [(1, True), (2, True), (2, False)])
def test_sigterm_ends_the_step_and_the_next_start_goes_on(packed, tmp_path, count, whole_group):
    what = exact(epochs=12, batch_size=2, devices=count)
    process = step(packed, tmp_path, what)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGTERM)
    sent = time.monotonic()
    assert process.wait(timeout=60) == 1
    assert time.monotonic() - sent < 15
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[-1].endswith("ERROR stopped by SIGTERM; the next start goes on from the last finished epoch")
    wait_for_group(process)
    whole, resumed = run(packed, tmp_path / "whole", dataclasses.replace(what, devices=1)), run(packed, tmp_path, what)
    assert_alike(resumed, whole)
    if count == 1:
        for made in ("best", "last", "history"):
            assert getattr(whole, made).read_bytes() == getattr(resumed, made).read_bytes(), made


def test_killed_step_leaves_no_process_and_goes_on(packed, tmp_path):
    what = exact(epochs=12, batch_size=2)
    process = step(packed, tmp_path, dataclasses.replace(what, devices=2))
    process.kill()
    process.wait()
    wait_for_group(process)
    assert_alike(run(packed, tmp_path, what), run(packed, tmp_path / "one", what))


CONFIG = TINY | {
    "scenarios": TINY["scenarios"] | {"models": [], "extra": [EXACT]},
    "transnuseg": {"embed_dim": 12, "heads": [1, 2, 4], "drop_path": 0.0},
    "training": {"epochs": 8, "batch_size": 4},
    "scenes": [],
}  # fmt: skip


class Attempts(Story):
    """A run through SLURM whose training is hit again and again."""

    def epochs(self, after: int = 0) -> int:
        """How many epochs are behind the state; 0 until they are more than ``after``."""
        with suppress(OSError, RuntimeError):
            state = self.project.folder / f"results/resume/{EXACT}/last.ckpt"
            done = len(torch.load(state, weights_only=True)["history"])
            return done if done > after else 0
        return 0

    def hit(self, what: str, blow, after: int) -> int:
        """Strike the running job once more epochs than ``after`` are done; nothing of it may be left. How many were."""
        run = self.started[0]
        self.until(lambda: self.epochs(after) or run.poll() is not None, f"an epoch, then {what}", 600)
        assert run.poll() is None, self.output.read_text()[-5000:]
        job = self.until(lambda: self.cluster.job(f"train-{EXACT}"), "the job")
        blow(job)
        self.until(lambda: self.gone(job), f"the end of job {job}", 60)
        return self.epochs()

    def gone(self, job: str) -> bool:
        listed = self.cluster.ask("squeue", "-h", "-o", "%i", "-j", job, "-t", "R,CG").strip()
        return not listed and not job_processes(job, "python")


def kill_second_node(job: str) -> None:
    for process in job_processes(job, "python", "n2"):
        with suppress(psutil.Error):
            process.kill()


def test_two_nodes_of_slurm_survive_a_lost_task_and_a_cancelled_job(tmp_path):
    """A task on the second node is killed, then the job is cancelled; each attempt goes on, the end is one device's."""
    project = Project(tmp_path / "project", CONFIG)
    history = f"results/histories/{EXACT}.csv"
    project.run("results/statistics.json", "results/packed/header.json")
    alone = shutil.copytree(project.folder, tmp_path / "alone")
    profile = yaml.safe_load((project.folder / "profiles/slurm/config.yaml").read_text())
    profile |= {"seconds-between-status-checks": 2, "latency-wait": 10}
    profile["set-threads"] = {"train": 1}
    profile["set-resources"]["train"] = {"partition": "cpu", "gpu": 0, "nodes": 2, "mem_mb": 3000, "runtime": 20}
    (project.folder / "profiles/slurm/config.yaml").write_text(yaml.safe_dump(profile))
    project.where = ("--workflow-profile", "profiles/slurm")
    with started(nodes=2) as cluster:
        story = Attempts(project, cluster)
        story.start(*project.command(history), bound=1800)
        try:
            lost = story.hit("the task of the second node", kill_second_node, after=0)
            cancelled = story.hit("the job", lambda job: cluster.ask("scancel", job), after=lost)
            assert story.started[0].wait(600) == 0
        finally:
            story.end()
    logs = [path.read_text() for path in sorted((project.folder / "logs/slurm/train").glob("*.log"))]
    assert len(logs) == 3 and cancelled > lost >= 1
    assert "training on 2 devices of 2 nodes" in logs[0]
    assert "a process of the 2 nodes was ended (srun: error: n2: task 1: Killed" in logs[0]
    assert all("going on from the state" in log for log in logs[1:])
    project.folder, project.where = alone, ("--cores", "2")
    project.run(history)
    found, expected = (pd.read_csv(folder / history) for folder in (tmp_path / "project", alone))
    assert found["epoch"].tolist() == list(range(1, 9))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-3)
