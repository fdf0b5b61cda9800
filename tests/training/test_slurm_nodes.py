"""Ranks on several nodes are those of one: by a stand-in for srun, and in a real SLURM with two nodes."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from project import TINY, Project
from test_launcher import CASES, steps, steps_in_team
from test_slurm import Cluster, started
from test_train import SMALL

from cerraseg.core.errors import ConfigError
from cerraseg.training.distributed import slurm_nodes
from cerraseg.training.distributed.launcher import DeviceError
from cerraseg.training.distributed.sync import Team

SRUN = """#!/bin/sh
echo "$*" >>{calls}
while case $1 in --*) true ;; *) false ;; esac; do shift; done
exec env SLURM_PROCID=0 SLURMD_NODENAME=node2 SLURM_LAUNCH_NODE_IPADDR=127.0.0.1 "$@"
"""


@pytest.fixture
def srun(tmp_path, monkeypatch):
    """Stands in for srun, with this machine as the job's other node; returns where its calls are noted."""
    file = tmp_path / "bin/srun"
    file.parent.mkdir()
    file.write_text(SRUN.format(calls=tmp_path / "calls"))
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURMD_NODENAME", "node1")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    return tmp_path / "calls"


def test_nodes_must_be_those_of_the_job(srun, monkeypatch):
    assert slurm_nodes.granted(1) == 1
    with pytest.raises(ConfigError, match=r"nodes of train is 2, but this step runs on 1; .*train:nodes=1"):
        slurm_nodes.granted(2)
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    assert slurm_nodes.granted(2) == 2
    with pytest.raises(ConfigError, match="nodes of train is 3, but this step runs on 2"):
        slurm_nodes.granted(3)


@pytest.mark.drill
def test_two_nodes_compute_what_one_device_does(srun, tmp_path):
    with pytest.raises(ConfigError, match=r"^both of 2 are through$"):
        slurm_nodes.run(steps_in_team, 2, 1, tmp_path / "two.pt")
    asked, _, command = srun.read_text().partition(" /")
    assert asked.split() == [
        "--nodes=1", "--ntasks=1", "--ntasks-per-node=1", "--relative=1", "--kill-on-bad-exit=1", "--cpus-per-task=3"
    ]  # fmt: skip
    assert command.endswith(" -m cerraseg.training.distributed.slurm_nodes\n")
    one, two = steps(Team()), torch.load(tmp_path / "two.pt", weights_only=True)
    for case in CASES:
        assert one[case].keys() == two[case].keys()
        for name, expected in one[case].items():
            torch.testing.assert_close(two[case][name], expected, rtol=1e-7, atol=1e-10, msg=f"{case} {name}")


def fail_on_the_other(team, how):
    """The other node's rank ends; this one's waits for it, as in a training."""
    if team.rank == 1 and how == "error":
        raise ConfigError("no compiler here")
    if team.rank == 1 and how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if team.rank == 1 and how == "lose":
        os.kill(os.getppid(), signal.SIGKILL)
    team.agree(None)


@pytest.mark.drill
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("error", r"^node2: no compiler here$"),
        (
            "kill",
            r"^the process of device 2 of 2 on node2 was ended by SIGKILL, and the others with it; the next start",
        ),
        ("lose", r"^a process of another node was ended, srun by exit code -9, and the others with it"),
    ],
)
def test_failure_of_another_node_ends_all_and_is_named(srun, how, said):
    with pytest.raises(DeviceError, match=said):
        slurm_nodes.run(fail_on_the_other, 2, 1, how)


SCENARIO = "transnuseg-sar-nw-l2-paper-1"  # without batch norm, float error does not grow from epoch to epoch
CONFIG = TINY | {
    "scenarios": {
        "models": ["transnuseg"], "modalities": ["sar"], "weightings": ["nw"], "levels": ["l2"], "recipes": ["paper"],
        "seeds": [1],
    },
    "transnuseg": {"embed_dim": 12, "heads": list(SMALL["transnuseg"]["heads"])},
    "training": {"epochs": 8, "batch_size": 4},
    "scenes": [],
}  # fmt: skip


@pytest.fixture
def two_nodes():
    with started(nodes=2) as made:
        yield made


