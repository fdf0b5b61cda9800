"""Records of jobs: what made a file, from what, and by which code, settings, versions, seed and device.

A step writes its record when all else is there. Equal work gives equal bytes: no time, host, user or absolute path is
in it, and a results folder may lie anywhere. Paths in it begin with :data:`RESULTS`, or are relative to the working
folder or to CerraSeg's own; of one from elsewhere only the name is kept.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cerraseg.core.files import atomic_write
from cerraseg.core.layout import SOURCE
from cerraseg.core.versions import versions
from cerraseg.orchestration.provenance.content import Content, content

RESULTS = "{results}"
"""Stands for the results folder."""

FOLDER = "provenance"
"""Where the records lie in the results folder."""

CONFIGURATIONS = f"{FOLDER}/configurations"
"""Where the configurations lie that jobs ran under, by their digest."""

DATA = {"patches": f"{RESULTS}/patches.parquet", "packed": f"{RESULTS}/packed/header.json"}
"""What of the data a record repeats: digests of the patch table, and of the header, which holds one of all pixels."""

_ELSEWHERE = "..."


def named(path: str | Path, results: Path) -> str:
    """What a record calls a path."""
    whole = _whole(path)
    for start, folder in ((f"{RESULTS}/", results), ("", Path()), ("", SOURCE)):
        if whole.is_relative_to(parent := _whole(folder)):
            return (start + whole.relative_to(parent).as_posix()).removesuffix("/.")
    return f"{_ELSEWHERE}/{whole.name}"


def _whole(path: str | Path) -> Path:
    """The absolute path, through links as they are named."""
    return Path(os.path.normpath(Path(path).absolute()))


def plain(value: Any, results: Path) -> Any:
    """A value of the configuration or of a rule's parameters as a record holds it: paths named."""
    if isinstance(value, Mapping):
        return {str(key): plain(part, results) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part, results) for part in value]
    if not isinstance(value, str):
        return value if value is None or isinstance(value, bool | int | float) else str(value)
    if "://" in value:
        return value
    path = Path(value)
    return named(path, results) if path.is_absolute() or path.is_relative_to(results) else value


def digest(configuration: Mapping[str, Any]) -> str:
    """Digest of a complete configuration, wherever its results lie."""
    told = plain(configuration, Path(configuration["results"]))
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def keep(configuration: Mapping[str, Any]) -> None:
    """Write the complete configuration that a run begins with beside the records, for a later reproduction.

    Its paths are as given.
    """
    path = Path(configuration["results"], CONFIGURATIONS, f"{digest(configuration)}.json")
    text = json.dumps(configuration, indent=2, sort_keys=True) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Record:
    """A record as read.

    Attributes:
        path: its file.
        written: when its inode last changed, ns.
        fields: what it says, see :func:`write`.
    """

    path: Path
    written: int
    fields: dict[str, Any]

    def find(self, name: str, *kinds: str) -> Content | None:
        """What it says of a file among its ``outputs``, its ``inputs`` or both."""
        for entry in (entry for kind in kinds for entry in self.fields[kind] if entry["path"] == name):
            return Content(entry["bytes"], entry["sha256"])
        return None


def read(results: Path) -> list[Record]:
    """All records of a results folder, the youngest first; what is no record is passed over."""
    found = []
    for path in (results / FOLDER).rglob("*.json"):
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            if _is_record(fields):
                found.append(Record(path, path.stat().st_ctime_ns, fields))
        except (OSError, ValueError, RecursionError):
            continue  # another job is about to write it, or it was spoilt by hand: its outputs are hashed then
    return sorted(found, key=lambda record: -record.written)


def _is_record(fields: Any) -> bool:
    """Whether it has the form of a record: no job that has worked for hours may fail by another's."""
    form = {
        **dict.fromkeys(("rule", "configuration", "code", "device"), str),
        **dict.fromkeys(("wildcards", "data", "params", "seeds", "versions"), dict),
        **dict.fromkeys(("outputs", "inputs"), list),
        "threads": int,
    }
    entry = {"path": str, "bytes": int, "sha256": str}
    return (
        _has(fields, form)
        and all(_has(found, entry) for found in (*fields["outputs"], *fields["inputs"]))
        and all(_has(fields[name], dict.fromkeys(fields[name], str)) for name in ("wildcards", "data", "versions"))
        and all(
            isinstance(seeds, list) and all(isinstance(s, int) for s in seeds) for seeds in fields["seeds"].values()
        )
    )


def _has(found: Any, form: Mapping[str, type]) -> bool:
    return isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in form.items())


