"""The section ``models`` of a configuration, checked as far as possible without torch."""

import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from cerraseg.config.scenario import AXES, RELEASED, Scenario
from cerraseg.config.suggestions import expand_path, nearest
from cerraseg.core.errors import ConfigError

_GIVEN = {
    "encoder_name": "give it as encoder",
    "encoder_depth": "give it as depth",
    "encoder_weights": "no model hub is asked; give a file as pretrained",
    "in_channels": "it follows from the scenario's modality",
    "classes": "it follows from the scenario's level",
    "activation": "models return logits",
    "aux_params": "a model has one output",
    **dict.fromkeys(
        ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"),
        "timm would fetch or read parameters by itself; give a file as pretrained",
    ),
}
"""Arguments of segmentation-models-pytorch and timm that may not be given as options → why."""


def complete_models(models: Mapping[str, Mapping[str, Any]], chosen: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Complete the section ``models`` with expanded paths; ``chosen`` are the models that the scenarios name.

    Raises:
        ConfigError: if a name or an option is not allowed, a file is absent, or a chosen model is nowhere described.
    """
    found = {name: _checked(f"models.{name}", name, given) for name, given in models.items()}
    for name in chosen:
        if name not in (known := [*AXES["model"], *models]):
            raise ConfigError(f"scenarios.models: {name!r} is not allowed{nearest(name, known)}")
    return found


def _checked(where: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    if name in AXES["model"] or not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ConfigError(f"{where}: expected a new name of small letters, digits and _; rename it")
    try:
        check_origin(given["encoder"], given["options"])
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None
    if given["fusion"] == "late" and given["architecture"] == "DPT":
        raise ConfigError(
            f"{where}.fusion: late joins feature maps, but DPT's decoder also takes tokens of the encoder; expected "
            "another architecture, or fusion: early"
        )
    if "pretrained" not in given:
        return dict(given)
    file = expand_path(f"{where}.pretrained", given["pretrained"])
    if not Path(file).is_file():
        raise ConfigError(f"{where}.pretrained: {file}: no such file; expected an encoder's parameters")
    return {**given, "pretrained": file}


def check_origin(encoder: str, options: Iterable[str] = ()) -> None:
    """Refuse an encoder or option, also of a stranger's checkpoint, by which the libraries ask a hub or read a file.

    Raises:
        ConfigError: it begins with the key at fault.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", encoder):  # timm takes hf-hub:someone/model and local-dir:folder
        raise ConfigError(f"encoder: {encoder!r} is no encoder's name; {_GIVEN['encoder_weights']}")
    for option in options:
        if option in _GIVEN:
            raise ConfigError(f"options.{option}: not an option: {_GIVEN[option]}; take it out")


def check_scenarios(
    models: Mapping[str, Mapping[str, Any]], scenarios: Iterable[Scenario], adopted: Container[str]
) -> None:
    """Check the scenarios of custom models; ``adopted`` are the ids that take a user's checkpoint.

    Raises:
        ConfigError: if late fusion gets one modality, or a custom model is to be a released checkpoint.
    """
    for scenario in (scenario for scenario in scenarios if scenario.model in models):
        name, remedy = scenario.model, "name this model's scenarios under scenarios.extra instead of scenarios.models"
        if models[name]["fusion"] == "late" and scenario.modality != "concat":
            raise ConfigError(
                f"scenarios: {scenario.id} has one modality, but models.{name}.fusion is late, which joins two; "
                f"expected concat: {remedy}, or set fusion: early"
            )
        if scenario.recipe == RELEASED and scenario.id not in adopted:
            raise ConfigError(
                f"scenarios: {scenario.id}: no checkpoint of models.{name} was released, only of "
                f"{' and '.join(AXES['model'])}; {remedy}"
            )


def build_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model of the section is built from, without the file of its initial parameters."""
    return {key: value for key, value in model.items() if key != "pretrained"}
