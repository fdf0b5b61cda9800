"""What Snakemake knows: its jobs, which of their outputs are up to date, and how to tell it that files are right."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cerraseg.core.errors import CerraSegError

CALLED = "CERRASEG_TRACKING"
"""Set in every Snakemake that is called from here, so that it does not call back."""

# Snakemake sleeps 0.1 s for each job that it touches, to tell times apart; it takes equal times for up to date.
_SNAKEMAKE = (
    "from snakemake.executors.touch import Executor; Executor.SLEEPING_TIME = 0; from snakemake.cli import main; main()"
)


@dataclass
class Job:
    """A Snakemake job: its rule, and the paths that it reads and writes."""

    rule: str
    inputs: set[str] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)


def jobs() -> list[Job]:
    """All jobs of the default target that write something, from a forced dry run, which needs no data."""
    found: list[Job] = []
    for line in snakemake("--dry-run", "--forceall").splitlines():
        if line.startswith(("rule ", "localrule ")):
            found.append(Job(line.split()[1].rstrip(":")))
        elif line.startswith("    input: "):
            found[-1].inputs.update(line.strip().removeprefix("input: ").split(", "))
        elif line.startswith("    output: "):
            found[-1].outputs.update(line.strip().removeprefix("output: ").split(", "))
    return [job for job in found if job.outputs]


def up_to_date() -> dict[str, bool]:
    """Every output of the default target → whether Snakemake calls it up to date and remembers having made it."""
    rows = csv.DictReader(snakemake("--summary").splitlines(), delimiter="\t")
    return {
        row["output_file"]: (row["status"], row["plan"]) == ("ok", "no update") and row["log-file(s)"] != "-"
        for row in rows
    }


def bless(targets: Iterable[str] = ()) -> None:
    """Give the jobs of ``targets`` (all without any) the times and metadata of finished ones; absent files stay so."""
    snakemake("--touch", "--forceall", "--quiet", "all", "--", *targets)


def snakemake(*arguments: str) -> str:
    """Run Snakemake on the repository's own configuration and return what it prints.

    Raises:
        CerraSegError: with the end of its messages, if it fails.
    """
    command = [sys.executable, "-c", _SNAKEMAKE, "--cores", "all", "--nolock", *arguments]
    done = subprocess.run(command, env=environment(), text=True, capture_output=True, check=False)
    if done.returncode:
        raise CerraSegError(f"snakemake {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def run(arguments: Sequence[str], targets: Iterable[str]) -> int:
    """Make ``targets`` as a user would, with the user's arguments; the exit status."""
    profile = os.environ.get("CERRASEG_PROFILE", "profiles/default")
    command = [sys.executable, "-m", "snakemake", "--cores", "all", "--workflow-profile", profile, *arguments]
    return subprocess.run([*command, "--", *targets], env=environment(), check=False).returncode


def environment() -> dict[str, str]:
    """The environment of a Snakemake that is called from here."""
    return {**os.environ, CALLED: "1"}
