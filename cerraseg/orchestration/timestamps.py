"""Files that are dated later than now, as after a clock was moved back.

Snakemake goes by dates: a job that reads such a file fails when it has finished, however long it took.
"""

import os
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from cerraseg.core.errors import ConfigError

_APART = 10_000  # ns between two dates: what Snakemake still tells apart
_TOLERATED = 60  # s by which a file server's clock may be ahead of this machine's
_OF_FOLDER = ".snakemake_timestamp"  # by whose date Snakemake goes for a folder that a step writes


def bring_back(paths: Iterable[str | Path]) -> int:
    """Date files of the future to the present; how many there were.

    They keep their order, which says what a step has seen, and stay later than all others. Of ``paths``, folders stand
    for what steps wrote in them.
    """
    now = time.time_ns()
    dates = {file: file.lstat().st_mtime_ns for path in paths for file in _dated(Path(path))}
    future = {file: date for file, date in dates.items() if date > now}
    ranks = {date: rank for rank, date in enumerate(sorted(set(future.values()), reverse=True))}
    for file, date in future.items():
        present = now - ranks[date] * _APART
        os.utime(file, ns=(present, present), follow_symlinks=False)
    return len(future)


def ensure_past(paths: Iterable[str | Path]) -> None:
    """Refuse inputs of the user that are dated later than a minute from now; absent ones are others' concern.

    Raises:
        ConfigError: with the first of them.
    """
    for path in map(Path, paths):
        if path.is_file() and path.stat().st_mtime > time.time() + _TOLERATED:
            date = datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat(" ", "seconds")
            raise ConfigError(
                f"{path} is dated {date}, which is later than now; expected a date in the past, by which a step knows "
                f"that its inputs are older than what it made of them: set this machine's clock, or `touch {path}`"
            )


def _dated(path: Path) -> Iterator[Path]:
    """The files by whose dates Snakemake goes."""
    if path.is_file():
        yield path
    for folder, below, files in os.walk(path):
        if _OF_FOLDER in files:
            below.clear()
            files = [_OF_FOLDER]
        yield from (Path(folder, name) for name in files)
