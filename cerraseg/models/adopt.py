"""Take a released or a user's own checkpoint as a scenario's."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cerraseg.config.dataset import Dataset
from cerraseg.config.recipes import Recipe
from cerraseg.config.scenario import AXES, PUBLISHED_MODELS, Scenario
from cerraseg.core.content import content
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.data.scale import describe, scale_fault
from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Blueprint, build_model, make_blueprint
from cerraseg.models.state_dict import read_parameters
from cerraseg.models.transnuseg import dimensions, import_published


def adopt(
    file: Path,
    scenario: Scenario,
    recipe: Recipe,
    settings: Mapping[str, Any],
    statistics: Mapping[str, Any],
    dataset: Dataset,
    output: Path,
    origin: Path,
) -> None:
    """Check a checkpoint file against a scenario and write it as a CerraSeg checkpoint.

    Args:
        file: a CerraSeg checkpoint, or a bare state dict: of segmentation-models-pytorch's U-Net, or of TransNuSeg
            under the published names. Only tensors and plain values are unpickled.
        scenario, recipe, settings, dataset: what the file should be; of a bare state dict, the recipe tells whether the
            input is normalised. A bare TransNuSeg's settings follow from the shapes.
        statistics: contents of ``statistics.json``, of this run's training split.
        output, origin: checkpoint to write, and JSON with name, bytes and SHA-256 of ``file``.

    Raises:
        DataError: if the file is unsafe, no checkpoint, another scenario's, or of data with other bands, classes, patch
            size or scale.
    """
    found = read_parameters(file)
    try:
        if "blueprint" in found:
            blueprint, parameters = Blueprint.from_checkpoint(found["blueprint"]), found["parameters"]
            _check_fit(file, scenario, blueprint)
            _check_data(file, blueprint, dataset)
        else:
            if scenario.model not in PUBLISHED_MODELS:
                raise DataError(f"{file}: a bare state dict; expected a CerraSeg checkpoint for {scenario.id}")
            blueprint, parameters = make_blueprint(scenario, recipe, settings, statistics, dataset), found
            if scenario.model == "transnuseg":
                own = {**dimensions(found), "sharing": "published"}
                own = {key: own[key] for key in sorted(own) if key not in ("channels", "classes")}
                blueprint, parameters = replace(blueprint, settings=own), import_published(found)
        build_model(blueprint, parameters)
    except DataError:
        raise
    except Exception as error:  # names and shapes of a stranger's file may raise anything
        shown = "\n".join(str(error).splitlines()[:6])
        section = scenario.model if scenario.model in AXES["model"] else f"models.{scenario.model}"
        raise DataError(
            f"{file}: its names or shapes do not fit {scenario.id}: {shown}\n"
            f"Set the section {section} of the configuration to what the file was trained with"
        ) from None
    _check_scale(file, blueprint, statistics["bands"])
    facts = {"file": file.name, **asdict(content(file))}
    checkpoint.save(output, blueprint, parameters, {"scenario": scenario.id, "origin": facts})
    with atomic_write(origin) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")
    log.info("%s taken as %s", file.name, scenario.id)


def _check_fit(file: Path, scenario: Scenario, blueprint: Blueprint) -> None:
    if (blueprint.model, blueprint.modality, blueprint.level) != (scenario.model, scenario.modality, scenario.level):
        raise DataError(
            f"{file} holds a {blueprint.model} for {blueprint.modality} and {blueprint.level}; expected "
            f"{scenario.model} for {scenario.modality} and {scenario.level} ({scenario.id})"
        )


def _check_data(file: Path, blueprint: Blueprint, dataset: Dataset) -> None:
    theirs, ours = (_facts(data, blueprint) for data in (blueprint.described, dataset))
    for fact in dict.fromkeys([*ours, *theirs]):
        found, expected = theirs.get(fact), ours.get(fact)
        if found != expected:
            raise DataError(
                f"{file} was trained on other data, {blueprint.described.name}: {fact} {found}; expected {expected}, "
                f"as in {dataset.name}: take a checkpoint of this data, or train the scenario here"
            )


def _facts(data: Dataset, blueprint: Blueprint) -> dict[str, str]:
    """Return what the data of a model and of a run must agree in, as text."""
    level = blueprint.level
    facts = {"bands": data.bands(blueprint.modality), "class ids": data.levels[level].ids}
    for above, line in data.ancestors(level).items() if blueprint.hierarchical else ():
        facts[f"ids of ancestors at {above}"] = tuple(data.levels[above].ids[k] for k in line)
    listed = {fact: ", ".join(map(str, values)) for fact, values in facts.items()}
    return {**listed, "patch size": str(data.patch_size)}


def _check_scale(file: Path, blueprint: Blueprint, bands: Mapping[str, Mapping[str, float]]) -> None:
    """Check that a checkpoint's training had the units of this run's; one without statistics passes."""
    for sensor in blueprint.described.sensors_of(blueprint.modality) if blueprint.statistics else ():
        ours, trained = ({band: each[band] for band in sensor.bands} for each in (bands, blueprint.statistics))
        if fault := scale_fault(ours, trained):
            raise DataError(
                f"{file} was trained on {sensor.name} bands in other units than this run's: {fault}. Means (and "
                f"ranges) of this run and of the checkpoint's training: {describe(ours, trained)}. Expected the same "
                "units: convert the images to those of the checkpoint, or train the scenario here"
            )
