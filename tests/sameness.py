"""Two results folders, compared file by file."""

import json
import re
from pathlib import Path

ASIDE = re.compile(r"(logs|timings)/|(^|/)\.snakemake|ro-crate-metadata\.json")
"""What tells of a run, not of its results: times, memory, processes, host."""


def differing(first: Path, second: Path) -> list[str]:
    """Names of the files that only one folder has or that differ.

    A scene without a date ends its span at the time of its images, which each run simulates anew: this may differ.
    """
    left, right = (_read(folder) for folder in (first, second))
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))


def _read(folder: Path) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    texts = {name: path.read_bytes() for name, path in files.items() if not ASIDE.search(name)}
    for name in (name for name in texts if re.fullmatch(r"scenes/.*/item\.json", name)):
        item = json.loads(texts[name])
        del item["properties"]["end_datetime"]
        texts[name] = json.dumps(item).encode()
    return texts
