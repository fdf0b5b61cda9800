"""One run a folder: a killed run's lock is cleared, its jobs in SLURM are not joined; DVC learns what came out."""

import os
import shutil
import sys
import time
from pathlib import Path

from snakemake import exceptions
from snakemake.exceptions import LockException, WorkflowError


from cerraseg.orchestration import run_lock, slurm
from cerraseg.orchestration.killed_steps import untold
from cerraseg.core.errors import SlurmError, StorageError
from cerraseg.core.storage import ensure_folder

BEGAN = time.time()


def held():
    """Snakemake's error that other runs make the same files, with their names; its own words where none is known."""
    named = run_lock.refusal()
    return WorkflowError(named) if named else LockException()


def refuse_beside_slurm_jobs():
    """Jobs that a killed run left in SLURM write the files that this run would write."""
    if not (slurm.LOGS.exists() and shutil.which("squeue")):
        return
    try:
        jobs = slurm.live_jobs()
    except SlurmError as error:
        raise WorkflowError(
            f"{error}: jobs of an earlier run may still write here. Try again when SLURM is back, or remove "
            f"{slurm.LOGS} if you are sure that there are none."
        )
    if jobs:
        names = ", ".join(f"{job.id} ({job.name})" for job in jobs[:5])
        raise WorkflowError(
            f"{len(jobs)} jobs of a killed run are still in SLURM and write here: {names}"
            f"{' ...' * (len(jobs) > 5)}. To cancel them and go on: make slurm-recover"
        )


if workflow.is_main_process:
    accompanied = run_lock.join()
    # Raised where a file of this run is another one's.
    exceptions.LockException = held
    # profiles/slurm runs its helpers with it
    os.environ.update(CERRASEG_PYTHON=sys.executable)


def refuse_read_only_results():
    """Snakemake would say which call of its own failed."""
    try:
        ensure_folder(Path(config["results"]), written=True)
    except StorageError as error:
        raise WorkflowError(str(error))


onstart:
    refuse_read_only_results()
    if workflow.local_exec:
        run_lock.lead()
    if not accompanied:
        refuse_beside_slurm_jobs()


def record():
    """Record what is up to date in `dvc.lock`, where the folder has one and DVC is not the caller."""
    of_repository = not workflow.overwrite_configfiles and Path("dvc.lock").exists()
    called = os.environ.keys() & {"DVC_STAGE", "CERRASEG_TRACKING"}
    if of_repository and not called and not workflow.touch:
        shell("{sys.executable:q} -m cerraseg.orchestration.dvc_sync record || true")


onsuccess:
    record()


onerror:
    # One file or, in newer versions of Snakemake, a list.
    for file in [log] if isinstance(log, str) else log:
        for line in untold(Path(file).read_text(), BEGAN):
            print(line, file=sys.stderr)
    record()
