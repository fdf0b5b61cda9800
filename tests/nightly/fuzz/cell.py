"""A cell for what may hang, crash or eat all memory: a process of its own, with a limit of time and of memory.

What runs there may write below one folder, and reach no network and start no program: Python's audit events tell.
"""

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

CASES = int(os.environ.get("CERRASEG_CASES", "60"))
"""Generated cases of a property."""

_WRITES = {"os.mkdir": 0, "os.remove": 0, "os.rmdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1}
_FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")


class Outcome(NamedTuple):
    """How a case ended: ``taken``, ``refused`` with a message that a user can act on, or a ``fault`` of CerraSeg."""

    kind: str
    told: str


class Cell:
    """Runs functions in a process of its own; a new one is started where the last was lost.

    ``folder`` is where they may write, ``seconds`` the limit of each, ``megabytes`` what they may take more than the
    process has once ``modules`` are imported.
    """

    def __init__(self, folder: Path, modules: str, *, seconds: float = 20, megabytes: int = 1500) -> None:
        self._job = str(folder), modules, megabytes
        self._seconds = seconds
        self._process: Any = None

    def run(self, function: Callable[..., Any], *args: Any) -> Outcome:
        """Call a function by reference there: a CerraSegError is a refusal, all else that is raised a fault."""
        if self._process is None:
            self._start()
        self._pipe.send((function, args))
        return self._answer(self._seconds, f"{function.__name__}{args}")

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._job), daemon=True)
        self._process.start()
        theirs.close()
        assert self._answer(120, "import").kind == "taken"

    def _answer(self, seconds: float, what: str) -> Outcome:
        with suppress(EOFError, ConnectionResetError):
            if self._pipe.poll(seconds):
                return Outcome(*self._pipe.recv())
            self.close()
            return Outcome("fault", f"{what}: no end after {seconds} s")
        self._process.join()
        code = self._process.exitcode
        self.close()
        return Outcome("fault", f"{what}: the process died with {signal.Signals(-code).name if code < 0 else code}")


def cells(tmp_path_factory: Any, modules: str, **limits: Any) -> Iterator[Cell]:
    """The body of a fixture that gives a file of tests its cell."""
    cell = Cell(tmp_path_factory.getbasetemp(), modules, **limits)
    yield cell
    cell.close()


def _serve(pipe: Any, folder: str, modules: str, megabytes: int) -> None:
    from cerraseg.core.errors import CerraSegError

    sys.dont_write_bytecode = True  # of what is imported when it is needed: no write of the case's
    for module in modules.split():
        __import__(module)
    grown = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (grown, grown))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seen: list[str] = []
    _watch(os.path.realpath(folder), seen)
    pipe.send(("taken", "ready"))
    while True:
        function, args = pipe.recv()
        seen.clear()
        try:
            outcome = "taken", repr(function(*args))[:2000]
        except CerraSegError as error:
            outcome = ("refused", str(error)) if len(str(error)) > 20 else ("fault", f"says too little: {error!r}")
        except BaseException:  # whatever it is, the test must hear of it
            outcome = "fault", traceback.format_exc()
        pipe.send(("fault", f"{function.__name__}{args}: {seen[0]}") if seen else outcome)


def _watch(folder: str, seen: list[str]) -> None:
    """Note what is written outside a folder, and every connection and program that is started."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN:
            seen.append(f"{event} {args[:2]}")
        if event == "open" and isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            _note(args[0], event, folder, seen)
        elif event in _WRITES and isinstance(args[_WRITES[event]], str | os.PathLike):
            relative = isinstance(args[-1], int) and args[-1] >= 0  # to an open folder, as shutil.rmtree removes
            base = Path(f"/proc/self/fd/{args[-1]}").resolve() if relative else Path()
            _note(base / args[_WRITES[event]], event, folder, seen)

    sys.addaudithook(hook)


def _note(path: Any, event: str, folder: str, seen: list[str]) -> None:
    written = Path(os.fsdecode(path))
    where = str(written.parent.resolve() / written.name)  # a link itself is what is removed or renamed
    if not where.startswith((folder, "/dev/", "/proc/self/")):
        seen.append(f"{event} {where}")


def assert_no_fault(outcome: Outcome) -> Outcome:
    assert outcome.kind != "fault", outcome.told
    return outcome


def hold(seconds: float) -> None:
    """Wait, as a case that hangs does: the test of the cell itself."""
    time.sleep(seconds)
