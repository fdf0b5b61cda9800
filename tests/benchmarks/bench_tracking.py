"""Time what keeps Snakemake's memory and DVC's the same, on 24 scenarios × 3 seeds.

Usage: python tests/benchmarks/bench_tracking.py [seeds]   (0: one scenario)
The files of a finished run are made up (checkpoints and arrays of 1 MB), the project, Snakemake and DVC are real. The
peers are ``dvc commit`` of one stage, which writes the lock of DVC's own, and ``snakemake --touch``.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reporting import row

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_tracking import CONFIG, Tracked

MATRIX = {
    "models": ["unet", "transnuseg"], "modalities": ["msi", "sar", "concat"], "weightings": ["nw", "w"],
    "levels": ["l1", "l2"], "recipes": ["tuned"], "extra": [],
}  # fmt: skip
FILL = """
from os import urandom
from pathlib import Path
from cerraseg.orchestration.dvc_sync.snakemake import bless, jobs
for path in (Path(path) for job in jobs() if job.rule != "digests" for path in job.outputs):
    files = [path] if path.suffix else [path / "a.tif", path / "b.tif"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"{}" if path.suffix == ".json" else urandom(1_000_000 if path.suffix in (".pt", ".npy") else 2000))
bless()
"""  # noqa: E501


def finished(folder: Path, seeds: int) -> tuple[Tracked, str]:
    """A project under ``folder`` whose run is over, as both memories see it before `record`; what it is in words."""
    scenarios = MATRIX | {"seeds": list(range(1, seeds + 1))} if seeds else CONFIG["scenarios"]
    project = Tracked(folder / "project", CONFIG | {"scenarios": scenarios})
    project.git("init", "--quiet")
    project.run("results/digests.json")
    subprocess.run([sys.executable, "-c", FILL], cwd=project.folder, check=True, env=project.environment())
    return project, f"24 scenarios × {seeds} seeds" if seeds else "one scenario"


def main(seeds: int) -> None:
    """Print a row for each command."""
    with tempfile.TemporaryDirectory() as folder:
        project, run = finished(Path(folder), seeds)

        def timed(what: str, *command: str) -> float:
            start = time.perf_counter()
            last = project.call([sys.executable, "-m", *command]).strip().rpartition("\n")[2]
            print(f"{what:32} {time.perf_counter() - start:6.1f} s   {last[:60]}", flush=True)
            return time.perf_counter() - start

        check = timed("check", "cerraseg.orchestration.dvc_sync", "check")
        new = timed("record, everything new", "cerraseg.orchestration.dvc_sync", "record")
        figure = next(project.folder.glob("results/scenarios/*/map.png"))
        figure.write_bytes(os.urandom(2000))
        changed = timed("record, one stage changed", "cerraseg.orchestration.dvc_sync", "record")
        same = timed("record, nothing changed", "cerraseg.orchestration.dvc_sync", "record")
        restore = timed("restore", "cerraseg.orchestration.dvc_sync", "restore")
        status = timed("dvc status", "dvc", "status")
        commit = timed("dvc commit", "dvc", "commit", "--force", f"scenario_figures@{figure.parent.name}")
        touch = timed("snakemake --touch", "snakemake", "--cores", "all", "--touch", "--forceall")
    words = f"`dvc commit` of that stage, named by hand: {commit:.1f} s"
    row(f"`make record` of {run}, one stage changed", f"{changed:.1f} s", words, commit / changed)
    row("the same, nothing or everything new", f"{same:.1f} s or {new:.1f} s", "", None)
    words = f"`snakemake --touch`, which looks at no hash: {touch:.1f} s"
    row(f"`make restore` of {run}", f"{restore:.1f} s", words, touch / restore)
    row(f"`make check` of {run}", f"{check:.1f} s", f"`dvc status`: {status:.1f} s", status / check)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
