"""SLURM behind Snakemake's cluster-generic executor: submit a job, tell its state, clear up after a killed controller.

Nothing here needs accounting: squeue knows a job while it lives and a while longer, and after that its exit mark, left
by ``profiles/slurm/job.sh``, tells how it ended.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from cerraseg.core.errors import CerraSegError, SlurmError

PREFIX = "cerraseg"
LOGS = Path("logs/slurm")
MARKS, ANSWER = LOGS / ".exit", LOGS / ".squeue.json"

FRESH = 5  # s for which one answer of squeue does for all jobs
SQUEUE_WAITS = 10  # s
SUBMIT_PATIENCE = 600  # s for which a slurmctld that is down or busy is asked again
CANCEL_PATIENCE = 180  # s; KillWait, which SLURM gives a job between SIGTERM and SIGKILL, is 30 by default

FAILED = {"BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "OUT_OF_MEMORY", "TIMEOUT"}
MAY_REQUEUE = {"NODE_FAIL", "PREEMPTED", None}  # None: squeue does not know the job, no longer or not yet
STUCK = re.compile("Partition(Config|NodeLimit|TimeLimit)|BadConstraints|JobHeld|held|Invalid(Account|QOS)|PerJobLimit")
BUSY = re.compile(
    "contact|did not answer|timed? ?out|temporar|connect|communicat|try again|zero bytes|unexpected message", re.I
)


class Job(NamedTuple):
    """A live job of SLURM."""

    id: str
    name: str
    writes: str  # digest of its outputs


def squeue(*options: str) -> list[list[str]]:
    """Ask squeue about this user's jobs: one list of fields per job.

    Raises:
        SlurmError: if squeue does not answer within 10 s.
    """
    command = ["squeue", "--me", "--noheader", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SQUEUE_WAITS, check=True)
    except subprocess.TimeoutExpired:
        raise SlurmError(f"squeue did not answer within {SQUEUE_WAITS} s") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise SlurmError(f"squeue failed: {getattr(error, 'stderr', None) or error}".strip()) from None
    return [line.split("|") for line in done.stdout.splitlines()]


def live_jobs() -> list[Job]:
    """Jobs of CerraSeg that wait or run in the current folder.

    Raises:
        SlurmError: if squeue does not answer.
    """
    here = Path().resolve()
    rows = [row for row in squeue("--format=%i|%j|%k|%Z") if row[1].startswith(PREFIX)]
    return [Job(*row[:3]) for row in rows if Path("|".join(row[3:])).resolve() == here]


def submit(script: Path) -> str:
    """Hand a job script of Snakemake to sbatch; return the job's id.

    A slurmctld that is down or busy is asked again for ten minutes. sbatch may fail although the job was accepted, so a
    live job that writes the same files is taken for this one: no file ever has two writers.

    Raises:
        SlurmError: with SLURM's own words.
    """
    job = json.loads(re.search("^# properties = (.*)$", script.read_text(), re.MULTILINE)[1])  # type: ignore[index]
    writes = hashlib.sha256(json.dumps(job.get("output") or job["jobid"]).encode()).hexdigest()[:16]
    options = [f"--comment={writes}", *sbatch_options(job)]
    end, pause = time.monotonic() + SUBMIT_PATIENCE, 1.0
    while True:
        try:
            live = (known.id for known in live_jobs() if known.writes == writes)
            return next(live, None) or _sbatch(*options, str(script))
        except SlurmError as error:
            if not BUSY.search(str(error)) or time.monotonic() > end:
                raise
        time.sleep(pause)
        pause = min(30.0, 2 * pause)


def _sbatch(*arguments: str) -> str:
    command = ["sbatch", "--parsable", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    except subprocess.TimeoutExpired:
        raise SlurmError("sbatch did not answer within 120 s") from None
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        raise SlurmError(f"{shlex.join(command)}: {said}".strip()) from None
    return done.stdout.strip().split(";")[0]


def sbatch_options(job: dict[str, Any]) -> list[str]:
    """What sbatch is told of a job, from the properties that Snakemake writes into its script."""
    rule = job.get("rule") or job["groupid"]
    scenarios = set(re.findall("/(?:scenarios|scores)/([^/]+)/", " ".join(job.get("output") or [])))
    what = "-".join(job.get("wildcards", {}).values()) or (scenarios.pop() if len(scenarios) == 1 else "all")
    what = what.replace("/", "-")  # a fold
    log = LOGS / rule / f"{what}-%j.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    resources = job["resources"]
    named = {
        "job-name": f"{PREFIX}-{rule}-{what}",
        "output": str(log).replace("\\", "\\\\"),
        "cpus-per-task": job["threads"],
        "mem": resources.get("mem_mb"),
        "time": resources.get("runtime"),
        "gres": f"gpu:{resources['gpu']}" if resources.get("gpu") else None,  # of each node, as the others are
        **({"nodes": resources["nodes"], "ntasks-per-node": 1} if resources.get("nodes", 1) > 1 else {}),
        **{option: resources.get(option) for option in ("partition", "account", "qos", "constraint")},
    }
    return [
        *(f"--{option}={value}" for option, value in named.items() if value not in (None, "")),
        "--requeue",
        "--open-mode=append",
        *shlex.split(resources.get("sbatch", "")),
    ]


def status(job: str, grace: float, patience: float) -> str:
    """The state of a job for Snakemake: ``running``, ``success`` or ``failed``.

    Args:
        job: id.
        grace: seconds after which a job counts as failed that squeue does not know and that left no exit mark, that was
            not requeued, or that waits for what no node of its partition has.
        patience: seconds for which a slurmctld that does not answer means "running".

    Raises:
        SlurmError: if SLURM has not answered for longer than ``patience``.
    """
    known = _answer(patience)
    state, why = known["states"].get(job, (None, ""))
    mark = MARKS / job
    if state is None and mark.exists():
        code = mark.read_text().strip()
        return "success" if code == "0" else _failed(job, f"ended with exit code {code}")
    if state == "COMPLETED":
        return "success"
    if state in FAILED:
        return _failed(job, f"ended as {state}")
    if not doubtful(state, why):
        return "running"
    since = known["doubtful"].setdefault(job, known["answered"])
    if known["answered"] - since <= grace:
        _write(known)
        return "running"
    if state == "PENDING":
        subprocess.run(["scancel", job], timeout=60, check=False)
        return _failed(job, f"can never start ({why}) and was cancelled")
    return _failed(job, f"ended as {state}" if state else "vanished")


def doubtful(state: str | None, why: str) -> bool:
    """Whether a job in this state, for this reason, may go on or be lost: time tells."""
    return state in MAY_REQUEUE or (state == "PENDING" and bool(STUCK.search(why)))


def _answer(patience: float) -> dict[str, Any]:
    """squeue's last answer: asked and answered (s since 1970), state and reason by id, since when jobs are doubtful."""
    now = time.time()
    known: dict[str, Any] = {"asked": 0, "answered": now, "states": {}, "doubtful": {}}
    if ANSWER.exists():
        last = json.loads(ANSWER.read_text())
        if 0 <= now - last["asked"] < 60 + 2 * SQUEUE_WAITS:  # else of an earlier run, or the clock was moved
            known = last
    if now - known["asked"] >= FRESH:
        try:
            states = {id_: (state, why) for id_, state, why in squeue("--states=all", "--format=%i|%T|%r")}
            still = {job: t for job, t in known["doubtful"].items() if doubtful(*states.get(job, (None, "")))}
            known = {"answered": now, "states": states, "doubtful": still}
        except SlurmError as error:
            if now - known["answered"] > patience:
                raise SlurmError(
                    f"{error}, and SLURM has not answered for {patience / 60:g} minutes. The controller stops here; "
                    "its jobs may go on. When SLURM is back: make slurm-recover"
                ) from None
            print(f"{error}; its jobs count as running", file=sys.stderr)
        known["asked"] = time.time()
        _write(known)
    return known


