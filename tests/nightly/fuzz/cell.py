"""A cell for what may hang, crash or eat all memory: a process of its own, with a limit of time and of memory.

What runs there may reach no network and start no program: Python's audit events tell.
"""

import os
import resource
import sys
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import TimeoutError, get_context
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cerraseg.core.errors import CerraSegError

CASES = int(os.environ.get("CERRASEG_CASES", "60"))
"""Generated cases of a property."""
SECONDS, MEGABYTES = 40, 1500
"""Limits of a case; the memory counts from what the process has once the test's module is imported."""
FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
_seen: list[str] = []


class Outcome(NamedTuple):
    """How a case ended: ``taken``, ``refused`` with a message that a user can act on, or a ``fault`` of CerraSeg."""

    kind: str
    told: str


class Cell:
    """Runs functions in a process of its own."""

    def __init__(self, module: str) -> None:
        self._pool = get_context("spawn").Pool(1, _enter, (module,))
        self._pool.apply_async(int).get(120)

    def run(self, function: Callable[..., Any], *args: Any) -> Outcome:
        """Call a function of a module there: a CerraSegError is a refusal, all else that is raised a fault."""
        try:
            return Outcome(*self._pool.apply_async(_judge, (function, args)).get(SECONDS))
        except TimeoutError:
            what = f"{function.__name__}{args}: the process died, or no end after {SECONDS} s"
            return Outcome("fault", what)

    def close(self) -> None:
        self._pool.terminate()


def cells(request: pytest.FixtureRequest) -> Iterator[Cell]:
    """The body of the fixture that gives a file of tests its cell."""
    made = Cell(request.module.__name__)
    yield made
    made.close()


def _enter(module: str) -> None:
    __import__(module)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEGABYTES * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(lambda event, args: _seen.append(f"{event} {args[:2]}") if event in FORBIDDEN else None)


def _judge(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, str]:
    _seen.clear()
    try:
        outcome = "taken", repr(function(*args))[:2000]
    except CerraSegError as error:
        outcome = ("refused", str(error)) if len(str(error)) > 20 else ("fault", f"says too little: {error!r}")
    except BaseException:  # whatever it is, the test must hear of it
        outcome = "fault", traceback.format_exc()
    return ("fault", f"{function.__name__}{args}: {_seen[0]}") if _seen else outcome


def assert_no_fault(outcome: Outcome) -> Outcome:
    assert outcome.kind != "fault", outcome.told
    return outcome
