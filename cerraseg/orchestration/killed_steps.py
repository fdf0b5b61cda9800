"""Steps that were ended from outside, by the kernel for lack of memory, say: they cannot tell it themselves."""

import re
from pathlib import Path

_FAILED = re.compile(r"^Error in rule (\w+):\n(?:    .*\n)*?    log: (\S+)", re.MULTILINE)
_TOLD = re.compile(r"^\S+ ERROR ", re.MULTILINE)  # as cerraseg.core.logs.step ends one that fails by itself


def untold(run: str, began: float) -> list[str]:
    """A sentence for each failed job of a run whose own log holds no error.

    Args:
        run: Snakemake's log.
        began: seconds since 1970 when the run began; a job whose log is older did not get as far as that.
    """
    found = {rule_and_log: None for rule_and_log in _FAILED.findall(run)}  # once, however often it was tried
    return [_sentence(rule, log) for rule, log in found if _silent(Path(log), began)]


def _silent(log: Path, began: float) -> bool:
    return log.is_file() and log.stat().st_mtime >= began and not _TOLD.search(log.read_text(errors="replace"))


def _sentence(rule: str, log: str) -> str:
    return (
        f"Rule {rule} was ended from outside, without an error in its log {log}: most often because the machine or the "
        "job had too little memory (dmesg or, on SLURM, sacct says so), else by a person or a time limit. Give the "
        "same command again: it goes on from what is finished. If memory was the cause, let less run at a time "
        "(--cores, training.accumulate, predict.batch_size) or give it more (mem_mb in the profile)."
    )
