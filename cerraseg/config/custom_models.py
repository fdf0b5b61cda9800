"""The section ``models`` of a configuration, checked as far as possible without torch."""

import re
from collections.abc import Container, Iterable, Mapping
from typing import Any

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import AXES, PUBLISHED_MODELS, RELEASED, Scenario
from cerraseg.config.schema import with_defaults
from cerraseg.config.suggestions import check_name, expand_file
from cerraseg.core.errors import ConfigError

# Arguments of segmentation-models-pytorch and timm that follow from other keys, or read or fetch parameters.
_OF_SCENARIO = ("encoder_name", "encoder_depth", "in_channels", "classes", "activation", "aux_params")
_OF_FILES = (
    "encoder_weights",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "checkpoint_path",
    "cache_dir",
)


def complete_models(config: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Complete and check the section ``models`` of a configuration by its schema, with expanded paths."""
    return {name: _checked(name, with_defaults(given, schema)) for name, given in config["models"].items()}


def _checked(name: str, model: dict[str, Any]) -> dict[str, Any]:
    where = f"models.{name}"
    check_name(where, name, AXES["model"])
    try:
        check_origin(model["encoder"], model["options"])
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None
    if model["fusion"] == "late" and model["architecture"] == "DPT":
        raise ConfigError(
            f"{where}.fusion: late joins feature maps, but DPT's decoder also takes tokens of the encoder; expected "
            "another architecture, or fusion: early"
        )
    if "pretrained" not in model:
        return model
    return model | {"pretrained": expand_file(f"{where}.pretrained", model["pretrained"], "an encoder's parameters")}


def check_origin(encoder: str, options: Iterable[str] = ()) -> None:
    """Raise :class:`ConfigError` for an encoder or option by which the libraries would ask a hub or read a file."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", encoder):  # timm takes hf-hub:someone/model and local-dir:folder
        raise ConfigError(f"encoder: {encoder!r} is no name; no model hub is asked: give a file as pretrained")
    for option in options:
        if option in _OF_SCENARIO:
            raise ConfigError(f"options.{option}: it follows from the scenario, encoder or depth; take it out")
        if option in _OF_FILES:
            raise ConfigError(f"options.{option}: no model hub is asked; give a file as pretrained instead")


def check_scenarios(
    models: Mapping[str, Mapping[str, Any]], scenarios: Iterable[Scenario], adopted: Container[str], dataset: Dataset
) -> None:
    """Raise :class:`ConfigError` if late fusion gets one sensor, or a custom model is to be a released checkpoint.

    ``adopted`` are the ids that take a user's checkpoint.
    """
    for scenario in (scenario for scenario in scenarios if scenario.model in models):
        name, remedy = scenario.model, "name this model's scenarios under scenarios.extra instead of scenarios.models"
        if models[name]["fusion"] == "late" and len(dataset.sensors_of(scenario.modality)) < 2:
            raise ConfigError(
                f"scenarios: {scenario.id} has one sensor, but models.{name}.fusion is late, which joins several; "
                f"expected concat or some joined by +: {remedy}, or set fusion: early"
            )
        if scenario.recipe == RELEASED and scenario.id not in adopted:
            raise ConfigError(
                f"scenarios: {scenario.id}: no checkpoint of models.{name} was released, only of "
                f"{' and '.join(PUBLISHED_MODELS)}; {remedy}"
            )


def build_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model of the section is built from, without the file of its initial parameters."""
    return {key: value for key, value in model.items() if key != "pretrained"}
