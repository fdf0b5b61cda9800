"""Memory that a process and its children hold together, sampled while they run."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from reporting import ROOT

INTERVAL = 0.02  # s


def measured_memory(script: str, *arguments: str) -> dict[str, float]:
    """Like :func:`reporting.measured`, with ``anonymous``: the largest sum of RssAnon over all its processes, in MB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    largest = 0.0
    with subprocess.Popen(
        [sys.executable, script, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            largest = max(largest, sum(map(anonymous, tree(process.pid))))
            time.sleep(INTERVAL)
        out = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{Path(script).name} {' '.join(arguments[:2])}: exit code {process.returncode}")
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found | {"anonymous": largest}


def tree(process: int) -> Iterator[int]:
    """A process and all below it."""
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            below = children.read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in below:
            yield from tree(int(child))


def anonymous(process: int) -> float:
    """MB that are the process's own, not pages of a file; 0 where it has ended."""
    try:
        _, found, rest = Path(f"/proc/{process}/status").read_text().partition("RssAnon:")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return int(rest.split()[0]) / 1024 if found else 0.0
