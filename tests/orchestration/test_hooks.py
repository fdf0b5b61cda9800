"""What is refused before a run, and what is written after it."""

import sys
from types import SimpleNamespace

import pytest
from snakemake.exceptions import WorkflowError

from cerraseg.orchestration import hooks
from cerraseg.orchestration.provenance import crate
from cerraseg.orchestration.step import FAILURES


@pytest.mark.parametrize("folder", ["/home/me/land cover", "/home/o'neill", "/home/a&b"])
def test_a_python_whose_path_a_shell_takes_apart_is_refused(monkeypatch, folder):
    monkeypatch.setattr(sys, "executable", f"{folder}/.venv/bin/python")
    with pytest.raises(WorkflowError, match=folder):
        hooks.prepare()


LOCAL, SLURM = (SimpleNamespace(executor_plugin=SimpleNamespace(name=name)) for name in ("local", "cluster-generic"))
CONFIG = {"results": "results"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    return tmp_path


def test_results_that_cannot_be_written_are_refused(here):
    (here / "file").touch()
    with pytest.raises(WorkflowError, match=f"{here}/file"):
        hooks.start(LOCAL, {"results": str(here / "file")})


def test_profile_without_slurm_is_refused(monkeypatch):
    monkeypatch.setattr(hooks.shutil, "which", lambda program: None)
    hooks.start(LOCAL, CONFIG)
    with pytest.raises(WorkflowError, match="no sbatch"):
        hooks.start(SLURM, CONFIG)


def test_jobs_left_in_slurm_are_refused(here, monkeypatch):
    asked = SimpleNamespace(returncode=1, stderr="7 (cerraseg-train-x)")
    monkeypatch.setattr(hooks.shutil, "which", lambda program: f"/bin/{program}")
    monkeypatch.setattr(hooks.subprocess, "run", lambda *command, **options: asked)
    hooks.start(LOCAL, CONFIG)  # no job was ever sent from this folder
    (here / "logs/slurm").mkdir(parents=True)
    with pytest.raises(WorkflowError, match=r"7 \(cerraseg-train-x\)"):
        hooks.start(LOCAL, CONFIG)


def test_the_crate_is_written_but_not_when_files_are_only_touched(here):
    for touch in (True, False):
        workflow = SimpleNamespace(touch=touch, overwrite_configfiles=[])
        hooks.finish(workflow, CONFIG | {"tune": {"storage": ""}}, crate.now(), completed=True)
        assert (here / "results" / crate.NAME).exists() != touch


def test_last_lines_of_a_failed_run_repeat_its_first_error_and_the_next_run_forgets_it(here, monkeypatch, capsys):
    FAILURES.parent.mkdir()
    FAILURES.write_text("index (logs/index.log): no images\ntrain (logs/a.log): not begun\n")
    at_exit = []
    monkeypatch.setattr(hooks.atexit, "register", lambda *call, **options: at_exit.append((call, options)))
    monkeypatch.setattr(hooks, "write_crate", lambda *_: None)
    workflow = SimpleNamespace(touch=False, overwrite_configfiles=[])
    hooks.finish(workflow, CONFIG, "now", completed=True)
    assert at_exit == []
    hooks.finish(workflow, CONFIG, "now", completed=False)
    (((use, *words), options),) = at_exit
    use(*words, **options)
    assert capsys.readouterr().err.splitlines()[-1].endswith(": index (logs/index.log): no images")
    hooks.start(LOCAL, CONFIG)
    assert not FAILURES.exists()
