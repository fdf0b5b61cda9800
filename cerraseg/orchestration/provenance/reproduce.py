"""Make a result again from the raw source, and compare.

``python -m cerraseg.orchestration.provenance.reproduce <file>``

Snakemake makes it in a working folder of its own, by the configuration and with the threads that the first making had,
and by the code that is here now. Patches, scenes and checkpoints of the configuration are read where they lie; a
simulated landscape is simulated anew.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cerraseg.core.errors import CerraSegError, DataError
from cerraseg.core.layout import SOURCE
from cerraseg.orchestration.provenance import provenance, records
from cerraseg.orchestration.provenance.content import content
from cerraseg.orchestration.provenance.provenance import Result, differences, job
from cerraseg.orchestration.provenance.records import Record


def again(result: Result, folder: Path, arguments: Sequence[str] = ()) -> Result:
    """Make a result from the raw source in ``folder``, with further ``arguments`` of Snakemake.

    Raises:
        DataError: if its configuration was not kept.
        CerraSegError: if a job fails.
    """
    configuration = _configuration(result)
    for path in _sources(configuration):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(path.absolute())
    configuration |= {"results": "results"}
    (folder / "config.json").write_text(json.dumps(configuration), encoding="utf-8")
    threads = {record.fields["rule"]: record.fields["threads"] for record in result.lineage()}
    target = f"results/{result.path.relative_to(result.results)}"
    command: list[str | Path] = [
        *(sys.executable, "-m", "snakemake", "--snakefile", SOURCE / "Snakefile", "--directory", folder),
        *("--configfile", folder / "config.json", "--workflow-profile", SOURCE / "profiles/default"),
        *("--cores", "all", "--set-threads", *(f"{rule}={count}" for rule, count in threads.items())),
        *(*arguments, "--", target),
    ]
    if subprocess.run(command, cwd=SOURCE, check=False).returncode:
        raise CerraSegError(f"{result.name} could not be made again: a job failed, its message stands above")
    return provenance.find(folder / target)


def _configuration(result: Result) -> dict[str, Any]:
    file = result.results / records.CONFIGURATIONS / f"{result.maker.fields['configuration']}.json"
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{file}: missing; expected the configuration that {result.name} was made under. git keeps it with the "
            "records: get it from where they came from, or make the result anew"
        ) from None
    made = Path(found["simulate"]["folder"])
    if found["source"] == "simulate" and (made.is_absolute() or ".." in made.parts):
        raise DataError(
            f"simulate.folder: {made}: what is there would be simulated over; expected a folder below the working one: "
            "make the result anew with such a folder"
        )
    return found


def _sources(configuration: Mapping[str, Any]) -> Iterator[Path]:
    """What a configuration reads of the working folder: in another one, links stand for it."""
    roots = configuration.get("roots", [])
    named = [
        *([roots] if isinstance(roots, str) else roots),
        *(configuration[section]["folder"] for section in ("kaggle", "released")),
        *configuration["checkpoints"].values(),
        *(model["pretrained"] for model in configuration["models"].values() if "pretrained" in model),
        *(scene[key] for scene in configuration["scenes"] for key in ("msi", "sar", "reference") if key in scene),
    ]
    made = [configuration["results"]]
    if configuration["source"] == "simulate":
        made.append(configuration["simulate"]["folder"])
    for path in sorted(map(Path, filter(None, named)), key=lambda path: len(path.parts)):
        if not path.is_absolute() and path.exists() and not any(path.is_relative_to(folder) for folder in made):
            made.append(str(path))  # or lies in a folder that is linked
            yield path


def compare(old: Result, new: Result) -> tuple[bool, list[str]]:
    """Whether a result and its second making are the same, bytes or a checkpoint's parameters, and lines that tell."""
    first, second = content(old.path), content(new.path)
    said = old.maker.find(old.name, "outputs")
    equal = first == second
    lines = [f"{old.path}: {'identical' if equal else 'DIFFERS'}: SHA-256 {first.sha256}, made again {second.sha256}"]
    if first != said:
        lines.append("it was changed after it was made, as its record says of it otherwise")
    if not equal and old.path.suffix == ".pt" and _same_parameters(old.path, new.path):
        equal = True
        lines.append("the files differ, but their parameters are equal, bit by bit")
    return equal, [*lines, *_first_difference(old, new), *_causes(old, new)]


def _pairs(old: Result, new: Result) -> Iterator[tuple[Record, Record]]:
    """Records of the same jobs, those of the sources first."""
    found = {job(record): record for record in new.lineage()}
    yield from ((record, found[job(record)]) for record in old.lineage() if job(record) in found)


def _first_difference(old: Result, new: Result) -> list[str]:
    """What in the lineage came out in another way first."""
    for before, after in _pairs(old, new):
        names = [entry["path"] for entry in before.fields["outputs"]]
        if other := [name for name in names if before.find(name, "outputs") != after.find(name, "outputs")]:
            return [f"the first to come out otherwise: {', '.join(other)} by {job(before)}"]
    return ["nothing in its lineage came out otherwise than the records say"]


def _causes(old: Result, new: Result) -> list[str]:
    """In what the two makings of the lineage differ, and in which jobs."""
    found: dict[str, list[str]] = {}
    for before, after in _pairs(old, new):
        for difference in differences(before, after):
            found.setdefault(difference, []).append(job(before))
    told = [f"  {difference} ({', '.join(jobs)})" for difference, jobs in found.items()]
    return ["code, versions, device, threads or parameters differ:", *told] if told else []


def _same_parameters(first: Path, second: Path) -> bool:
    import torch  # here, as nothing else in this module needs it

    parts = [torch.load(path, map_location="cpu", weights_only=True)["parameters"] for path in (first, second)]
    return parts[0].keys() == parts[1].keys() and all(torch.equal(parts[0][key], parts[1][key]) for key in parts[0])


def main() -> int:
    """Make the file that the command line names again and compare; 0 if it comes out identical, else 1."""
    parser = argparse.ArgumentParser(prog="python -m cerraseg.orchestration.provenance.reproduce", description=__doc__)
    parser.add_argument("result", type=Path, help="a file or folder of a results folder")
    known, further = parser.parse_known_args()
    top = Path(tempfile.mkdtemp(prefix="cerraseg-reproduce-"))
    folder, equal = Path(top, *Path.cwd().parts[1:]), False  # as deep as this one, so that ../data stays in it
    try:
        old = provenance.find(known.result)
        folder.mkdir(parents=True)
        equal, lines = compare(old, again(old, folder, further))
        print("\n".join(lines))
    except CerraSegError as error:
        print(error, file=sys.stderr)
    if equal or not folder.exists():
        shutil.rmtree(top)
    else:
        print(f"what was made again lies in {folder}", file=sys.stderr)
    return int(not equal)


if __name__ == "__main__":
    sys.exit(main())
