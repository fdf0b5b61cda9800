"""Jobs of the real workflow, killed at random moments: what a lost node does, or the kernel when memory runs out."""

import ast
import contextlib
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from project import Project, kill

from cerraseg.core.content import content

SCRIPTS = ".snakemake/scripts"
# Python's start-up hook that copies what Snakemake makes of a step's script, with all that the job is told.
KEEPER = f"""import os, shutil, sys
if "/{SCRIPTS}/" in sys.orig_argv[-1] and os.environ.get("KEPT"):
    shutil.copy(sys.orig_argv[-1], os.environ["KEPT"])
"""
SIDE = ("logs", "timings", "resume", "ro-crate-metadata.json")  # what of the results no step reads as content
STATES = {"download": ("data/kaggle",)}  # what a rule goes on from and keeps when it has finished
GROWING = ".archive"  # end of the name of what has arrived of a download, from which a killed rule goes on


class Job(NamedTuple):
    """A job of an undisturbed run: its script as Snakemake ran it, what it writes, and how long it took."""

    rule: str
    script: Path
    outputs: tuple[str, ...]
    seconds: float


class Reference(NamedTuple):
    """What an undisturbed run of a project left: rule → one of its jobs, and path → digest of each file."""

    project: Project
    jobs: dict[str, Job]
    files: dict[str, str]


def undisturbed(project: Project, *targets: str, **env: str) -> Reference:
    """Run the targets and keep the scripts of their jobs."""
    kept, hook = project.folder / "kept", project.folder / "hook"
    for folder in (kept, hook):
        folder.mkdir()
    (hook / "sitecustomize.py").write_text(KEEPER)
    project.run(*targets, PYTHONPATH=str(hook), KEPT=str(kept), **env)
    jobs = (_job(project, script) for script in sorted(kept.iterdir()))
    return Reference(project, {job.rule: job for job in jobs}, found(project.folder))


def _job(project: Project, script: Path) -> Job:
    values = (getattr(node, "value", None) for node in ast.walk(ast.parse(script.read_text())))
    told = pickle.loads(next(value for value in values if isinstance(value, bytes)))
    log = next(path for path in told.log if "/logs/" in path)
    timing = Path(log.replace("/logs/", "/timings/")).with_suffix(".tsv")
    seconds = pd.read_csv(project.folder / timing, sep="\t")["s"].item()
    return Job(told.rule, script, tuple(told.output), max(1.0, seconds))


def found(folder: Path) -> dict[str, str]:
    """Path → digest of every file under its final name."""
    digests = {}
    for path in (*folder.glob("results*/**/*"), *folder.glob("data/**/*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and parts[1] not in SIDE and not any(part.startswith(".") for part in parts):
            digests["/".join(parts)] = content(path).sha256
    return digests


def differing(reference: Reference, folder: Path) -> set[str]:
    """Files that are there and are not those of the undisturbed run, but for what grows while a step runs."""
    files = found(folder).items()
    return {path for path, digest in files if not path.endswith(GROWING) and reference.files.get(path) != digest}


def leftovers(folder: Path) -> list[Path]:
    """What killed processes began and nobody cleared."""
    return [path for top in folder.glob("[rd][ea][st]*") for path in top.rglob(".*.part*")]


def kill_every_rule(project: Project, reference: Reference, seed: int, *targets: str, **env: str) -> None:
    """Start the run again and again, and kill it and all it started in a random moment of a rule not yet killed.

    After each kill, every file that is there must be whole.
    """
    draws, left = random.Random(seed), set(reference.jobs)
    while left:
        before = {path.name for path in (project.folder / SCRIPTS).glob("*")}
        process = project.start(project.command(*targets), **env)
        moments: dict[str, float] = {}
        try:
            while not _is_time(project, before, left, moments, draws, reference):
                assert process.poll() is None, f"ended before {left} were killed"
                time.sleep(0.005)
        finally:
            kill(process)
            project.run("--unlock", **env)
        rules = {_rule(name) for name in moments}
        print("killed in", *sorted(rules), flush=True)
        assert not differing(reference, project.folder), rules
        left -= rules


def _is_time(
    project: Project, before: set[str], left: set[str], moments: dict[str, float], draws: random.Random, ref: Reference
) -> bool:
    """Whether a job's moment has come, or it has just ended; ``moments`` gets one for each that has begun."""
    names = {path.name for path in (project.folder / SCRIPTS).glob("tmp*.py")} - before
    for name in sorted(names - set(moments)):
        if _rule(name) in left:
            moments[name] = time.monotonic() + draws.uniform(0, ref.jobs[_rule(name)].seconds)
    return any(name not in names or time.monotonic() > moment for name, moment in moments.items())


def _rule(script: str) -> str:
    return script.split(".")[-2]


def process_of(rule: str, project: Project, before: set[Path]) -> int | None:
    """The process that runs a script of the rule that was not there ``before``."""
    new = {str(path) for path in (project.folder / SCRIPTS).glob(f"*.{rule}.py") if path not in before}
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if line.read_text().rstrip("\0").split("\0")[-1] in new:
                return int(line.parent.name)
    return None


def kill_job(reference: Reference, job: Job, moment: float, **env: str) -> None:
    """Run a job's process alone, as Snakemake would, kill it after ``moment`` seconds, and run it again."""
    folder = reference.project.folder
    _clear(folder, (*job.outputs, *STATES.get(job.rule, ())))
    process = _start(reference, job, **env)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        kill(process)
    assert not differing(reference, folder)
    _clear(folder, job.outputs)  # as Snakemake does with what is incomplete
    assert _start(reference, job, **env).wait() == 0
    assert found(folder) == reference.files
    assert not leftovers(folder)


def _start(reference: Reference, job: Job, **env: str) -> subprocess.Popen:
    script = reference.project.folder / SCRIPTS / job.script.name
    script.write_bytes(job.script.read_bytes())
    return reference.project.start([sys.executable, str(script)], **env)


def _clear(folder: Path, paths: Iterable[str]) -> None:
    subprocess.run(["rm", "-rf", *paths], cwd=folder, check=True)