def _write(known: dict[str, Any]) -> None:
    ANSWER.parent.mkdir(parents=True, exist_ok=True)
    temporary = ANSWER.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(known))
    temporary.replace(ANSWER)


def _failed(job: str, how: str) -> str:
    log = next(LOGS.glob(f"*/*-{job}.log"), None)
    reasons = [line for line in log.read_text(errors="replace").splitlines() if "slurmstepd" in line] if log else []
    print(f"SLURM job {job} {how}; its log: {log}", *reasons[-3:], sep="\n  ", file=sys.stderr)
    return "failed"


def refuse_beside_orphans() -> None:
    """Refuse a run beside jobs of a killed one: they write the files that it would write.

    Raises:
        SlurmError: If there are such jobs, or SLURM cannot be asked.
    """
    if not (LOGS.exists() and shutil.which("squeue")):
        return
    try:
        jobs = live_jobs()
    except SlurmError as error:
        raise SlurmError(
            f"{error}: jobs of an earlier run may still write here. Try again when SLURM is back, or remove {LOGS} if "
            "you are sure that there are none."
        ) from None
    if jobs:
        names = ", ".join(f"{job.id} ({job.name})" for job in jobs[:5])
        raise SlurmError(
            f"{len(jobs)} jobs of a killed run are still in SLURM and write here: {names}{' ...' * (len(jobs) > 5)}. "
            "To cancel them and go on: make slurm-recover"
        )


def recover(snakemake: list[str]) -> int:
    """After a killed controller: cancel its jobs, wait until they are gone, unlock and run what is incomplete.

    Returns the exit code of the run.

    Raises:
        SlurmError: if the jobs do not end within three minutes.
    """
    if jobs := live_jobs():
        print("cancelling", *(f"{job.id} ({job.name})" for job in jobs), flush=True)
        subprocess.run(["scancel", *(job.id for job in jobs)], timeout=60, check=False)
    end = time.monotonic() + CANCEL_PATIENCE
    while jobs := live_jobs():
        if time.monotonic() > end:
            raise SlurmError(f"jobs {[job.id for job in jobs]} are still there {CANCEL_PATIENCE} s after scancel")
        time.sleep(1)
    for last in ("--unlock", "--rerun-incomplete"):
        command = [*snakemake, last]
        print(shlex.join(command), flush=True)
        code = subprocess.run(command, check=False).returncode
        if code:
            break
    return code


def main(argv: list[str] | None = None) -> int:
    """Run one of the commands that the profile and the Makefile name."""
    parser = argparse.ArgumentParser(
        prog="python -m cerraseg.orchestration.slurm", description="SLURM for CerraSeg's profile."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("submit").add_argument("script", type=Path)
    asked = commands.add_parser("status")
    asked.add_argument("--grace", type=float, default=60)
    asked.add_argument("--patience", type=float, default=1800)
    asked.add_argument("job")
    commands.add_parser("recover").add_argument("snakemake", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    try:
        if args.command == "recover":
            return recover(args.snakemake)
        print(submit(args.script) if args.command == "submit" else status(args.job, args.grace, args.patience))
    except CerraSegError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
