"""Hand a job script of Snakemake to sbatch and print the job's id: python submit.py SCRIPT"""

import hashlib
import json
import re
import shlex
import sys
import time
from pathlib import Path

from jobs import LOGS, PREFIX, SlurmError, ask, live_jobs

PATIENCE = 600  # s for which a slurmctld that is down or busy is asked again
BUSY = re.compile("contact|not answer|timed? ?out|temporar|connect|communicat|try again|zero bytes|unexpected", re.I)


def submit(script: str) -> str:
    """Submit a job script.

    sbatch may fail although the job was accepted, so a live job that writes the same files is taken for this one: no
    file ever has two writers.
    """
    job = json.loads(re.search("^# properties = (.*)$", Path(script).read_text(), re.MULTILINE)[1])
    writes = hashlib.sha256(json.dumps(job.get("output") or job["jobid"]).encode()).hexdigest()[:16]
    command = ["sbatch", "--parsable", f"--comment={writes}", *options(job), script]
    end, pause = time.monotonic() + PATIENCE, 1
    while True:
        try:
            live = (id_ for id_, _, written in live_jobs() if written == writes)
            return next(live, None) or ask(*command)[0].split(";")[0]
        except SlurmError as error:
            if not BUSY.search(str(error)) or time.monotonic() > end:
                raise
        time.sleep(pause)
        pause = min(30, 2 * pause)


def options(job: dict) -> list[str]:
    """Options of sbatch for a job, from the properties that Snakemake writes into its script."""
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
    given = [f"--{option}={value}" for option, value in named.items() if value not in (None, "")]
    return [*given, "--requeue", "--open-mode=append", *shlex.split(resources.get("sbatch", ""))]


if __name__ == "__main__":
    print(submit(sys.argv[1]))
