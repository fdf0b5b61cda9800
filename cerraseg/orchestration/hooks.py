"""What the workflow does before its first and after its last job."""

import atexit
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError

from cerraseg.core.errors import CerraSegError
from cerraseg.core.layout import SOURCE
from cerraseg.core.storage import ensure_folder
from cerraseg.orchestration.provenance import crate
from cerraseg.orchestration.provenance.write_crate import write_crate
from cerraseg.orchestration.step import FAILURES, failures

_SLURM = SOURCE / "profiles/slurm"


def prepare() -> str:
    """Set what the helpers of ``profiles/slurm`` need, and return when the run began.

    :class:`WorkflowError` is raised if a shell would take the path of this Python apart.
    """
    if shlex.quote(sys.executable) != sys.executable:
        raise WorkflowError(
            f"{sys.executable}: Snakemake starts steps through a shell, which takes this path apart; expected letters, "
            "digits and any of _ - . / + : @ %: rename the folder, or use an environment that lies elsewhere"
        )
    os.environ.update(CERRASEG_PYTHON=sys.executable, CERRASEG_SLURM=str(_SLURM))
    return crate.now()


def start(workflow: Any, config: Mapping[str, Any]) -> None:
    """Raise :class:`WorkflowError` if results cannot be written, or SLURM is missing or has a killed run's jobs."""
    FAILURES.unlink(missing_ok=True)
    try:
        ensure_folder(Path(config["results"]), written=True)
    except CerraSegError as error:
        raise WorkflowError(str(error)) from None
    if workflow.executor_plugin.name == "cluster-generic" and not shutil.which("sbatch"):
        raise WorkflowError(
            "profiles/slurm: this machine has no sbatch; expected SLURM: run it on a login node of the cluster, "
            "or leave out --workflow-profile profiles/slurm"
        )
    if Path("logs/slurm").exists() and shutil.which("squeue"):
        asked = subprocess.run([sys.executable, _SLURM / "recover.py"], stderr=subprocess.PIPE, text=True, check=False)
        if asked.returncode:
            raise WorkflowError(asked.stderr)


def finish(workflow: Any, config: Mapping[str, Any], began: str, *, completed: bool) -> None:
    """Write the crate of the results and, where this is a DVC repository and DVC is not the caller, record them.

    After a failure, the last lines of the run repeat its first error.
    """
    if workflow.touch:
        return
    if not completed and (failed := failures()):
        atexit.register(print, f"\nThe first error of this run: {failed[0]}", file=sys.stderr)
    try:
        write_crate(config, began, completed)
    except (CerraSegError, OSError) as error:
        print(f"{crate.NAME} could not be written: {error}", file=sys.stderr)
    called = os.environ.keys() & {"DVC_STAGE", "CERRASEG_TRACKING"}
    if Path("dvc.lock").exists() and not (called or workflow.overwrite_configfiles):
        subprocess.run([sys.executable, "-m", "cerraseg.orchestration.dvc_sync", "record"], check=False)
