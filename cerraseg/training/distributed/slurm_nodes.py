"""Several nodes of one SLURM job for one step: ``srun`` starts on the others what runs on the first.

They meet at a ``TCPStore`` of the first node, whose address SLURM tells them. A ``FileStore`` in a shared folder would
need file locks, which shared file systems often lack or keep badly. What is to be done goes through ``srun``'s standard
input, so that nobody but SLURM can tell a node what to run.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from socket import gethostname
from threading import Thread
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from cerraseg.core.errors import CerraSegError, ConfigError
from cerraseg.core.signals import end_with_parent
from cerraseg.training.distributed import launcher
from cerraseg.training.distributed.launcher import DeviceError, Meeting

_TO_CANCEL = 10  # seconds in which srun ends what it started
_FAILED = "cerraseg: failed on"  # then the node: what is to be read is in the store


def granted(nodes: int) -> int:
    """How many nodes a step may use that was given ``nodes``.

    Raises:
        ConfigError: if its SLURM job has fewer, or there is none.
    """
    held = int(os.environ.get("SLURM_JOB_NUM_NODES", 1)) if shutil.which("srun") else 1
    if nodes > held:
        raise ConfigError(
            f"the resource nodes of train is {nodes}, but this step runs on {held}; expected a SLURM job of as many: "
            f"--workflow-profile profiles/slurm, or ask for nodes={held} (--set-resources train:nodes={held})"
        )
    return nodes


def run(work: Callable[..., None], nodes: int, count: int, *args: Any) -> None:
    """:func:`launcher.run` with ``count`` devices on each of ``nodes``, which share a file system.

    This node has the first ranks. A rank that fails ends all of them on all nodes.

    Raises:
        CerraSegError: what ``work`` raised here.
        DeviceError: if a rank ended otherwise or another node failed; it says which.
    """
    if nodes == 1:
        return launcher.run(work, count, *args)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    meeting = Meeting("127.0.0.1", store.port, range(count), nodes * count, _name())
    with _elsewhere(nodes - 1, store, pickle.dumps((store.port, count, nodes * count, work, args))) as others:
        launcher.run_ranks(work, meeting, args, others)


def _name() -> str:
    return os.environ.get("SLURMD_NODENAME") or gethostname()


@contextmanager
def _elsewhere(nodes: int, store: TCPStore, job: bytes) -> Iterator[Connection]:
    """Start a ``job`` on the other nodes; yields a connection that ends with it, after an error if it fails."""
    threads = os.environ.get("SLURM_CPUS_PER_TASK")  # srun goes by sbatch's word no more since SLURM 22.05
    process = subprocess.Popen(
        ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--relative=1", "--kill-on-bad-exit=1",
         *([f"--cpus-per-task={threads}"] if threads else []), 
         sys.executable, "-m", "cerraseg.training.distributed.slurm_nodes"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    report, said = Pipe(duplex=False)
    follower = Thread(target=_follow, args=(process, job, nodes, store, said), daemon=True)
    follower.start()
    try:
        yield report
    finally:
        process.terminate()
        try:
            process.wait(_TO_CANCEL)
        except subprocess.TimeoutExpired:
            process.kill()
        follower.join(1)


def _follow(process: subprocess.Popen[bytes], job: bytes, nodes: int, store: TCPStore, said: Connection) -> None:
    """Hand out the job, repeat what the nodes say, and report how they ended."""
    assert process.stdin and process.stdout
    complaints: list[str] = []
    try:
        process.stdin.write(job)
        process.stdin.close()
    except BrokenPipeError:
        pass  # srun says why
    for line in process.stdout:
        sys.stderr.write(text := line.decode(errors="replace"))
        if text.startswith(_FAILED):  # long before srun has ended
            said.send(_error(store, nodes, 1, complaints))
        complaints += [text.strip()] if text.startswith("srun: error:") else []
    if code := process.wait():
        said.send(_error(store, nodes, code, complaints))
    said.close()


def _error(store: TCPStore, nodes: int, code: int, complaints: list[str]) -> DeviceError:
    keys = [f"failure {node}" for node in range(1, nodes + 1)]
    told = [json.loads(store.get(key)) for key in keys if store.check([key])]
    if not told:
        said = f" ({'; '.join(complaints[-3:])})" if complaints else ""
        return launcher.lost(f"a process of another node was ended{said}, srun by exit code {code}")
    first = max(told, key=lambda failure: failure["cause"])
    error = DeviceError(first["text"])
    error.cause = first["cause"]
    return error


def main() -> None:
    """Run this node's ranks of what comes by standard input, as a task of srun."""
    end_with_parent()
    os.environ.pop("SLURM_NTASKS", None)  # as in profiles/slurm/job.sh
    port, count, total, work, args = pickle.load(sys.stdin.buffer)  # noqa: S301 (srun brings it from this step)
    node = 1 + int(os.environ["SLURM_PROCID"])
    meeting = Meeting(
        os.environ["SLURM_LAUNCH_NODE_IPADDR"], port, range(node * count, (node + 1) * count), total, _name()
    )
    try:
        launcher.run_ranks(work, meeting, args)
    except CerraSegError as error:
        text = str(error) if meeting.node in str(error) else f"{meeting.node}: {error}"
        failure = {"cause": getattr(error, "cause", True), "text": text}
        meeting.store().set(f"failure {node}", json.dumps(failure))
        print(_FAILED, meeting.node, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
