"""How long light steps take to start, and Snakemake to plan the demo.

Usage: bench_startup.py [turns]
A step's start is a fresh ``python -c`` with the imports of its script, bytecode cached; steps that load torch are left
out. The best of the turns counts.
"""

import ast
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml
from measuring import ROOT, arguments, row
from project import Project

HEAVY = {"models", "training", "mapping"}  # wings that load torch
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def imports(script: Path) -> str:
    """The import statements of a script."""
    body = ast.parse(script.read_text()).body
    return "\n".join(ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom))


def best(turns: int, *command: str, folder: Path = ROOT) -> float:
    """Shortest time in seconds of a Python command, behind one run that caches bytecode."""
    seconds = []
    for _ in range(turns + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:] or seconds)


def steps(turns: int) -> None:
    """Print the row of the steps' start."""
    found = {}
    for script in sorted((ROOT / "workflow/scripts").glob("*.py")):
        if not HEAVY & set(re.findall(r"from cerraseg\.(\w+)", script.read_text())):
            found[script.stem] = best(turns, "-c", imports(script))
            print(f"{script.stem:20} {found[script.stem]:.2f} s", flush=True)
    slowest = max(found, key=lambda name: found[name])
    words = f"`{slowest}` {found[slowest]:.2f} s; the median step {median(found.values()):.2f} s"
    bare = f"`import pandas`: {best(turns, '-c', 'import pandas'):.2f} s"
    row(f"start of the slowest of {len(found)} steps without torch", words, bare, found[slowest], "< 0.7 s")


def plan(turns: int) -> None:
    """Print the row of ``snakemake -n``."""
    with tempfile.TemporaryDirectory() as folder:
        demo = Project(Path(folder, "demo"), yaml.safe_load((ROOT / "config/config.yaml").read_text()))
        seconds = best(turns, "-m", "snakemake", "-n", "--cores", "2", folder=demo.folder)
        bare = best(turns, "-m", "snakemake", "--version", folder=demo.folder)
    words = f"`snakemake --version`: {bare:.1f} s"
    row("`snakemake -n` of the demo, before its first run", f"{seconds:.1f} s", words, seconds, "< 6 s")


if __name__ == "__main__":
    given = arguments(__doc__, {"turns": 5}).turns
    steps(given)
    plan(given)
