"""Two results folders, compared file by file."""

import json
import re
from collections.abc import Callable
from pathlib import Path

ASIDE = re.compile(r"(logs|timings)/|(^|/)\.snakemake|ro-crate-metadata\.json")
"""What tells of a run, not of its results: times, memory, processes, host."""


def _without_time(text: bytes) -> bytes:
    item = json.loads(text)
    del item["properties"]["end_datetime"]
    return json.dumps(item).encode()


EXCEPTIONS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    r"scenes/.*/item\.json": (
        _without_time,
        "a scene without a date ends its span at the time of its images, which each run simulates anew",
    ),
}
"""Files that may differ between two runs → what of them must not, and why."""


def differing(first: Path, second: Path) -> list[str]:
    """Names of the files that only one folder has or that differ, but for what :data:`EXCEPTIONS` let differ."""
    left, right = (_read(folder) for folder in (first, second))
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))


def _read(folder: Path) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    texts = {name: path.read_bytes() for name, path in files.items() if not ASIDE.search(name)}
    for name in texts:
        for pattern, (kept, _) in EXCEPTIONS.items():
            if re.fullmatch(pattern, name):
                texts[name] = kept(texts[name])
    return texts
