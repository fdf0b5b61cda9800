"""How long light steps take to start, and Snakemake to find that there is nothing to do.

Usage: python tests/benchmarks/bench_startup.py [seeds]   (0: one scenario, each command once)
A step's start is a fresh ``python -c`` with the imports of its script, bytecode cached, best of 5; steps that load
torch are left out. ``snakemake -n`` runs on a finished run whose files are made up and on the demo before its
first run, best of 3.
"""

import ast
import csv
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml
from project import ONE_SCENARIO, Project
from reporting import ROOT, row
from test_project import LIGHT

MATRIX = {
    "models": ["unet", "transnuseg"], "modalities": ["msi", "sar", "concat"], "weightings": ["nw", "w"],
    "levels": ["l1", "l2"], "recipes": ["tuned"], "extra": [],
}  # fmt: skip
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def imports(script: Path) -> str:
    """The import statements of a script."""
    body = ast.parse(script.read_text()).body
    return "\n".join(ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom))


def light() -> list[Path]:
    """The scripts of the steps that do not load torch."""
    scripts = sorted((ROOT / "workflow/scripts").glob("*.py"))
    return [path for path in scripts if set(re.findall(r"from cerraseg\.(\w+)", path.read_text())) <= LIGHT]


def best(times: int, command: list[str], folder: Path) -> float:
    """Shortest time in seconds of a command, behind one run that caches bytecode; without ``times``, of that run."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:] or seconds)


def steps(times: int) -> None:
    """The row of the steps' start."""
    found = {script.stem: best(times, [sys.executable, "-c", imports(script)], ROOT) for script in light()}
    for name, seconds in sorted(found.items(), key=lambda item: -item[1]):
        print(f"{name:20} {seconds:.2f} s", flush=True)
    slowest = max(found, key=lambda name: found[name])
    words = f"`{slowest}` {found[slowest]:.2f} s; the median step {median(found.values()):.2f} s"
    bare = f"`import pandas`: {best(times, [sys.executable, '-c', 'import pandas'], ROOT):.2f} s"
    row(f"start of the slowest of {len(found)} steps without torch", words, bare, found[slowest], "< 0.7 s")


def finished(folder: Path, seeds: int) -> tuple[Project, str]:
    """A project under ``folder`` whose run is over, with made-up files; what it is in words."""
    scenarios = MATRIX | {"seeds": list(range(1, seeds + 1))} if seeds else ONE_SCENARIO["scenarios"]
    project = Project(folder / "project", ONE_SCENARIO | {"scenarios": scenarios})
    said = project.run("--summary")
    rows = csv.DictReader(said[said.index("output_file") :].splitlines(), delimiter="\t")
    for path in (project.folder / made["output_file"] for made in rows if made["plan"]):
        file = path if path.suffix else path / "a.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    project.run("--touch", "--forceall", "--quiet", "all")
    return project, f"24 scenarios × {seeds} seeds" if seeds else "one scenario"


def plans(seeds: int, times: int) -> None:
    """A row for each ``snakemake -n``."""
    with tempfile.TemporaryDirectory() as folder:
        project, run = finished(Path(folder), seeds)
        (Path(folder) / "other").mkdir()
        demo = Project(Path(folder) / "other/demo", yaml.safe_load((ROOT / "config/config.yaml").read_text()))
        for what, made in ((f"of {run}, finished", project), ("of the demo, before its first run", demo)):
            seconds = best(times, [sys.executable, "-m", "snakemake", "-n", "--cores", "2"], made.folder)
            bare = best(times, [sys.executable, "-m", "snakemake", "--version"], made.folder)
            words = f"`snakemake --version`: {bare:.1f} s"
            row(f"`snakemake -n` {what}", f"{seconds:.1f} s", words, seconds, "< 6 s")


if __name__ == "__main__":
    given = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    steps(5 if given else 0)
    plans(given, 3 if given else 0)
