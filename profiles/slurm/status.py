"""Print the state of a job for Snakemake, running, success or failed: python status.py JOBID

sacct tells it where there is accounting, squeue elsewhere, and the exit mark of job.sh what squeue has forgotten.
A step whose mark is 0 ended well, whatever SLURM calls its job: one pre-empted in its last second is a TIMEOUT there.
"""

import json
import re
import subprocess
import sys
import time

from jobs import LOGS, MARKS, SlurmError, ask

SACCT = "sacct", "--allocations", "--noheader", "--parsable2", "--starttime=now-2days", "--format=JobID,State,Reason"
SQUEUE = "squeue", "--me", "--noheader", "--states=all", "--format=%i|%T|%r"
ANSWER = LOGS / ".states.json"
FRESH = 5  # s for which one answer does for all jobs
GRACE = 60  # s after which a job has failed that SLURM lost, did not requeue or cannot start
FAILED = {"BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "OUT_OF_MEMORY", "TIMEOUT"}
LOST = {"NODE_FAIL", "PREEMPTED", "unknown"}
STUCK = re.compile("Partition(Config|NodeLimit|TimeLimit)|BadConstraints|JobHeld|held|Invalid(Account|QOS)|PerJobLimit")


def states() -> dict[str, list[str]]:
    """Job → its state and SLURM's reason."""
    if ANSWER.exists() and 0 <= time.time() - ANSWER.stat().st_mtime < FRESH:
        return json.loads(ANSWER.read_text())
    try:
        lines = ask(*SACCT)
    except SlurmError:  # no accounting
        lines = ask(*SQUEUE)
    rows = (line.split("|") for line in lines)
    found = {id_: [state.split()[0], reason] for id_, state, reason in rows}  # "CANCELLED by 1000"
    ANSWER.write_text(json.dumps(found))
    return found


def status(job: str) -> str:
    """The state of a job; running as long as SLURM does not answer."""
    MARKS.mkdir(parents=True, exist_ok=True)
    try:
        state, reason = states().get(job, ("unknown", ""))
    except SlurmError as error:
        print(f"{error}; job {job} counts as running", file=sys.stderr)
        return "running"
    mark, lost = MARKS / job, MARKS / f"{job}.lost"
    if state in FAILED | LOST and mark.exists():
        code = mark.read_text().strip()
        state = "COMPLETED" if code == "0" else "FAILED" if state == "unknown" else state
    if state == "COMPLETED":
        return "success"
    if state in FAILED:
        return failed(job, state)
    if state not in LOST and not (state == "PENDING" and STUCK.search(reason)):
        lost.unlink(missing_ok=True)
        return "running"
    lost.open("a").close()  # its time is that of the first doubt
    if time.time() - lost.stat().st_mtime <= GRACE:
        return "running"
    if state == "PENDING":
        subprocess.run(["scancel", job], check=False)
    return failed(job, f"{state} {reason}")


def failed(job: str, state: str) -> str:
    """Say how a job ended and where its log is."""
    log = next(LOGS.glob(f"*/*-{job}.log"), None)
    reasons = [line for line in log.read_text(errors="replace").splitlines() if "slurmstepd" in line] if log else []
    print(f"SLURM job {job} ended as {state}; its log: {log}", *reasons[-3:], sep="\n  ", file=sys.stderr)
    return "failed"


if __name__ == "__main__":
    print(status(sys.argv[1]))
