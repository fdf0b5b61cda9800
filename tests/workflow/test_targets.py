"""What the workflow's targets ask for: Snakemake passes over an intermediate file that is missing unless it is one."""

import re
import subprocess
import sys

import pytest
from project import REPOSITORY, TINY, TUNED, Project

SEARCH = {"scenario": TUNED, "trials": 2, "workers": 2, "space": {"schedule": ["constant", "cosine"]}}
KFOLD = {key: value for key, value in TINY.items() if key not in ("scenes", "maps", "released")} | {
    "scenarios": TINY["scenarios"] | {"extra": []},
    "split": {"scheme": "kfold", "folds": 2, "block_km": 1.5, "tolerance": 0.3},
}


def jobs(output):
    """Rule → inputs and outputs of all its jobs, of a dry run."""
    found = {}
    for line in output.splitlines():
        if name := re.match(r"(?:local)?rule (\w+):$", line):
            job = found.setdefault(name[1], {"input": set(), "output": set()})
        elif paths := re.match("    (input|output): (.*)", line):
            job[paths[1]].update(paths[2].split(", "))
    return found


@pytest.mark.parametrize(
    ("config", "target"), [(TINY, "default"), (KFOLD, "default"), (TINY | {"tune": SEARCH}, "tune")]
)
def test_everything_that_a_job_makes_is_asked_for(tmp_path, config, target):
    planned = jobs(Project(tmp_path / "project", config).run("-n", "--forceall", target))
    folder = "results/tune/" if target == "tune" else "results/"  # what is simulated is asked for by those who read it
    made = {path for job in planned.values() for path in job["output"] if path.startswith(folder)}
    assert len(made) > 5 and made <= planned[target]["input"]


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_the_default_configuration_is_found_from_anywhere(tmp_path, snakefile):
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--snakefile", REPOSITORY / snakefile]
    done = subprocess.run(
        [*command, "--directory", tmp_path, "results/patches.parquet"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "rule index" in done.stdout + done.stderr
