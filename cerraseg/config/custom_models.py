"""The section ``models`` of a configuration, checked as far as possible without torch."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import AXES, PUBLISHED_MODELS, RELEASED, Scenario
from cerraseg.config.schema import with_defaults
from cerraseg.config.suggestions import check_known, check_name, expand_file
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


class Pretrained(NamedTuple):
    """A file of an encoder's parameters, its bands (none: unknown), and which of the model's encoders it is for."""

    file: str
    bands: Sequence[str] = ()
    encoder: int = 0


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
    return model | {"pretrained": _expanded(f"{where}.pretrained", model["pretrained"])}


def _expanded(where: str, given: Any) -> dict[str, Any]:
    """Return an entry of files, by sensor or alone, with ``file`` and maybe ``bands`` for each, and expanded paths."""
    if isinstance(given, str):
        return {"file": expand_file(where, given, "an encoder's parameters")}
    if isinstance(given.get("file"), str):
        return given | _expanded(f"{where}.file", given["file"])
    return {sensor: _expanded(f"{where}.{sensor}", part) for sensor, part in given.items()}


def pretrained_of(model: Mapping[str, Any], sensors: Sequence[str]) -> list[Pretrained]:
    """Return the files that a model of the section starts from where its modality has these sensors."""
    given, late = model.get("pretrained") or {}, model.get("fusion") == "late"
    if isinstance(given.get("file"), str):
        return [Pretrained(**given, encoder=encoder) for encoder in range(len(sensors) if late else 1)]
    named = ((place if late else 0, given[sensor]) for place, sensor in enumerate(sensors) if sensor in given)
    return [Pretrained(**part, encoder=encoder) for encoder, part in named]


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

    Also if parameters are given for a sensor that the dataset lacks, or several files for the one encoder of early
    fusion. ``adopted`` are the ids that take a user's checkpoint.
    """
    for name, model in models.items():
        given = model.get("pretrained") or {"file": ""}
        for sensor in given if not isinstance(given.get("file"), str) else ():
            check_known(f"models.{name}.pretrained", sensor, list(dataset.sensors))
    for scenario in (scenario for scenario in scenarios if scenario.model in models):
        name, remedy = scenario.model, "name this model's scenarios under scenarios.extra instead of scenarios.models"
        if models[name]["fusion"] == "late" and len(dataset.sensors_of(scenario.modality)) < 2:
            raise ConfigError(
                f"scenarios: {scenario.id} has one sensor, but models.{name}.fusion is late, which joins several; "
                f"expected concat or some joined by +: {remedy}, or set fusion: early"
            )
        sensors = [sensor.name for sensor in dataset.sensors_of(scenario.modality)]
        if models[name]["fusion"] == "early" and len(pretrained_of(models[name], sensors)) > 1:
            raise ConfigError(
                f"models.{name}.pretrained: {scenario.id} has one encoder of all bands, but a file for each of "
                f"{', '.join(sensors)}; expected one: set fusion: late, or {remedy}"
            )
        if scenario.recipe == RELEASED and scenario.id not in adopted:
            raise ConfigError(
                f"scenarios: {scenario.id}: no checkpoint of models.{name} was released, only of "
                f"{' and '.join(PUBLISHED_MODELS)}; {remedy}"
            )


def build_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model of the section is built from, without the file of its initial parameters."""
    return {key: value for key, value in model.items() if key != "pretrained"}
