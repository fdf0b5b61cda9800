"""Which patches each process computes, what a job may use, and what a launch on several nodes asks srun for."""

import sys

import pytest
import torch

from cerraseg.core.errors import ConfigError
from cerraseg.training import distributed
from cerraseg.training.distributed import DeviceError, Share, allocated_gpus, allocated_nodes

SRUN = """#!/bin/sh
echo "$*" >{calls}
cat >/dev/null
echo "srun: error: n2: task 1: Killed"
exit 137
"""


def test_each_patch_is_computed_once():
    for patches in range(12):
        for count in (1, 2, 3, 5):
            shares = [Share(rank, count) for rank in range(count)]
            masks = torch.arange(patches)
            labelled = [masks[share.held(patches)][share.own(masks) != 255] for share in shares if patches]
            assert torch.cat([torch.empty(0), *labelled]).tolist() == list(range(patches))
            held = [len(range(patches)[share.held(patches)]) for share in shares]
            assert not patches or (min(held) > 0 and max(held) <= -(-patches // count))
            assert all(len(share.own(masks)) == size for share, size in zip(shares, held, strict=True))


def test_fewer_gpus_than_promised_is_a_clear_error(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert [allocated_gpus(gpus) for gpus in (0, 1)] == [1, 1]
    assert len(caplog.messages) == 1 and "training on the CPU" in caplog.messages[0]
    with pytest.raises(ConfigError, match=r"sees 0 GPUs; .*--set-resources train:gpu=1"):
        allocated_gpus(2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [allocated_gpus(gpus) for gpus in (0, 1, 3)] == [1, 1, 3]


@pytest.fixture
def srun(tmp_path, monkeypatch):
    """A program of this name that fails; returns where its call is noted."""
    (tmp_path / "srun").write_text(SRUN.format(calls=tmp_path / "calls"))
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    return tmp_path / "calls"


def test_nodes_must_be_those_of_the_job(srun, monkeypatch):
    assert allocated_nodes(1) == 1
    with pytest.raises(ConfigError, match=r"runs on 1; .*train:nodes=1"):
        allocated_nodes(2)
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    assert allocated_nodes(2) == 2


def test_lost_task_of_srun_is_named(srun, tmp_path):
    with pytest.raises(DeviceError, match=r"^a process of the 2 nodes was ended \(srun: error: n2: task 1: Killed\)"):
        distributed.launch(print, 2, 3, tmp_path / "resume")
    asked, _, command = srun.read_text().partition(f" {sys.executable} ")
    assert asked.split() == ["--nodes=2", "--ntasks=6", "--ntasks-per-node=3", "--kill-on-bad-exit=1",
                             "--cpus-per-task=2"]  # fmt: skip
    assert command == "-m cerraseg.training.distributed\n"
