"""What made a results file, from what, and whether anything changed since.

``python -m cerraseg.orchestration.provenance.provenance <file>``
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerraseg.core.errors import CerraSegError, DataError
from cerraseg.core.layout import SOURCE
from cerraseg.orchestration.provenance import records
from cerraseg.orchestration.provenance.content import Content, content
from cerraseg.orchestration.provenance.records import FOLDER, RESULTS, Record

UNCHANGED, CHANGED, ABSENT, ELSEWHERE = "unchanged since", "CHANGED SINCE", "not here", "from elsewhere, not checked"

CAUSES = ("code", "device", "threads", "versions", "params")
"""Fields of a record by which two makings of the same file may differ, apart from its inputs."""


@dataclass(frozen=True)
class Result:
    """An output of a job, and all records of its results folder.

    Attributes:
        results: the results folder.
        name: the output's name in records; of a file in an output folder the folder's.
        maker: record of the job that made it.
        known: all records, the youngest first.
    """

    results: Path
    name: str
    maker: Record
    known: list[Record]

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.results / self.name.removeprefix(f"{RESULTS}/")

    def lineage(self) -> list[Record]:
        """The records of all jobs behind it, each after those whose outputs it read; its own is the last."""
        found: dict[Path, Record] = {}

        def visit(record: Record) -> None:
            for entry in record.fields["inputs"]:
                if (before := records.maker(self.known, entry["path"])) and before.path not in found:
                    visit(before)
            found[record.path] = record

        visit(self.maker)
        return list(found.values())


def find(path: Path) -> Result:
    """The output that a path is, or lies in.

    Raises:
        DataError: if no record names it.
    """
    whole = path.absolute()
    for results in (folder for folder in whole.parents if (folder / FOLDER).is_dir()):
        known = records.read(results)
        for output in (whole, *(parent for parent in whole.parents if parent.is_relative_to(results))):
            if maker := records.maker(known, name := records.named(output, results)):
                return Result(results, name, maker, known)
    raise DataError(
        f"{path}: not by CerraSeg, as far as records say; expected a file that a record in {FOLDER}/ of its results "
        "folder names. What was made before there were records has none: make it anew"
    )


def state(name: str, said: Mapping[str, Any], results: Path) -> str:
    """Whether a file is still what a record says of it: one of the four states."""
    if name.startswith("..."):
        return ELSEWHERE
    path = results / name.removeprefix(f"{RESULTS}/") if name.startswith(RESULTS) else Path(name)
    path = path if path.exists() else SOURCE / name
    if not path.exists():
        return ABSENT
    return UNCHANGED if content(path) == Content(said["bytes"], said["sha256"]) else CHANGED


def differences(old: Record, new: Record, *causes: str) -> list[str]:
    """A line for each of ``causes``, all of :data:`CAUSES` without any, by which two records differ."""
    found = []
    for name in causes or CAUSES:
        before, after = (record.fields[name] for record in (old, new))
        if not isinstance(before, dict):
            before, after = {"": before}, {"": after}
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                found.append(f"{f'{name} {key}'.strip()}: {before.get(key)}, now {after.get(key)}")
    return found


def job(record: Record) -> str:
    """A job in words: ``train (unet-concat-nw-l1-tuned-666)``."""
    wildcards = ", ".join(record.fields["wildcards"].values())
    return f"{record.fields['rule']} ({wildcards})" if wildcards else str(record.fields["rule"])


def tell(result: Result) -> Iterator[str]:
    """Lines on a result: what it is, what made it, and as an indented tree all that it was made from."""
    said, fields = result.maker.find(result.name, "outputs"), result.maker.fields
    assert said
    data = ", ".join(f"{name} {sha256}" for name, sha256 in fields["data"].items())
    seeds = ", ".join(f"{name} {' '.join(map(str, values))}" for name, values in fields["seeds"].items())
    yield f"{result.path}: {state(result.name, vars(said), result.results)}"
    yield f"  {said.bytes:,} bytes, SHA-256 {said.sha256}"
    yield f"  made by {job(result.maker)} on {fields['device']}, {fields['threads']} thread(s)"
    yield f"  code {fields['code']}, configuration {fields['configuration']}"
    yield f"  data: {data or 'none'}"
    yield f"  seeds: {seeds or 'none'}"
    yield f"  versions: {', '.join(map(' '.join, fields['versions'].items()))}"
    yield "  made from:"
    yield from _tree(result, result.maker, 2, set())


def _tree(result: Result, record: Record, depth: int, shown: set[str]) -> Iterator[str]:
    for entry in record.fields["inputs"]:
        name, maker = entry["path"], records.maker(result.known, entry["path"])
        line = f"{'  ' * depth}{name}: {f'by {job(maker)}, ' if maker else ''}{state(name, entry, result.results)}"
        if name in shown and maker:
            yield f"{line}, see above"
            continue
        shown.add(name)
        yield line + "".join(f"; {other}" for other in (differences(maker, result.maker, "versions") if maker else ()))
        if maker:
            yield from _tree(result, maker, depth + 1, shown)


def main() -> int:
    """Tell what made the file that the command line names; 0, or 1 if it or something behind it changed since."""
    parser = argparse.ArgumentParser(prog="python -m cerraseg.orchestration.provenance.provenance", description=__doc__)
    parser.add_argument("result", type=Path, help="a file or folder of a results folder")
    try:
        lines = list(tell(find(parser.parse_args().result)))
    except CerraSegError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(lines))
    return int(any(CHANGED in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
