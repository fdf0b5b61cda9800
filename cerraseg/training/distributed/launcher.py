"""Several devices for one step: a process for each, started and watched by one that does nothing else."""

import logging
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing import current_process, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.distributed import FileStore, Store, TCPStore  # type: ignore[attr-defined]

from cerraseg.core.errors import CerraSegError, ConfigError
from cerraseg.core.logs import log
from cerraseg.core.signals import end_with_parent
from cerraseg.training.distributed.sync import Team

_TO_END = 0.3  # seconds between the end of a process's connections and its own
_TO_TELL = 10  # seconds in which another node tells of its end


class DeviceError(CerraSegError):
    """The process of one device has ended before its time; a ``cause`` if by itself, not as another's end broke it."""

    cause = False


@dataclass(frozen=True)
class Meeting:
    """Where all ranks find each other: at a ``port`` of a ``host`` or, on one node, in the file that ``host`` names.

    Attributes:
        host: address or path.
        port: 0: none, it is a path.
        ranks: those of this node.
        count: all ranks.
        node: what this node is called in errors; empty where there is but one.
    """

    host: str
    port: int
    ranks: range
    count: int
    node: str = ""

    def store(self) -> Store:
        """The store that the ranks share."""
        if self.port:
            return TCPStore(self.host, self.port, is_master=False)
        return FileStore(self.host, self.count)  # no port to be taken by others


def granted(gpus: int) -> int:
    """How many devices a job may use that was given ``gpus`` GPUs; without any it is one, GPU or CPU.

    Raises:
        ConfigError: if it was promised several and sees fewer.
    """
    visible = torch.cuda.device_count()
    if gpus > max(1, visible):
        raise ConfigError(
            f"the resource gpu of train is {gpus}, but this job sees {visible} GPUs; expected as many: ask for "
            f"gpu={max(1, visible)} (--set-resources train:gpu={max(1, visible)}, or the profile), or see to it that "
            "the job is given them and that CUDA_VISIBLE_DEVICES and torch's build let it use them"
        )
    if gpus and not visible:
        log.warning("the resource gpu of train is 1, but this job sees no GPU; training on the CPU")
    return max(1, gpus)


def run(work: Callable[..., None], count: int, *args: Any) -> None:
    """Call ``work(team, *args)`` in ``count`` new processes, a device each, and wait for all.

    What the first logs comes out here. One that fails ends all, and so does an exception here.

    Raises:
        CerraSegError: what ``work`` raised in one of them.
        DeviceError: if one ended otherwise.
    """
    with TemporaryDirectory() as folder:
        run_ranks(work, Meeting(str(Path(folder) / "ranks"), 0, range(count), count), args)


def run_ranks(
    work: Callable[..., None], meeting: Meeting, args: tuple[Any, ...], others: Connection | None = None
) -> None:
    """:func:`run` for the ranks of this node; ``others`` ends when those elsewhere end, after an error of theirs.

    Raises:
        CerraSegError: likewise.
        DeviceError: likewise.
    """
    context = get_context("spawn")  # fork breaks CUDA
    ranks: dict[Connection, SpawnProcess] = {}
    try:
        for place, rank in enumerate(meeting.ranks):
            report, said = context.Pipe(duplex=False)
            ranks[report] = context.Process(
                target=_rank,
                args=(work, Team(rank, meeting.count), place, meeting, said, args),
                name=f"the process of device {rank + 1} of {meeting.count}{meeting.node and f' on {meeting.node}'}",
            )
            ranks[report].start()
            said.close()  # so that the pipe ends with the process
        _watch(ranks, others)
    finally:
        started = [process for process in ranks.values() if process.pid]
        for process in started:
            process.kill()
        for process in started:
            process.join()


def _watch(ranks: Mapping[Connection, SpawnProcess], others: Connection | None) -> None:
    left: dict[Connection, SpawnProcess | None] = {**ranks, **({others: None} if others else {})}
    while left:
        ready = wait(list(left))
        for report in [report for report in left if report in ready]:
            message: logging.LogRecord | CerraSegError | None
            try:
                message = report.recv()
            except EOFError:
                message = _ended(left.pop(report))
            if isinstance(message, logging.LogRecord):
                logging.getLogger(message.name).handle(message)
            elif message:
                raise _cause(message, list(ranks.values()), others)


def _cause(error: CerraSegError, processes: list[SpawnProcess], others: Connection | None) -> CerraSegError:
    """A process that was killed rather than what another says of it: a connection closed."""
    if not isinstance(error, DeviceError) or error.cause:
        return error
    for process in processes:
        process.join(_TO_END)
    ends = [_ended(process) for process in processes if (process.exitcode or 0) < 0]
    if not ends and others and others.poll(_TO_TELL):
        with suppress(EOFError):
            ends.append(others.recv())
    return next((end for end in ends if end and end.cause), error)


def _ended(process: SpawnProcess | None) -> DeviceError | None:
    """How a process ended before its time; none if it did not."""
    if process:
        process.join()
    if not process or not process.exitcode:
        return None
    code = process.exitcode
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return lost(f"{process.name} was ended by {how}", code < 0)


def lost(what: str, cause: bool = True) -> DeviceError:
    """The error of a process that is gone, which ``what`` says."""
    error = DeviceError(
        f"{what}, and the others with it; the next start goes on from the last finished epoch: give it more memory if "
        "that was the cause"
    )
    error.cause = cause
    return error


def _rank(
    work: Callable[..., None], team: Team, place: int, meeting: Meeting, report: Connection, args: tuple[Any, ...]
) -> None:
    end_with_parent()
    with _reporting(team, report):
        if cuda := torch.cuda.is_available():
            torch.cuda.set_device(place)
        torch.distributed.init_process_group(
            "nccl" if cuda else "gloo",
            store=meeting.store(),
            rank=team.rank,
            world_size=team.count,
        )
        work(team, *args)
        torch.distributed.destroy_process_group()


@contextmanager
def _reporting(team: Team, report: Connection) -> Iterator[None]:
    """Send what the first rank logs, and how any rank fails, to the process that watches."""
    handler: logging.Handler = _Relay(report) if team.rank == 0 else logging.NullHandler()
    logging.captureWarnings(True)
    log.setLevel(logging.INFO)
    for name in (log.name, "py.warnings"):
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    except CerraSegError as error:
        report.send(error)
        sys.exit(1)
    except BaseException:
        report.send(DeviceError(f"{current_process().name} failed:\n{traceback.format_exc()}"))
        sys.exit(1)


class _Relay(QueueHandler):
    """Sends through a pipe what its parent class makes fit to be sent."""

    def __init__(self, report: Connection) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.report = report

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send a record."""
        self.report.send(record)