def processes(job: str, node: str = "") -> list[int]:
    """Those of Python in a job, on one of its nodes: the training, its ranks and what srun started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            of = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes()
            mine = f"SLURM_JOB_ID={job}".encode() in of and b"python" in command and b"resource_tracker" not in command
            if mine and (not node or f"SLURMD_NODENAME={node}".encode() in of):
                found.append(int(process.name))
    return found


def wait_for(probe, what: str, seconds: float = 150):
    end = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)
    return found


def epochs_in(folder: Path, seen: int = 0) -> int:
    """How many epochs are behind the state in a folder; 0 until they are more than ``seen``."""
    state = folder / f"results/resume/{SCENARIO}/last.ckpt"
    with suppress(OSError, RuntimeError):
        done = len(torch.load(state, weights_only=True)["history"])
        return done if done > seen else 0
    return 0


def gone(cluster: Cluster, job: str) -> bool:
    return not cluster.ask("squeue", "-h", "-o", "%i", "-j", job, "-t", "R,CG").strip() and not processes(job)


@pytest.mark.drill
def test_two_nodes_of_slurm_survive_a_lost_rank_and_a_cancelled_job(two_nodes, tmp_path):
    """A rank on the second node is killed, then the job is cancelled; each attempt goes on, the end is one device's."""
    project = Project(tmp_path / "project", CONFIG)
    history = f"results/histories/{SCENARIO}.csv"
    project.run("results/statistics.json", "results/packed/header.json")
    alone = shutil.copytree(project.folder, tmp_path / "alone")
    profile = yaml.safe_load((project.folder / "profiles/slurm/config.yaml").read_text())
    profile |= {"seconds-between-status-checks": 2, "latency-wait": 10}
    profile["set-threads"] = {"train": 1}
    profile["set-resources"]["train"] = {"partition": "cpu", "gpu": 0, "nodes": 2, "mem_mb": 3000, "runtime": 10}
    (project.folder / "profiles/slurm/config.yaml").write_text(yaml.safe_dump(profile))
    project.where = ("--workflow-profile", "profiles/slurm")
    story = Attempts(project, two_nodes)
    try:
        lost = story.hit("the ranks of the second node", story.kill_second_rank, after=0)
        cancelled = story.hit("the job", lambda job: two_nodes.ask("scancel", job), after=lost)
        assert story.run.wait(300) == 0
    finally:
        story.run.kill()
    logs = [path.read_text() for path in sorted((project.folder / "logs/slurm/train").glob("*.log"))]
    assert len(logs) == 3 and cancelled > lost >= 1
    assert "training on 2 devices of 2 nodes" in logs[0]
    assert "the process of device 2 of 2 on n2 was ended by SIGKILL, and the others with it" in logs[0]
    assert all("going on from the state" in log for log in logs[1:])
    project.folder, project.where = alone, ("--cores", "2")
    project.run(history)
    found, expected = (pd.read_csv(folder / history) for folder in (tmp_path / "project", alone))
    assert found["epoch"].tolist() == list(range(1, 9))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-3)


class Attempts:
    """A run through SLURM whose training is hit again and again."""

    def __init__(self, project: Project, cluster: Cluster) -> None:
        self.project, self.cluster = project, cluster
        environment = project.environment(SLURM_CONF=cluster.env["SLURM_CONF"])
        with (project.folder / "run.txt").open("wb") as file:
            self.run = subprocess.Popen(
                project.command(f"results/histories/{SCENARIO}.csv"), cwd=project.folder, env=environment,
                stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def hit(self, what: str, blow, after: int) -> int:
        """Strike the running job once more epochs than ``after`` are done; nothing of it may be left. How many were."""
        wait_for(lambda: epochs_in(self.project.folder, after) or self.run.poll(), f"an epoch, then {what}")
        assert self.run.poll() is None, (self.project.folder / "run.txt").read_text()[-5000:]
        job = wait_for(lambda: self.cluster.job(f"train-{SCENARIO}"), "the job")
        blow(job)
        wait_for(lambda: gone(self.cluster, job), f"the end of job {job}", 60)
        return epochs_in(self.project.folder)

    def kill_second_rank(self, job: str) -> None:
        for process in processes(job, "n2"):
            with suppress(OSError):
                if b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes():
                    os.kill(process, signal.SIGKILL)
