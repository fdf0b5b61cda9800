"""Jobs of the real workflow, killed at random moments: what a lost node does, or the kernel when memory runs out."""

import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import psutil
from project import Project, kill

from cerraseg.core.content import content

SCRIPTS = ".snakemake/scripts"
SIDE = ("logs", "timings", "resume", "ro-crate-metadata.json")  # what of the results no step reads as content
GROWING = ".archive"  # end of the name of what has arrived of a download, from which a killed rule goes on


class Reference(NamedTuple):
    """What an undisturbed run left: rule → seconds of one of its jobs, and path → digest of each file."""

    project: Project
    seconds: dict[str, float]
    files: dict[str, str]


def undisturbed(project: Project, *targets: str, **env: str) -> Reference:
    """Run the targets."""
    project.run(*targets, **env)
    timings = project.folder / "results/timings"
    of_names = {"folds": "fold"}  # a fold's split lies in the fold's own folder
    seconds = {
        of_names.get(name, name): max(1.0, pd.read_csv(file, sep="\t")["s"].item())
        for file in timings.rglob("*.tsv")
        for name in [file.relative_to(timings).parts[0].removesuffix(".tsv")]
    }
    return Reference(project, seconds, found(project.folder))


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
    draws, left = random.Random(seed), set(reference.seconds)
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
            moments[name] = time.monotonic() + draws.uniform(0, ref.seconds[_rule(name)])
    return any(name not in names or time.monotonic() > moment for name, moment in moments.items())


def _rule(script: str) -> str:
    return script.split(".")[-2]


def process_of(rule: str, project: Project, before: set[Path]) -> int | None:
    """The process that runs a script of the rule that was not there ``before``."""
    new = {str(path) for path in (project.folder / SCRIPTS).glob(f"*.{rule}.py") if path not in before}
    found = processes(lambda process: process.cmdline()[-1] in new)
    return found[0].pid if found else None


def processes(matches: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """The processes of this machine that match, in the order of their ids."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError, IndexError):  # it ended, or is a zombie without a command
            if matches(process):
                found.append(process)
    return found
