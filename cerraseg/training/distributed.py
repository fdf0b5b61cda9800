"""Several processes for one training, one device and a share of every batch each; Lightning averages their gradients.

The losses are functions of sums over all processes (:func:`sum_over_processes`), so that the mean of the gradients is
that of the whole batch, however class weights and ignored pixels are spread.
"""

import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from cerraseg.core import errors
from cerraseg.core.errors import CerraSegError, ConfigError
from cerraseg.core.logs import log
from cerraseg.core.signals import SIGNALS, StopSignal, end_with_parent
from cerraseg.core.taxonomy import IGNORE

_TO_CANCEL = 10  # seconds in which srun ends what it started
_CONSEQUENCE_WAITS = 2  # seconds: a process that lost another one ends after that one has been noticed
_CONTINUES = "the next start goes on from the last finished epoch: give it more memory if that was the cause"

Handlers = list[tuple[str | None, logging.Formatter | None]]


class DeviceError(CerraSegError):
    """A process of a training ended before its time."""


@dataclass(frozen=True)
class Share:
    """Which part of each batch one of ``count`` processes computes."""

    rank: int
    count: int

    def held(self, patches: int) -> slice:
        """Which patches of a batch this process computes; where none is left for it the first, without a label."""
        part = self._part(patches)
        return part if part.stop > part.start else slice(0, 1)

    def own(self, masks: Tensor) -> Tensor:
        """Masks (B, ...) of the held patches, of those of the whole batch; all 255 where none is left."""
        part = self._part(len(masks))
        return masks[part] if part.stop > part.start else torch.full_like(masks[:1], IGNORE)

    def _part(self, patches: int) -> slice:
        return slice(patches * self.rank // self.count, patches * (self.rank + 1) // self.count)


ONLY_PROCESS = Share(0, 1)


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


def sum_over_processes(*values: Tensor) -> tuple[Tensor, ...]:
    """Add up each of the values over all processes; with one process they stay as they are. Gradients pass through."""
    if not distributed.is_initialized():
        return values
    total: Tensor = _Sum.apply(torch.cat([value.flatten() for value in values]))
    parts = torch.split(total, [value.numel() for value in values])
    return tuple(part.view_as(value) for part, value in zip(parts, values, strict=True))


def allocated_gpus(gpus: int) -> int:
    """Return how many devices a job that asked for ``gpus`` GPUs may use; refuse one that asked for several in vain."""
    visible = torch.cuda.device_count()
    if gpus > max(1, visible):
        raise ConfigError(
            f"the resource gpu of train is {gpus}, but this job sees {visible} GPUs; expected as many: "
            f"--set-resources train:gpu={max(1, visible)}, or a job and a CUDA_VISIBLE_DEVICES that give it more"
        )
    if gpus and not visible:
        log.warning("the resource gpu of train is 1, but this job sees no GPU; training on the CPU")
    return max(1, gpus)


def allocated_nodes(nodes: int) -> int:
    """Return how many nodes a step may use that asked for ``nodes``; refuse one whose SLURM job has fewer."""
    held = int(os.environ.get("SLURM_JOB_NUM_NODES", 1)) if shutil.which("srun") else 1
    if nodes > held:
        raise ConfigError(
            f"the resource nodes of train is {nodes}, but this step runs on {held}; expected a SLURM job of as many: "
            f"--workflow-profile profiles/slurm, or --set-resources train:nodes={held}"
        )
    return nodes


def launch(work: Callable[..., None], nodes: int, devices: int, folder: Path, *args: Any) -> None:
    """Call ``work(share, *args)`` in ``devices`` new processes on each of ``nodes``; if one fails, all end.

    Args:
        work: a function of a module; it and ``args`` are pickled.
        nodes: of this SLURM job.
        devices: processes on each node.
        folder: where processes leave their errors, seen by all nodes.
        args: what ``work`` gets beside its :class:`Share`.

    Raises:
        CerraSegError: what ``work`` raised in one of them.
        DeviceError: if a process ended otherwise; it names the process.
        StopSignal: on SIGTERM or SIGINT.
    """
    failures = folder / "failures"
    shutil.rmtree(failures, ignore_errors=True)
    failures.mkdir(parents=True)
    handlers = [(getattr(handler, "baseFilename", None), handler.formatter) for handler in log.handlers]
    job = (work, failures, handlers, args)
    try:
        _run_on_nodes(nodes, devices, job) if nodes > 1 else _run_on_node(devices, job)
    except DeviceError:
        for failure in sorted(failures.iterdir()):
            name, text = json.loads(failure.read_text(encoding="utf-8"))
            raise getattr(errors, name, DeviceError)(text) from None
        raise
    shutil.rmtree(failures, ignore_errors=True)


def _run_on_node(devices: int, job: tuple[Any, ...]) -> None:
    """Run the processes by torch's launcher, which replaces the handlers of signals."""
    how = LaunchConfig(
        1, 1, devices, run_id="cerraseg", rdzv_backend="c10d", rdzv_endpoint="localhost:0", local_addr="127.0.0.1",
        max_restarts=0, shutdown_timeout=5, signals_to_handle="SIGTERM,SIGINT",
    )  # fmt: skip
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        elastic_launch(how, _process)(*job)
    except SignalException as received:
        raise StopSignal(received.sigval.name) from None
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        end = f"was ended by {failure.signal_name()}; {_CONTINUES}" if failure.exitcode < 0 else f"failed: {error}"
        raise DeviceError(f"the process of device {rank + 1} of {devices} {end}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_on_nodes(nodes: int, devices: int, job: tuple[Any, ...]) -> None:
    """Run the processes of several nodes as tasks of srun; they get the job by its standard input."""
    threads = os.environ.get("SLURM_CPUS_PER_TASK")  # srun goes by sbatch's value no more since SLURM 22.05
    process = subprocess.Popen(
        ["srun", f"--nodes={nodes}", f"--ntasks={nodes * devices}", f"--ntasks-per-node={devices}",
         "--kill-on-bad-exit=1", *([f"--cpus-per-task={max(1, int(threads) // devices)}"] if threads else []),
         sys.executable, "-m", "cerraseg.training.distributed"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert process.stdin and process.stdout
    complaints: list[str] = []
    try:
        with suppress(BrokenPipeError):  # srun has the reason
            process.stdin.write(pickle.dumps(job))
            process.stdin.close()
        for line in process.stdout:
            sys.stderr.write(text := line.decode(errors="replace"))
            complaints += [text.strip()] if text.startswith("srun: error:") else []
        code = process.wait()
    finally:
        process.terminate()
        try:
            process.wait(_TO_CANCEL)
        except subprocess.TimeoutExpired:
            process.kill()
    if code:
        why = "; ".join(complaints[:3]) or f"srun ended with exit code {code}"
        raise DeviceError(f"a process of the {nodes} nodes was ended ({why}); {_CONTINUES}")


def _process(work: Callable[..., None], failures: Path, handlers: Handlers, args: tuple[Any, ...]) -> None:
    """Be one of the processes; torch's launcher or :func:`main` has set the environment."""
    end_with_parent()
    share = Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    _log_to(handlers if share.rank == 0 else [])
    try:
        work(share, *args)
    except CerraSegError as error:
        told = json.dumps([type(error).__name__, str(error)])
        (failures / f"{share.rank}.json").write_text(told, encoding="utf-8")
        sys.exit(1)
    except Exception:
        time.sleep(_CONSEQUENCE_WAITS)
        raise
    distributed.destroy_process_group()


def _log_to(handlers: Handlers) -> None:
    """Log as the process that started this one does; to nothing without handlers."""
    logging.captureWarnings(True)
    log.setLevel(logging.INFO)
    for file, formatter in handlers or [(os.devnull, None)]:
        handler = logging.FileHandler(file, mode="a", encoding="utf-8") if file else logging.StreamHandler()
        handler.setFormatter(formatter)
        for name in (log.name, "py.warnings"):
            logging.getLogger(name).addHandler(handler)


def main() -> None:
    """Run as a task of srun what comes by standard input."""
    os.environ.setdefault("MASTER_ADDR", os.environ["SLURM_LAUNCH_NODE_IPADDR"])  # else Lightning asks for the host
    names = {"RANK": "SLURM_PROCID", "LOCAL_RANK": "SLURM_LOCALID", "WORLD_SIZE": "SLURM_NTASKS"}
    os.environ.update({name: os.environ[slurm] for name, slurm in names.items()})
    _process(*pickle.load(sys.stdin.buffer))  # noqa: S301 (srun brings it from this step)


if __name__ == "__main__":
    main()
