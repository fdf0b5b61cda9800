"""Write one RO-Crate per results folder: what made each file, from what, by which code, settings and versions.

At the end of a run the notes of its jobs become ``ro-crate-metadata.json``, by the Workflow Run Crate profile. A file
is hashed in the run that made it, so that a later change shows.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rocrate.rocrate import ROCrate

from cerraseg.core.content import content
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import SOURCE
from cerraseg.core.versions import commit
from cerraseg.orchestration.provenance.crate import (
    CONFIGURATION,
    NAME,
    RUN,
    Entity,
    identifier,
    now,
    read_crate,
    references,
)

PROFILES = {f"https://w3id.org/ro/wfrun/{name.lower()}/0.5": f"{name} Run Crate" for name in ("Process", "Workflow")}
_CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
_KINDS = ("inputs", "outputs")
_STATUS = "http://schema.org/{}ActionStatus"


def write_crate(config: Mapping[str, Any], began: str, completed: bool) -> None:
    """Gather the notes of a results folder and its former crate into its crate.

    ``config`` is that of the run, which ``began`` then and ``completed`` if all of its jobs ended well.
    """
    results = Path(config["results"])
    entities = _entities(results, read_crate(results))
    made = references(action["result"] for action in entities.values() if action["@type"] == "CreateAction")
    crate = ROCrate(version="1.1")
    crate.name, crate.description = "CerraSeg", f"Results of a run of CerraSeg, code {commit(SOURCE)}"
    crate.license = "see the licences of the data that the run read"
    crate.metadata.extra_contexts.append(_CONTEXT)
    workflow = crate.add_workflow(dest_path="Snakefile", main=True, lang="snakemake", properties={"name": "CerraSeg"})
    for id_, name in PROFILES.items():
        crate.add_jsonld({"@id": id_, "@type": "CreativeWork", "name": name, "version": "0.5"})
    crate.root_dataset["conformsTo"] = [{"@id": id_} for id_ in PROFILES]
    for entity in entities.values():
        if entity["@type"] == "File" and not entity["@id"].startswith("#"):
            crate.add_file(dest_path=entity["@id"], properties=entity)
        elif entity["@type"] == "Dataset":
            crate.add_dataset(dest_path=entity["@id"], properties=entity)
        else:
            crate.add_jsonld(entity)
    without_password = {**config, "tune": {**config["tune"], "storage": ""}}
    crate.add_jsonld(_value(CONFIGURATION, "configuration", without_password))
    run = crate.add_action(workflow, RUN, properties={"name": "run", "startTime": began, "endTime": now()})
    run["actionStatus"] = _STATUS.format("Completed" if completed else "Failed")
    read = references(action.get("object", []) for action in entities.values())
    inputs = [id_ for id_ in read if entities[id_]["@type"] in ("File", "Dataset") and id_ not in made]
    run["object"], run["result"] = [{"@id": id_} for id_ in (CONFIGURATION, *inputs)], [{"@id": id_} for id_ in made]
    crate.root_dataset["mentions"] = [{"@id": RUN}]
    with atomic_write(results / NAME) as temporary:
        temporary.write_text(json.dumps(crate.metadata.generate(), indent=1) + "\n", encoding="utf-8")


def _entities(results: Path, former: Mapping[str, Entity]) -> dict[str, Entity]:
    """Return the jobs whose outputs are left and what they refer to; hash what was made since the former crate."""
    jobs = {id_: entity for id_, entity in former.items() if entity["@type"] == "CreateAction" and id_ != RUN}
    found: dict[str, Entity] = {}
    read: dict[str, Path] = {}
    notes = [json.loads(file.read_text(encoding="utf-8")) for file in (results / "logs").rglob("*.json")]
    for note in sorted(notes, key=lambda note: str(note["endTime"])):
        inputs, outputs = ({identifier(Path(path), results): Path(path) for path in note[kind]} for kind in _KINDS)
        rivals = [id_ for id_, job in jobs.items() if outputs.keys() & set(references([job["result"]]))]
        known = any(jobs[id_]["endTime"] >= note["endTime"] for id_ in rivals)
        if known or not all(map(Path.exists, outputs.values())):
            continue
        job, *described = _job(note, inputs, outputs)
        jobs = {id_: entity for id_, entity in jobs.items() if id_ not in rivals} | {job["@id"]: job}
        found |= {entity["@id"]: entity for entity in described}
        found |= {id_: _file(id_, path) for id_, path in outputs.items()}
        read |= inputs
    for id_, path in read.items():
        if id_ not in found:
            made_before = id_ in former and not id_.startswith("#")
            found[id_] = former[id_] if made_before else _file(id_, path)
    for id_, job in list(jobs.items()):
        needed = references(job[key] for key in ("instrument", "object", "result"))
        if all(key.startswith("#") or (results / key).exists() for key in references([job["result"]])):
            found |= {key: former[key] for key in needed if key not in found}
        else:
            del jobs[id_]
    return found | jobs


def _job(note: Mapping[str, Any], inputs: Iterable[str], outputs: Iterable[str]) -> tuple[Entity, Entity, Entity]:
    """Return a job, the code that it ran, and its settings."""
    id_ = "#" + "/".join((note["rule"], *note["wildcards"].values()))
    script = f"workflow/scripts/{note['rule']}.py"
    code = {"@id": f"#{script}-{note['code']}", "@type": "SoftwareApplication", "name": script}
    settings = _value(f"{id_}/settings", "settings", note["settings"])
    job = {
        "@id": id_,
        "@type": "CreateAction",
        "name": id_[1:],
        "instrument": {"@id": code["@id"]},
        "object": [{"@id": key} for key in (*inputs, settings["@id"])],
        "result": [{"@id": key} for key in outputs],
        "actionStatus": _STATUS.format("Completed"),
        "startTime": note["startTime"],
        "endTime": note["endTime"],
    }
    return job, code | {"softwareVersion": note["code"]}, settings


def _file(id_: str, path: Path) -> Entity:
    entity = {"@id": id_, "@type": "Dataset" if path.is_dir() else "File", "name": id_.lstrip("#")}
    if not path.exists():
        return entity
    found = content(path)
    return entity | {"contentSize": str(found.bytes), "sha256": found.sha256}


def _value(id_: str, name: str, value: Any) -> Entity:
    return {"@id": id_, "@type": "PropertyValue", "name": name, "value": json.dumps(value, sort_keys=True)}
