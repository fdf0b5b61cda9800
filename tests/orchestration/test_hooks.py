"""What is refused before a run, and what is written after it."""

import sys
from types import SimpleNamespace

import pytest
from snakemake.exceptions import WorkflowError

from cerraseg.orchestration import hooks
from cerraseg.orchestration.provenance import crate


@pytest.mark.parametrize("folder", ["/home/me/land cover", "/home/o'neill", "/home/a&b"])
def test_a_python_whose_path_a_shell_takes_apart_is_refused(monkeypatch, folder):
    monkeypatch.setattr(sys, "executable", f"{folder}/.venv/bin/python")
    with pytest.raises(WorkflowError, match=folder):
        hooks.prepare()


LOCAL, SLURM = (SimpleNamespace(executor_plugin=SimpleNamespace(name=name)) for name in ("local", "cluster-generic"))
CONFIG = {"results": "results"}


def test_results_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WorkflowError, match=f"{tmp_path}/file"):
        hooks.start(LOCAL, {"results": str(tmp_path / "file")})


def test_profile_without_slurm_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hooks.shutil, "which", lambda program: None)
    hooks.start(LOCAL, CONFIG)
    with pytest.raises(WorkflowError, match="no sbatch"):
        hooks.start(SLURM, CONFIG)


def test_jobs_left_in_slurm_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = SimpleNamespace(returncode=1, stderr="7 (cerraseg-train-x)")
    monkeypatch.setattr(hooks.shutil, "which", lambda program: f"/bin/{program}")
    monkeypatch.setattr(hooks.subprocess, "run", lambda *command, **options: asked)
    hooks.start(LOCAL, CONFIG)  # no job was ever sent from this folder
    (tmp_path / "logs/slurm").mkdir(parents=True)
    with pytest.raises(WorkflowError, match=r"7 \(cerraseg-train-x\)"):
        hooks.start(LOCAL, CONFIG)


def test_the_crate_is_written_but_not_when_files_are_only_touched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    config = {"results": "results", "tune": {"storage": ""}}
    workflow = SimpleNamespace(touch=True, overwrite_configfiles=[])
    hooks.finish(workflow, config, crate.now(), completed=True)
    assert not (tmp_path / "results" / crate.NAME).exists()
    hooks.finish(SimpleNamespace(touch=False, overwrite_configfiles=[]), config, crate.now(), completed=True)
    assert crate.read_crate(tmp_path / "results")[crate.RUN]["name"] == "run"
