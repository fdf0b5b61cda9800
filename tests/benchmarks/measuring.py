"""What the benchmarks share: arguments, a process for each method with its time and memory, rows of the page."""

import os
import re
import resource
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INTERVAL = 0.05  # s


def arguments(description: str, positional: Mapping[str, Any] | None = None, **options: Any) -> Namespace:
    """Read the command line.

    Args:
        description: text of ``--help``.
        positional: name → default, a whole number or a list of them.
        options: name → default, which gives the type; False makes a flag.
    """
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    for name, default in (positional or {}).items():
        parser.add_argument(name, nargs="*" if isinstance(default, list) else "?", type=int, default=default)
    for name, default in options.items():
        how = {"action": "store_true"} if default is False else {"type": type(default), "default": default}
        parser.add_argument(f"--{name.replace('_', '-')}", **how)
    return parser.parse_args()


def row(what: str, ours: str, against: str, ratio: float | None, reach: str = "") -> None:
    """Print a row of the table; ``ratio`` is the peer's time over ours, or what ``reach`` bounds."""
    shown = "" if ratio is None else f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
    print(f"| {what} | {ours} | {against} | {shown} | {reach} |", flush=True)


def not_measured(what: str, why: str, reach: str = "") -> None:
    """Print a row for what cannot be measured here, e.g. ``no GPU``."""
    row(what, "", f"not measured: {why}", None, reach)


@dataclass
class Load:
    """The most that a process and all below it took: MB of their own, MB with mapped files, open files of one."""

    own: float = 0
    mapped: float = 0
    files: int = 0

    def sample(self, process: int) -> None:
        """Look at the processes once."""
        own = mapped = 0.0
        for each in tree(process):
            try:
                held = dict(re.findall(r"(\w+):\s+(\d+) kB", Path(f"/proc/{each}/status").read_text()))
                self.files = max(self.files, len(os.listdir(f"/proc/{each}/fd")))  # noqa: PTH208 (much faster)
            except OSError:  # it has ended
                continue
            own += sum(int(held.get(kind, 0)) for kind in ("RssAnon", "RssShmem")) / 1024
            mapped += int(held.get("VmRSS", 0)) / 1024
        self.own, self.mapped = max(self.own, own), max(self.mapped, mapped)


def tree(process: int) -> Iterator[int]:
    """A process and all below it."""
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            below = children.read_text().split()
        except OSError:
            continue
        for child in below:
            yield from tree(int(child))


@dataclass
class Run:
    """How a call went: its best time in seconds, what it returned last, and memory in MB."""

    seconds: float
    value: Any
    peak: float
    """Largest resident memory of one process, with pages of mapped files."""
    own: float = 0
    """Largest sum over all its processes, without pages of mapped files."""


def measured(prepare: Callable[..., Callable[[], Any]], *args: Any, turns: int = 1) -> Run:
    """Run a method in a process of its own.

    Args:
        prepare: a function of a module; it imports and opens what is needed, and returns the call that is timed.
        args: of ``prepare``.
        turns: how often the call is made; the fastest counts.
    """
    context, load = get_context("spawn"), Load()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, prepare, args, turns))
    process.start()
    theirs.close()
    while not ours.poll(INTERVAL):
        load.sample(process.pid)
    try:
        run = ours.recv()
    except EOFError:
        raise SystemExit(f"{prepare} failed") from None
    process.join()
    run.own = load.own
    return run


def _child(pipe: Connection, prepare: Callable[..., Callable[[], Any]], args: tuple[Any, ...], turns: int) -> None:
    set_start_method(None, force=True)  # the system's own again, which a spawned process does not have
    call = prepare(*args)
    seconds = []
    for _ in range(turns):
        start = time.perf_counter()
        value = call()
        seconds.append(time.perf_counter() - start)
    # Linux hands getrusage's own peak down through exec, so that it would show the parent's.
    own = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]
    peak = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024
    pipe.send(Run(min(seconds), value, peak))
