"""After a killed controller: cancel its jobs, wait until they are gone, unlock and run what is incomplete.

python recover.py SNAKEMAKE ARGUMENT...; without arguments it names the jobs and fails if there are any.
"""

import subprocess
import sys
import time

from jobs import SlurmError, ask, live_jobs

PATIENCE = 180  # s; KillWait, which SLURM gives a job between SIGTERM and SIGKILL, is 30 by default


def recover(snakemake: list[str]) -> int:
    """Cancel, wait, unlock and run; return the run's exit code."""
    end = time.monotonic() + PATIENCE
    while jobs := live_jobs():
        if time.monotonic() > end:
            raise SlurmError(f"{len(jobs)} jobs are still there {PATIENCE} s after scancel: squeue --me")
        print("cancelling", *(f"{id_} ({name})" for id_, name, _ in jobs), flush=True)
        ask("scancel", *(id_ for id_, *_ in jobs))
        time.sleep(5)
    return subprocess.call([*snakemake, "--unlock"]) or subprocess.call([*snakemake, "--rerun-incomplete"])


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(recover(sys.argv[1:]))
    if orphans := live_jobs():
        names = ", ".join(f"{id_} ({name})" for id_, name, _ in orphans[:5])
        sys.exit(f"{len(orphans)} jobs of a killed run are still in SLURM and write here: {names}; make slurm-recover")
