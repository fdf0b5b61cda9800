"""Notes that jobs leave beside their logs, and the RO-Crate that a run makes of them: names, entities, reading."""

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cerraseg.core.content import content
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import SOURCE
from cerraseg.core.versions import versions

NAME = "ro-crate-metadata.json"
RUN, CONFIGURATION = "#run", "#configuration"
STATUS = "http://schema.org/{}ActionStatus"

Entity = dict[str, Any]


def now() -> str:
    """Return the present time, as crates write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_note(job: Any, began: str) -> None:
    """Write what a Snakemake job did since ``began``, and its inputs, beside its log."""
    if not hasattr(job, "rule"):  # a benchmark or a test that runs the script without Snakemake
        return
    results, script = Path(job.config["results"]), f"workflow/scripts/{job.rule}.py"
    id_ = "#" + "/".join((job.rule, *dict(job.wildcards.items()).values()))
    params = {key: value for key, value in job.params.items() if key != "storage"}  # which may hold a password
    version = params.pop("code")
    given = {"params": params, "device": _device(), "threads": job.threads, "versions": versions()}
    settings = property_value(f"{id_}/settings", "settings", given)
    code = {"@id": f"#{script}-{version}", "@type": "SoftwareApplication", "name": script, "softwareVersion": version}
    inputs = {identifier(Path(path), results): str(path) for path in sorted(set(job.input))}
    outputs = [file_entity(identifier(Path(path), results), Path(path)) for path in sorted(set(job.output))]
    action = {
        "@id": id_,
        "@type": "CreateAction",
        "name": id_[1:],
        "instrument": {"@id": code["@id"]},
        "object": [{"@id": key} for key in (*inputs, settings["@id"])],
        "result": [{"@id": output["@id"]} for output in outputs],
        "actionStatus": STATUS.format("Completed"),
        "startTime": began,
        "endTime": now(),
    }
    note = {"@graph": [action, code, settings, *outputs], "inputs": inputs}
    with atomic_write(Path(job.log[0]).with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(note, indent=1, default=str) + "\n", encoding="utf-8")


def file_entity(id_: str, path: Path) -> Entity:
    """Describe a file or folder; size and hash only where it is there."""
    entity = {"@id": id_, "@type": "Dataset" if path.is_dir() else "File", "name": id_.lstrip("#")}
    if not path.exists():
        return entity
    found = content(path)
    return entity | {"contentSize": str(found.bytes), "sha256": found.sha256}


def property_value(id_: str, name: str, value: Any) -> Entity:
    """Describe a value, as JSON."""
    text = json.dumps(value, sort_keys=True, default=str)
    return {"@id": id_, "@type": "PropertyValue", "name": name, "value": text}


def read_crate(results: Path) -> dict[str, Entity]:
    """Return the entities of the crate of a results folder by id; none where there is no crate."""
    try:
        graph = json.loads((results / NAME).read_text(encoding="utf-8"))["@graph"]
        return {entity["@id"]: entity for entity in graph}
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # spoilt by hand: what is there is hashed anew
        return {}


def references(values: Iterable[Any]) -> list[str]:
    """Return the ids that values of properties refer to, each once."""
    entries = (entry for value in values for entry in (value if isinstance(value, list) else [value]))
    return list(dict.fromkeys(entry["@id"] for entry in entries))


def identifier(path: Path, results: Path) -> str:
    """Return the id of a file: its path in the results folder; of one from elsewhere a name after ``#``."""
    whole = path.absolute()
    if whole.is_relative_to(results.absolute()):
        return whole.relative_to(results.absolute()).as_posix() + "/" * whole.is_dir()
    for parent in (Path.cwd(), SOURCE):
        if whole.is_relative_to(parent):
            return f"#{whole.relative_to(parent).as_posix()}"
    return f"#.../{whole.name}"


def _device() -> str:
    """Return what a job computes on; torch is asked only where the job has loaded it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return "cpu"
    cuda = torch.cuda.is_available()
    return str(torch.cuda.get_device_name(0) if cuda else torch.backends.cpu.get_cpu_capability())