def maker(records: list[Record], name: str) -> Record | None:
    """The record of the job that made a file: the youngest that says so, as a file may have changed hands."""
    return next((record for record in records if record.find(name, "outputs")), None)


def changed(job: Any) -> list[str]:
    """A line for each input of a job that is no longer what its maker wrote, or is gone; all of them are read."""
    results = Path(job.config["results"])
    records, lines = read(results), []
    for path in sorted(set(job.input)):
        name = named(path, results)
        record = maker(records, name)
        if record and not (Path(path).exists() and content(Path(path)) == record.find(name, "outputs")):
            rule = record.fields["rule"]
            lines.append(f"{path}: not what the step {rule} wrote; remove it and give the same command again")
    return lines


def write(job: Any) -> None:
    """Write the record of a Snakemake ``job``, if it has an output of the name ``provenance``.

    It holds ``rule``, ``wildcards``, ``outputs`` and ``inputs`` (path, bytes, SHA-256), ``params``, digests of the
    whole ``configuration``, of the ``code`` and of the ``data`` (see :data:`DATA`), all ``seeds`` behind the outputs,
    ``device``, ``threads`` and ``versions``.
    """
    target = vars(job.output).get("provenance")
    if target is None:
        return
    results = Path(job.config["results"])
    records = read(results)
    outputs = [_entry(path, results, content(Path(path))) for path in job.output if path != target]
    inputs = [_entry(path, results, _known(Path(path), results, records)) for path in sorted(set(job.input))]
    params = plain(dict(job.params.items()), results)
    made_by = [record for entry in inputs if (record := maker(records, entry["path"]))]
    fields = {
        "rule": job.rule,
        "wildcards": dict(job.wildcards.items()),
        "outputs": outputs,
        "inputs": inputs,
        "data": _data([*inputs, *outputs], made_by),
        "configuration": digest(job.config),
        "code": params.pop("code"),
        "params": params,
        "seeds": _seeds(job.rule, params, made_by),
        "device": _device(job.resources.get("gpu", 0) * job.resources.get("nodes", 1)),
        "threads": job.threads,
        "versions": versions(),
    }
    with atomic_write(target) as temporary:
        temporary.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def _entry(path: str, results: Path, found: Content) -> dict[str, Any]:
    return {"path": named(path, results), **asdict(found)}


def _known(path: Path, results: Path, records: list[Record]) -> Content:
    """Content of an input: that which a record of a job says, if nothing was written there since; else it is read.

    So large arrays are hashed once. The time of the inode tells, which no copy or renaming keeps.
    """
    name = named(path, results)
    if not name.startswith(_ELSEWHERE):
        parts = [path, *(path.rglob("*") if path.is_dir() else ())]
        changed = max(state.st_ctime_ns for part in parts for state in (part.stat(), part.lstat()))
        for record in (record for record in records if record.written >= changed):
            if found := record.find(name, "outputs", "inputs"):
                return found
    return content(path)


def _data(entries: list[dict[str, Any]], made_by: list[Record]) -> dict[str, str]:
    """Digests of :data:`DATA`: of the job's own files, else as those say who made its inputs."""
    data: dict[str, str] = {}
    for record in made_by:
        data |= record.fields["data"]
    found = {entry["path"]: entry["sha256"] for entry in entries}
    data |= {key: found[path] for key, path in DATA.items() if path in found}
    return dict(sorted(data.items()))


def _seeds(rule: str, params: dict[str, Any], made_by: list[Record]) -> dict[str, list[Any]]:
    """Every seed by rule and parameter, ``train.scenario.seed``: the job's own and those behind its inputs."""
    seeds: dict[str, set[Any]] = {}
    own = {f"{rule}.{key}": [value] for key, value in _named_seed(params)}
    for found in (own, *(record.fields["seeds"] for record in made_by)):
        for key, values in found.items():
            seeds.setdefault(key, set()).update(values)
    return {key: sorted(values) for key, values in sorted(seeds.items())}


def _named_seed(params: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in params.items() if isinstance(params, dict) else ():
        if (key == "seed" or key.endswith("_seed")) and isinstance(value, int):
            yield within + key, value
        yield from _named_seed(value, f"{within}{key}.")


def _device(gpus: int) -> str:
    """What a step computes on; of a step that has torch, on a CPU, also the instructions that torch takes.

    Light steps never load torch, so it is looked up, not imported.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return "cpu"
    if gpus and torch.cuda.is_available():
        return f"{gpus} x {torch.cuda.get_device_name(0)}"
    return f"cpu, {torch.backends.cpu.get_cpu_capability()}"
