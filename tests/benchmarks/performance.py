"""Run the benchmarks and write what they measure into docs/performance.md.

    make performance                       all of them
    make performance ARGS="mosaic metrics" these; all other rows stay as they are

A benchmark prints its rows with ``reporting.row``. One that fails leaves its old rows, and the exit code is 1. With
``--tiny`` each runs at its smallest size, two at a time, and the rows go to ``--output``, to show that all work.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from machine import in_words
from page import Page
from reporting import ROOT

HERE = Path(__file__).parent
PICTURES = "docs/images"
LIMIT = 2400
"""Seconds after which a benchmark is stopped, with all that it started: nobody may be watching."""


@dataclass(frozen=True)
class Command:
    """How a benchmark is called at full and at its smallest size, several times with ``;`` between the arguments;
    ``{pictures}`` is where its pictures go."""

    full: str
    tiny: str
    block: str = "performance"
    """Block of the page that its rows stand in."""

    def calls(self, name: str, tiny: bool) -> list[str]:
        """The calls without interpreter and folder."""
        return [f"bench_{name}.py {part.strip()}".strip() for part in (self.tiny if tiny else self.full).split(";")]


COMMANDS = {
    "loader": Command("5000", "16 --torchgeo 4"),
    "pack": Command("5000 2 2", "8 1 1"),
    "statistics": Command("30000 1000 3", "100 8 1"),
    "training": Command("", "--small --steps 3 --patches 8"),
    "predict": Command(
        "500 --repeats 2; 500 --repeats 2 --model transnuseg",
        "4 --architecture small --peer-patches 1 --repeats 1",
    ),
    "mosaic": Command("--patches 10000 --side 100 --large 40000", "--patches 16 --side 32 --large 25"),
    "map": Command("", "--side 1100 --peer-side 300"),
    "metrics": Command("3028", "8"),
    "benchmark": Command("3028 3", "40 1"),
    "startup": Command("3", "0"),
    "models": Command("", "--tiny", block="trainings"),
    "scaling": Command("1000 5000 30000 --plot {pictures}/scaling.svg", "4 8 --plot {pictures}/scaling.svg"),
    "load": Command("30291", "40", block="load"),
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
    chosen = [name for name in COMMANDS if name in (arguments.names or COMMANDS)]
    if failed := measure(chosen, Page(arguments.output, [f"bench_{name}.py" for name in COMMANDS]), arguments.tiny):
        sys.exit(f"failed: {', '.join(failed)}; their old rows stay")


def measure(names: Sequence[str], page: Page, tiny: bool) -> list[str]:
    """Run the benchmarks, at full size one by one, and keep the page up to date; the names of those that failed."""
    failed, machine = [], in_words()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        pictures = folder if tiny else PICTURES
        calls = [COMMANDS[name].calls(name, tiny) for name in names]
        done = (pool.map if tiny else map)(lambda lines: [run(line.format(pictures=pictures)) for line in lines], calls)
        for name, lines, results in zip(names, calls, done, strict=True):
            if all(code == 0 and rows for code, rows in results):
                printed = [
                    (line.format(pictures=PICTURES), rows) for line, (_, rows) in zip(lines, results, strict=True)
                ]
                page.write(COMMANDS[name].block, machine, printed)
            else:
                print(f"{name}: exit codes and rows {[(code, len(rows)) for code, rows in results]}", flush=True)
                failed.append(name)
    return failed


def run(call: str) -> tuple[int, list[str]]:
    """Exit code and table rows of a call; all that it prints is passed on."""
    print(f"\n{time.strftime('%H:%M:%S')} {call}", flush=True)
    script, *arguments = call.split()
    command = [sys.executable, str(HERE / script), *arguments]
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,  # gigabytes of a benchmark that had to be killed go with it
        subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": folder}, stdout=subprocess.PIPE,
            text=True, start_new_session=True,
        ) as process,
    ):  # fmt: skip
        timer = Timer(LIMIT, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        try:
            for text in process.stdout or ():
                print(text, end="", flush=True)
                rows += [text.rstrip()] if text.startswith("| ") else []
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            timer.cancel()
    return process.returncode, rows


if __name__ == "__main__":
    main()
