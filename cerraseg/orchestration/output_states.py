"""What Snakemake calls each output of a run, which goes by the times of files and by its metadata."""

import base64
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

from cerraseg.core.content import content
from cerraseg.core.errors import CerraSegError
from cerraseg.core.files import atomic_write

KEPT = Path(".snakemake/dvc_sync.json")
"""Output → the time that Snakemake left it with, and its SHA-256 then: git and DVC rewrite files with equal content."""


def outputs(target: str) -> dict[str, str]:
    """Return output → ``absent``; ``unknown``: not as Snakemake left it; ``stale``: to be made anew; or ``current``."""
    times, known = _finish_times(), json.loads(KEPT.read_text()) if KEPT.exists() else {}
    summary = call("snakemake", "--cores=all", "--summary", "--nolock", "--", target)
    states = {}
    for row in csv.DictReader(summary.splitlines(), delimiter="\t"):
        path, name = Path(row["output_file"]), row["output_file"]
        time, kept = known.get(name, [None, None])
        if not path.exists():
            states[name] = "absent"
            continue
        if _newest(path) == times.get(name) != time:
            known[name] = [times[name], content(path).sha256]
        if _newest(path) == times.get(name) or (time == times.get(name) and kept == content(path).sha256):
            states[name] = "current" if (row["status"], row["plan"]) == ("ok", "no update") else "stale"
        else:
            states[name] = "unknown"
    with atomic_write(KEPT) as temporary:
        temporary.write_text(json.dumps(known))
    return states


def _finish_times() -> dict[str, float]:
    """Output → its time at the end of its job, from the metadata that Snakemake keeps, one file per output."""
    found, folder = {}, KEPT.with_name("metadata")
    for file in (file for file in folder.rglob("*") if file.is_file()):
        name = "".join(part.removeprefix("@") for part in file.relative_to(folder).parts)
        found[base64.b64decode(name).decode()] = json.loads(file.read_text())["endtime"]
    return found


def _newest(path: Path) -> float:
    """Time of a file; of a folder the newest of its files', Snakemake's time stamp among them."""
    return max((file.stat().st_mtime for file in (path, *path.rglob("*")) if file.is_file()), default=0)


def call(program: str, *arguments: str, capture: bool = True) -> str:
    """Run a module of this Python and return what it printed, or raise :class:`CerraSegError` if it fails."""
    command = [sys.executable, "-m", program, *arguments]  # with a variable by which the workflow does not call back
    done = subprocess.run(command, env={**os.environ, "CERRASEG_TRACKING": "1"}, text=True, capture_output=capture)
    if done.returncode:
        said = f":\n{(done.stdout + done.stderr)[-3000:]}" if capture else "; its message stands above"
        raise CerraSegError(f"{program} {' '.join(arguments)} failed{said}")
    return done.stdout or ""
