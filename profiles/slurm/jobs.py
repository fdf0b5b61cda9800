"""Jobs of the current folder in SLURM: what the scripts of this profile have in common."""

import subprocess
from pathlib import Path

PREFIX = "cerraseg"
LOGS = Path("logs/slurm")
MARKS = LOGS / ".exit"
TIMEOUT = 60  # s


class SlurmError(SystemExit):
    """SLURM did not answer, refused a job or did not end one; where nobody catches it, the script ends and says so."""


def ask(*command: str) -> list[str]:
    """Run a command of SLURM and return the lines of its answer; a SlurmError has SLURM's own words."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not answer within {TIMEOUT} s") from None
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        raise SlurmError(f"{' '.join(command)}: {said}".strip()) from None
    return done.stdout.splitlines()


def live_jobs() -> list[list[str]]:
    """Jobs of CerraSeg that wait or run in the current folder: id, name and digest of what they write."""
    rows = (line.split("|", 3) for line in ask("squeue", "--me", "--noheader", "--format=%i|%j|%k|%Z"))
    return [row[:3] for row in rows if row[1].startswith(PREFIX) and Path(row[3]).resolve() == Path.cwd()]
