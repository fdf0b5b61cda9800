"""Time what keeps Snakemake's memory and DVC's the same, on 24 scenarios × 3 seeds.

Usage: python tests/benchmarks/bench_tracking.py [seeds]
The files of a finished run are made up (checkpoints and arrays of 1 MB), the project, Snakemake and DVC are real. The
peers are ``dvc commit`` of one stage, which writes the lock of DVC's own, and ``snakemake --touch``.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_tracking import CONFIG, Tracked

MATRIX = {
    "models": ["unet", "transnuseg"], "modalities": ["msi", "sar", "concat"], "weightings": ["nw", "w"],
    "levels": ["l1", "l2"], "recipes": ["tuned"], "extra": [],
}  # fmt: skip
FILL = """
from os import urandom
from pathlib import Path
from cerraseg.tracking.workflow import bless, jobs
for path in (Path(path) for job in jobs() if job.rule != "digests" for path in job.outputs):
    files = [path] if path.suffix else [path / "a.tif", path / "b.tif"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"{}" if path.suffix == ".json" else urandom(1_000_000 if path.suffix in (".pt", ".npy") else 2000))
bless()
"""  # noqa: E501


def main(seeds: int) -> None:
    """Print a line for each command."""
    with tempfile.TemporaryDirectory() as folder:
        scenarios = MATRIX | {"seeds": list(range(1, seeds + 1))}
        project = Tracked(Path(folder) / "project", CONFIG | {"scenarios": scenarios})
        project.git("init", "--quiet")
        project.run("results/digests.json")
        subprocess.run([sys.executable, "-c", FILL], cwd=project.folder, check=True, env=project.environment())

        def timed(what: str, *command: str) -> None:
            start = time.perf_counter()
            last = project.call([sys.executable, "-m", *command]).strip().rpartition("\n")[2]
            print(f"{what:32} {time.perf_counter() - start:6.1f} s   {last[:60]}", flush=True)

        timed("check", "cerraseg.tracking", "check")
        timed("record, everything new", "cerraseg.tracking", "record")
        checkpoint = next(project.folder.glob("results/scenarios/*/map.png"))
        checkpoint.write_bytes(os.urandom(2000))
        timed("record, one stage changed", "cerraseg.tracking", "record")
        timed("record, nothing changed", "cerraseg.tracking", "record")
        timed("restore", "cerraseg.tracking", "restore")
        timed("dvc status", "dvc", "status")
        timed("peer: dvc commit of one stage", "dvc", "commit", "--force", f"scenario_figures@{checkpoint.parent.name}")
        timed("peer: snakemake --touch", "snakemake", "--cores", "all", "--touch", "--forceall")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
