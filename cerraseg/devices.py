"""Several devices for one step: a process for each, started and watched by one that does nothing else."""

import logging
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from logging.handlers import QueueHandler
from multiprocessing import current_process, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.distributed import FileStore  # type: ignore[attr-defined]

from cerraseg.errors import CerraSegError, ConfigError
from cerraseg.logs import log
from cerraseg.stopping import end_with_parent
from cerraseg.team import Team

_TO_END = 0.3  # seconds between the end of a process's connections and its own


class DeviceError(CerraSegError):
    """The process of one device has ended before its time."""


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
    context = get_context("spawn")  # fork breaks CUDA
    ranks: dict[Connection, SpawnProcess] = {}
    with TemporaryDirectory() as folder:
        try:
            for rank in range(count):
                report, said = context.Pipe(duplex=False)
                ranks[report] = context.Process(
                    target=_rank,
                    args=(work, Team(rank, count), folder, said, args),
                    name=f"the process of device {rank + 1} of {count}",
                )
                ranks[report].start()
                said.close()  # so that the pipe ends with the process
            _watch(ranks)
        finally:
            started = [process for process in ranks.values() if process.pid]
            for process in started:
                process.kill()
            for process in started:
                process.join()


def _watch(ranks: Mapping[Connection, SpawnProcess]) -> None:
    left = dict(ranks)
    while left:
        ready = wait(list(left))
        for report in [report for report in left if report in ready]:
            message: logging.LogRecord | CerraSegError | None
            try:
                message = report.recv()
            except EOFError:
                process = left.pop(report)
                process.join()
                message = _ended(process) if process.exitcode else None
            if isinstance(message, logging.LogRecord):
                logging.getLogger(message.name).handle(message)
            elif message:
                raise _cause(message, list(ranks.values()))


def _cause(error: CerraSegError, processes: list[SpawnProcess]) -> CerraSegError:
    """A process that was killed rather than what another says of it: a connection closed."""
    if isinstance(error, DeviceError):
        for process in processes:
            process.join(_TO_END)
            if (process.exitcode or 0) < 0:
                return _ended(process)
    return error


def _ended(process: SpawnProcess) -> DeviceError:
    code = process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return DeviceError(
        f"{process.name} was ended by {how}, and the others with it; the next start goes on from the last finished "
        "epoch: give it more memory if that was the cause"
    )


def _rank(work: Callable[..., None], team: Team, folder: str, report: Connection, args: tuple[Any, ...]) -> None:
    end_with_parent()
    with _reporting(team, report):
        if cuda := torch.cuda.is_available():
            torch.cuda.set_device(team.rank)
        torch.distributed.init_process_group(
            "nccl" if cuda else "gloo",
            store=FileStore(str(Path(folder) / "ranks"), team.count),  # no port to be taken by others
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
