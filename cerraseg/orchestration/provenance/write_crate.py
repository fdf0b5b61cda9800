"""Write one RO-Crate per results folder: what made each file, from what, by which code, settings and versions.

At the end of a run the notes of its jobs become ``ro-crate-metadata.json``, by the Workflow Run Crate profile.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rocrate.rocrate import ROCrate

from cerraseg.core.files import atomic_write
from cerraseg.core.layout import SOURCE
from cerraseg.core.versions import commit
from cerraseg.orchestration.provenance.crate import (
    CONFIGURATION,
    NAME,
    RUN,
    STATUS,
    Entity,
    file_entity,
    now,
    property_value,
    read_crate,
    references,
)

PROFILES = {f"https://w3id.org/ro/wfrun/{name.lower()}/0.5": f"{name} Run Crate" for name in ("Process", "Workflow")}
_CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"


def write_crate(config: Mapping[str, Any], began: str, completed: bool) -> None:
    """Gather the notes of a results folder and its former crate into its crate.

    ``config`` is that of the run, which ``began`` then and ``completed`` if all of its jobs ended well.
    """
    results = Path(config["results"])
    entities = _entities(results)
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
    crate.add_jsonld(property_value(CONFIGURATION, "configuration", without_password))
    run = crate.add_action(workflow, RUN, properties={"name": "run", "startTime": began, "endTime": now()})
    run["actionStatus"] = STATUS.format("Completed" if completed else "Failed")
    read = references(action.get("object", []) for action in entities.values())
    inputs = [id_ for id_ in read if entities[id_]["@type"] in ("File", "Dataset") and id_ not in made]
    run["object"], run["result"] = [{"@id": id_} for id_ in (CONFIGURATION, *inputs)], [{"@id": id_} for id_ in made]
    crate.root_dataset["mentions"] = [{"@id": RUN}]
    with atomic_write(results / NAME) as temporary:
        temporary.write_text(json.dumps(crate.metadata.generate(), indent=1) + "\n", encoding="utf-8")


def _entities(results: Path) -> dict[str, Entity]:
    """Return the jobs whose outputs are left and are no other's by now, and what they refer to."""
    former = read_crate(results)
    notes = [json.loads(path.read_text(encoding="utf-8")) for path in (results / "logs").rglob("*.json")]
    notes = [note for note in notes if "@graph" in note]  # not those of an earlier version
    for job in former.values():
        if job["@type"] == "CreateAction" and job["@id"] != RUN:
            notes.append({"@graph": [job, *(former[id_] for id_ in _parts(job))], "inputs": {}})
    notes.sort(
        key=lambda note: str(note["@graph"][0]["endTime"])
    )  # of a note and the crate made of it, that comes last
    known = {entity["@id"]: entity for note in notes for entity in note["@graph"]}
    makers = {id_: note["@graph"][0] for note in notes for id_ in references([note["@graph"][0]["result"]])}
    kept: dict[str, Entity] = {}
    read: dict[str, str] = {}
    for note in notes:
        job = note["@graph"][0]
        made = references([job["result"]])
        if all(makers[id_] is job and (id_.startswith("#") or (results / id_).exists()) for id_ in made):
            kept[job["@id"]] = job
            read |= note["inputs"]
    known |= {id_: file_entity(id_, Path(path)) for id_, path in read.items() if id_ not in makers}
    return {id_: known[id_] for job in kept.values() for id_ in _parts(job)} | kept


def _parts(job: Entity) -> list[str]:
    return references(job[key] for key in ("instrument", "object", "result"))
