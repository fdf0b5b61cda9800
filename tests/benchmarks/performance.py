"""Run the benchmarks and write what they measure into docs/performance.md.

    make performance                       all of them
    make performance ARGS="mosaic metrics" these; all other rows stay as they are

A benchmark prints its rows with ``measuring.row``. One that fails leaves its old rows, and the exit code is 1. With
``--tiny`` each runs at its smallest size, two at a time, and the rows go to ``--output``, to show that all work.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from measuring import ROOT
from page import Page, machine

HERE = Path(__file__).parent
LIMIT = 2400
"""Seconds after which a benchmark is stopped, with all that it started: nobody may be watching."""


@dataclass(frozen=True)
class Command:
    """Arguments of a benchmark at full size, in a list for each call, and at its smallest."""

    full: Sequence[str]
    tiny: str
    block: str = "performance"
    """Block of the page that its rows stand in."""


COMMANDS = {
    "loader": Command(["5000"], "16 --torchgeo 4"),
    "pack": Command(["5000 2 2"], "8 1 1"),
    "windows": Command([""], "--side 300 --workers 1"),
    "training": Command([""], "--small --steps 3 --patches 8"),
    "predict": Command(
        ["500 --repeats 2", "500 --repeats 2 --model transnuseg"], "4 --small --peer-patches 1 --repeats 1"
    ),
    "mosaic": Command(["--patches 10000 --side 100 --large 40000"], "--patches 16 --side 32 --large 25"),
    "map": Command([""], "--side 1100 --peer-side 300"),
    "regions": Command([""], "--side-km 3 --tile-km 2"),
    "metrics": Command(["3028"], "8"),
    "startup": Command(["5"], "0"),
    "models": Command([""], "--tiny", block="trainings"),
    "scaling": Command(["1000 5000 30000"], "4 8"),
    "load": Command(["30291"], "40", block="load"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(COMMANDS)}; all without any")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes; needs --output")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/performance.md", help="page to write into")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(COMMANDS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(COMMANDS)}")
    if arguments.tiny and arguments.output == parser.get_default("output"):
        parser.error("--tiny needs --output: what it measures says nothing")
    page = Page(arguments.output, [f"bench_{name}.py" for name in COMMANDS])
    chosen = [name for name in COMMANDS if name in (arguments.names or COMMANDS)]
    failed = []
    with ThreadPoolExecutor(2 if arguments.tiny else 1) as pool:
        for name, printed in zip(chosen, pool.map(lambda name: run_all(name, arguments.tiny), chosen), strict=True):
            if all(rows for _, rows in printed):
                page.write(COMMANDS[name].block, machine(), printed)
            else:
                failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; their old rows stay")


def run_all(name: str, tiny: bool) -> list[tuple[str, list[str]]]:
    """Make the calls of a benchmark; each with the rows that it printed."""
    command = COMMANDS[name]
    calls = [f"bench_{name}.py {given}".strip() for given in ([command.tiny] if tiny else command.full)]
    return [(call, run(call)) for call in calls]


def run(call: str) -> list[str]:
    """Table rows of a call, none where it failed; all that it prints is passed on."""
    print(f"\n{time.strftime('%H:%M:%S')} {call}", flush=True)
    script, *arguments = call.split()
    command = ["timeout", str(LIMIT), sys.executable, str(HERE / script), *arguments]
    rows = []
    with tempfile.TemporaryDirectory() as folder:  # gigabytes of a benchmark that had to be stopped go with it
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": folder}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                for text in process.stdout or ():
                    print(text, end="", flush=True)
                    rows += [text.rstrip()] if text.startswith("| ") else []
            except BaseException:
                process.terminate()  # timeout passes it on to all
                raise
    if process.returncode:
        print(f"{call}: exit code {process.returncode}", flush=True)
    return rows if process.returncode == 0 else []


if __name__ == "__main__":
    main()
