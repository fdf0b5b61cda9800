"""What benchmarks share: one process a method, its wall time and peak memory, and a row for docs/performance.md."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def row(what: str, ours: str, against: str, ratio: float | None, reach: str = "") -> None:
    """Print a row of the table; ``ratio`` is the peer's time over ours, or what ``reach`` bounds."""
    shown = "" if ratio is None else f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
    print(f"| {what} | {ours} | {against} | {shown} | {reach} |", flush=True)


def measured(script: str, *arguments: str) -> dict[str, Any]:
    """Run ``script`` with ``arguments`` in a process of its own; what its :func:`result` gave."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, script, *arguments]
    out = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def result(**values: Any) -> None:
    """End a process that :func:`measured` began: its values, and ``peak``, its largest resident memory in MB."""
    print(json.dumps(values | {"peak": peak_memory()}))


def peak_memory() -> float:
    """Largest resident memory in MB of this process or a child of its own."""
    status = Path("/proc/self/status").read_text()
    # Linux hands getrusage's own peak down through exec, so that it would show the parent's.
    own = int(status.partition("VmHWM:")[2].split()[0])
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def not_measured(what: str, why: str, reach: str = "") -> None:
    """Print a row for what cannot be measured here, e.g. ``no GPU``."""
    row(what, "", f"not measured: {why}", None, reach)


def not_installed(what: str, peer: str, reach: str = "") -> None:
    """Print a row for a comparison whose ``peer`` is missing; ``make performance`` installs all but GDAL's programs."""
    not_measured(what, f"{peer} is not installed", reach)
