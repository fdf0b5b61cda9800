"""Tell what made a results file, from what, and whether anything changed since.

``python -m cerraseg.orchestration.provenance.lineage <file>``
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerraseg.core.content import content
from cerraseg.core.errors import DataError
from cerraseg.orchestration.provenance.crate import NAME, RUN, Entity, identifier, read_crate, references

CHANGED = "CHANGED SINCE"


@dataclass(frozen=True)
class Crate:
    """What the crate of a results folder tells of its files."""

    results: Path
    entities: dict[str, Entity]

    def maker(self, id_: str) -> Entity | None:
        """Return the job that made a file."""
        jobs = (job for key, job in self.entities.items() if job["@type"] == "CreateAction" and key != RUN)
        return next((job for job in jobs if id_ in references([job["result"]])), None)

    def state(self, id_: str) -> str:
        """Return whether a file is what the run left; one outside the results folder is looked for by its name."""
        path = Path(id_[1:]) if id_.startswith("#") else self.results / id_
        if not path.exists():
            return "not here"
        return "unchanged since" if content(path).sha256 == self.entities[id_].get("sha256") else CHANGED

    def value(self, id_: str) -> dict[str, Any]:
        """Return the value of a property."""
        return dict(json.loads(self.entities[id_]["value"]))


def find_result(path: Path) -> tuple[Crate, str]:
    """Return the crate that knows a file and its id there, or raise; of a file in a job's folder, the folder's id."""
    whole = path.absolute()
    for results in (folder for folder in whole.parents if (folder / NAME).is_file()):
        crate = Crate(results, read_crate(results))
        for id_ in (identifier(part, results) for part in (whole, *whole.parents)):
            if crate.maker(id_):
                return crate, id_
    raise DataError(f"{path}: not in {NAME} of its results folder, which a run writes at its end; expected a result")


def changed_inputs(paths: Iterable[str], results: Path) -> list[str]:
    """Return those of a step's inputs that a job made and that are no longer as it left them."""
    crate = Crate(results, read_crate(results))
    ids = {path: identifier(Path(path), results) for path in sorted(set(paths))}
    return [path for path, id_ in ids.items() if crate.maker(id_) and crate.state(id_) != "unchanged since"]


def describe(crate: Crate, id_: str) -> Iterator[str]:
    """Yield lines on a result: what it is, what made it, and as an indented tree what it was made from."""
    job, file = crate.maker(id_), crate.entities[id_]
    assert job
    yield f"{crate.results / id_}: {crate.state(id_)}"
    yield f"  {int(file['contentSize']):,} bytes, SHA-256 {file['sha256']}"
    yield f"  made by {job['name']}, {job['startTime']} to {job['endTime']}"
    yield f"  code {crate.entities[job['instrument']['@id']]['softwareVersion']}"
    yield from (f"  {key}: {value}" for key, value in crate.value(f"{job['@id']}/settings").items())
    yield "  made from:"
    yield from _tree(crate, job, 2, set())


def _tree(crate: Crate, job: Entity, depth: int, shown: set[str]) -> Iterator[str]:
    for id_ in (key for key in references([job["object"]]) if crate.entities[key]["@type"] != "PropertyValue"):
        maker = crate.maker(id_)
        by = f"by {maker['name']}, " if maker else ""
        again = ", see above" if maker and id_ in shown else ""
        yield f"{'  ' * depth}{id_.lstrip('#')}: {by}{crate.state(id_)}{again}"
        if maker and id_ not in shown:
            yield from _tree(crate, maker, depth + 1, shown)
        shown.add(id_)


def main(path: Path) -> int:
    """Print what made a file; return 0, or 1 if it or something behind it changed since."""
    lines = list(describe(*find_result(path)))
    print(*lines, sep="\n")
    return int(any(CHANGED in line for line in lines))


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except DataError as error:
        sys.exit(str(error))
