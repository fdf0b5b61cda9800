"""Take a released or a user's own checkpoint as a scenario's."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cerraseg.config.recipes import Recipe
from cerraseg.config.scenario import AXES, Scenario
from cerraseg.core.content import content
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
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
    output: Path,
    origin: Path,
) -> None:
    """Check a checkpoint file against a scenario and write it as a CerraSeg checkpoint.

    Args:
        file: a CerraSeg checkpoint, or a bare state dict: of segmentation-models-pytorch's U-Net, or of TransNuSeg
            under the published names. Only tensors and plain values are unpickled.
        scenario: what the file should be.
        recipe: whether the input of a bare state dict's model is normalised.
        settings: of a bare U-Net; a TransNuSeg's dimensions follow from the shapes.
        statistics: of this run's training split, for a recipe that normalises.
        output: checkpoint to write.
        origin: JSON to write: name, bytes and SHA-256 of ``file``.

    Raises:
        DataError: if the file is unsafe, no checkpoint, or another scenario's.
    """
    found = read_parameters(file)
    try:
        if "blueprint" in found:
            blueprint, parameters = Blueprint.from_checkpoint(found["blueprint"]), found["parameters"]
            _check_fit(file, scenario, blueprint)
        else:
            if scenario.model not in AXES["model"]:
                raise DataError(f"{file}: a bare state dict; expected a CerraSeg checkpoint for {scenario.id}")
            blueprint, parameters = make_blueprint(scenario, recipe, settings, statistics), found
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
