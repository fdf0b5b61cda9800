"""Which runs work in this folder: each holds a lock that ends with its process, and a note that says whose it is."""

import atexit
import fcntl
import getpass
import json
import os
import platform
import re
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path

from cerraseg.core.errors import CerraSegError
from cerraseg.core.files import alive, atomic_write

LOCK = Path(".snakemake/alive")
"""Held, shared, by every Snakemake of the folder."""

NOTES = Path(".snakemake/runs")
RUN = "CERRASEG_RUN"
"""Environment variable that tells a run's jobs on this machine which note is theirs."""

_BEAT = 20  # s between a run's signs of life
_SILENT = 120  # s without one after which a run of another machine counts as dead: its lock may not reach here
_SECRET = re.compile(r"//[^/\s]*@")  # user and password of a URL in the command
_held: list[TextIOWrapper] = []  # for as long as this process lives


class RunningError(CerraSegError):
    """Another run works in this folder."""


@dataclass(frozen=True)
class Run:
    """A run as its note tells of it; ``since`` is the local time with its offset."""

    process: int
    user: str
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.process} of {self.user} on {self.host} since {self.since}: {self.command}"


def join() -> bool:
    """Count as a run of this folder until this process ends; true if another one is there.

    Who is alone clears the lock that Snakemake left when it was killed, so that the same command goes on.
    """
    handle = _open(LOCK)
    accompanied = False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        accompanied = bool(others())
        if not accompanied:
            for lock in LOCK.parent.glob("locks/*.lock"):
                lock.unlink()
        fcntl.flock(handle, fcntl.LOCK_SH)
    except BlockingIOError:
        fcntl.flock(handle, fcntl.LOCK_SH)
        accompanied = True
    except OSError:
        pass  # file systems of some clusters have no locks: nothing is cleared
    _note()
    os.environ.pop(RUN, None)
    return accompanied


def lead() -> None:
    """Let jobs that begin from here on take part in this run: if it is killed alone, it counts until they have ended.

    Not for jobs elsewhere, of which a cluster tells.
    """
    os.environ[RUN] = str(_own().absolute())


@contextmanager
def taking_part() -> Iterator[None]:
    """In a job: keep its run's note alive, whatever becomes of the run itself."""
    with ExitStack() as stack:
        if note := os.environ.get(RUN):
            with suppress(OSError):  # the run has ended, or the file system has no locks
                fcntl.flock(stack.enter_context(Path(note).open("r+")), fcntl.LOCK_SH)
        yield


def others() -> list[Run]:
    """The other runs of this folder; the notes of those that were killed are removed."""
    found = []
    for note in sorted(NOTES.glob("*.json")):
        if note == _own():
            continue
        if _ended(note):
            note.unlink(missing_ok=True)
        else:
            with suppress(OSError, ValueError, TypeError):  # it has just ended, or is not one of ours
                found.append(Run(**json.loads(note.read_text())))
    return found


def refusal() -> str:
    """What to tell a run whose files another one makes; empty if none can be named."""
    if not (runs := others()):
        return ""
    named = "".join(f"\n  {run}{_orphaned(run)}" for run in runs)
    first = runs[0]
    there = "" if first.host == platform.node() else f", on {first.host}"
    processes = _jobs(first) if _killed(first) else [first.process]
    stop = " ".join(map(str, ["kill -INT", *processes]))
    return (
        f"another run works in this folder and makes the same files, so nothing was changed:{named}\n"
        f"Wait for its end, or stop it ({stop}{there}; what it finished is kept), then give the same command again. "
        "Runs that share no file may work side by side."
    )


@contextmanager
def alone() -> Iterator[None]:
    """Keep runs from starting in this folder.

    Raises:
        RunningError: if one is there.
    """
    with _open(LOCK) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            blocked = False
        except BlockingIOError:
            blocked = True
        except OSError as error:
            blocked = False
            print(f"no locks on this file system ({error}): be sure that no snakemake runs here", file=sys.stderr)
        if (runs := others()) or blocked:
            named = "".join(f"\n  {run}{_orphaned(run)}" for run in runs)
            raise RunningError(f"a snakemake still runs in this folder; wait for its end, or stop it first{named}")
        yield


def ensure_alone() -> None:
    """Raise :class:`RunningError` if a run works in this folder."""
    with alone():
        pass


def _open(path: Path) -> TextIOWrapper:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a")


def _own() -> Path:
    return _note_of(platform.node(), os.getpid())


def _note_of(host: str, process: int) -> Path:
    return NOTES / f"{host}.{process}.json"


def _note() -> None:
    """Say who runs here, and give signs of life until the end."""
    note = _own()
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]).replace("__main__.py", "snakemake", 1)
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    run = Run(os.getpid(), _user(), platform.node(), since, _SECRET.sub("//***@", command))
    with atomic_write(note) as temporary:
        temporary.write_text(json.dumps(asdict(run)) + "\n")
    _held.append(_open(note))
    with suppress(OSError):
        fcntl.flock(_held[-1], fcntl.LOCK_SH)  # its jobs hold it, too
    atexit.register(note.unlink, missing_ok=True)
    threading.Thread(target=_live, args=(note,), daemon=True).start()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers run as users that have no name
        return f"user {os.getuid()}"


def _live(note: Path) -> None:
    while not threading.Event().wait(_BEAT):
        with suppress(OSError):
            os.utime(note)


def _killed(run: Run) -> bool:
    """Whether a run of this machine was killed; it is still named as long as its jobs live."""
    return run.host == platform.node() and not alive(run.process)


def _orphaned(run: Run) -> str:
    return f"\n  was killed, but left jobs that still work here: {_jobs(run)}" if _killed(run) else ""


def _jobs(run: Run) -> list[int]:
    """The processes of this user that a run of this machine began; on Linux, elsewhere none is known."""
    mark, found = f"{RUN}={_note_of(run.host, run.process).absolute()}\0", []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in environment.read_bytes().decode(errors="replace"):
                found.append(int(environment.parent.name))
    return sorted(found)


def _ended(note: Path) -> bool:
    """Whether a run is over. On its own machine its lock says so; elsewhere, where locks may not reach, its silence."""
    try:
        with note.open("r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if note.name.rsplit(".", 2)[0] == platform.node():
            return True
    except BlockingIOError:
        return False
    except OSError:
        pass
    with suppress(OSError):
        os.utime(LOCK)  # by the clock of the file system, whatever this machine's says
        return abs(LOCK.stat().st_mtime - note.stat().st_mtime) > _SILENT
    return False
