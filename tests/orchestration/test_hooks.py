"""What is refused before a run, and what is written after it."""

import sys
from types import SimpleNamespace

import pytest
from snakemake.exceptions import WorkflowError

from cerraseg.core.errors import SlurmError
from cerraseg.orchestration import hooks, slurm
from cerraseg.orchestration.provenance import crate


@pytest.mark.parametrize("folder", ["/home/me/land cover", "/home/o'neill", "/home/a&b"])
def test_a_python_whose_path_a_shell_takes_apart_is_refused(monkeypatch, folder):
    monkeypatch.setattr(sys, "executable", f"{folder}/.venv/bin/python")
    with pytest.raises(WorkflowError, match=folder):
        hooks.prepare()


def test_results_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WorkflowError, match=f"{tmp_path}/file"):
        hooks.start({"results": str(tmp_path / "file")})


def test_jobs_left_in_slurm_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(slurm, "live_jobs", lambda: [slurm.Job("7", "cerraseg-train-x", "a")])
    slurm.refuse_beside_orphans()  # no job was ever sent from this folder
    (tmp_path / slurm.LOGS).mkdir(parents=True)
    with pytest.raises(WorkflowError, match=r"7 \(cerraseg-train-x\).*make slurm-recover"):
        hooks.start({"results": "results"})

    def silent():
        raise SlurmError("squeue did not answer")

    monkeypatch.setattr(slurm, "live_jobs", silent)
    with pytest.raises(WorkflowError, match="did not answer"):
        hooks.start({"results": "results"})


def test_the_crate_is_written_but_not_when_files_are_only_touched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    config = {"results": "results", "tune": {"storage": ""}}
    workflow = SimpleNamespace(touch=True, overwrite_configfiles=[])
    hooks.finish(workflow, config, crate.now(), completed=True)
    assert not (tmp_path / "results" / crate.NAME).exists()
    hooks.finish(SimpleNamespace(touch=False, overwrite_configfiles=[]), config, crate.now(), completed=True)
    assert crate.read_crate(tmp_path / "results")[crate.RUN]["name"] == "run"
