"""The blocks of docs/performance.md that a machine writes: tables of rows, one table a machine and day."""

import datetime
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import rasterio
import torch

from cerraseg.core.files import atomic_write

HEADERS = {
    "performance": "| what | ours | against | ratio | reach |",
    "trainings": "| model | modality | level | GFLOP, training | GFLOP, prediction | ms, training | ms, prediction | "
    "GPU hours |",
    "load": "| step | of | time | memory | with mapped files | open files | disk |",
}
"""Block → heading of its table; behind it comes the command."""

Rows = dict[tuple[str, str], list[str]]
"""(Where and when it was measured, command) → rows."""


def machine() -> str:
    """Date, cores, memory, GPU, and the versions that speed depends on, in words that name neither host nor path."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    versions = [f"{package} {version(package).partition('+')[0]}" for package in ("numpy", "torch", "rasterio")]
    return (
        f"Measured on {datetime.date.today()} on {len(os.sched_getaffinity(0))} cores of "
        f"{model[1] if model else 'a CPU'}, {memory:.0f} GB of memory, {gpu}; Python {platform.python_version()}, "
        f"{', '.join(versions)}, GDAL {rasterio.__gdal_version__}."
    )


class Page:
    """A Markdown page with a block between two comments for each table; it is made where there is none."""

    def __init__(self, path: Path, order: Sequence[str]) -> None:
        self.path, self.order = path, list(order)

    def write(self, block: str, machine: str, printed: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Put rows (command, its rows) in the place of what the commands' script measured before.

        Where nothing could be measured, what was measured elsewhere stays.
        """
        text = self.path.read_text() if self.path.exists() else "".join(map(_empty, HEADERS))
        start, end = _span(block, text)
        known = _read(text[start:end])
        old = [key for key in known if _script(key[1]) == _script(printed[0][0])]
        if old and all("not measured" in row for _, rows in printed for row in rows):
            return
        kept = {key: value for key, value in known.items() if key not in old and _script(key[1]) in self.order}
        table = self._table(block, kept | {(machine, command): list(rows) for command, rows in printed})
        with atomic_write(self.path) as temporary:
            temporary.write_text(text[:start] + table + text[end:])

    def _table(self, block: str, rows: Rows) -> str:
        """The block: newest machine and day first, commands in order."""
        heading = f"{HEADERS[block]} command |"
        rule = re.sub(r"[^|]+", "---", heading)
        parts = []
        for machine in sorted({machine for machine, _ in rows}, reverse=True):
            commands = sorted((c for m, c in rows if m == machine), key=lambda c: self.order.index(_script(c)))
            lines = [f"{row} `{command}` |" for command in commands for row in rows[machine, command]]
            parts.append("\n".join((machine, "", heading, rule, *lines)))
        return "\n" + "\n\n".join(parts) + "\n"


def _script(command: str) -> str:
    return command.split()[0]


def _empty(block: str) -> str:
    return f"<!-- {block}: written by make performance -->\n<!-- end of {block} -->\n"


def _span(block: str, text: str) -> tuple[int, int]:
    """Where the block stands in a page."""
    start, end = _empty(block).splitlines(keepends=True)
    if start in text and end in text:
        return text.index(start) + len(start), text.index(end)
    raise SystemExit(f"the page has no block between {start.strip()} and {end.strip()}; put these two lines back")


def _read(block: str) -> Rows:
    """The rows of a block by machine and command."""
    rows: Rows = {}
    machine = ""
    for line in block.splitlines():
        if line.startswith("Measured on"):
            machine = line
        elif command := re.fullmatch(r"(\| .* \|) `(.+)` \|", line):
            rows.setdefault((machine, command[2]), []).append(command[1])
    return rows
