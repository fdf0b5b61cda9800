"""Hold the section ``tune`` of a configuration to the schema and to the scenario, before anything runs."""

from collections.abc import Collection, Iterable, Mapping
from itertools import product
from typing import Any

from jsonschema import Draft202012Validator

from cerraseg.config.recipes import check_heads
from cerraseg.config.scenario import RELEASED, Scenario
from cerraseg.config.schema import number_or_text
from cerraseg.config.search_space import OF_MODEL
from cerraseg.config.storage_url import expanded
from cerraseg.config.suggestions import nearest
from cerraseg.core.errors import ConfigError

_NUMBERS: dict[str, type] = {"integer": int, "number": float}


def check_tune(config: Mapping[str, Any], scenarios: Iterable[Scenario], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The section ``tune`` of a complete configuration, each range with its type and ``log``; as it is if no search.

    Raises:
        ConfigError: naming the path, what was expected and, for a misspelt word, the nearest one.
    """
    tune = dict(config["tune"])
    if not tune["scenario"]:
        return tune
    scenario = _searched(tune["scenario"], config["checkpoints"], {one.id: one for one in scenarios})
    known = _parameters(scenario.model, schema["properties"])
    if not tune["space"]:
        raise ConfigError(f"tune.space: empty; expected one parameter or more of: {', '.join(known)}")
    for key in tune["space"]:
        if key not in known:
            raise ConfigError(f"tune.space.{key}: unknown key{nearest(key, known)}")
    tune["space"] = {key: _checked(key, given, known[key]) for key, given in tune["space"].items()}
    if scenario.model == "transnuseg":
        own = config["transnuseg"]
        pairs = (tune["space"].get(OF_MODEL + key, [own[key]]) for key in ("embed_dim", "heads"))
        for embed_dim, heads in product(*pairs):
            check_heads(embed_dim, heads)
    if tune["storage"]:
        expanded(tune["storage"])
    return tune


def _searched(id_: str, checkpoints: Collection[str], scenarios: Mapping[str, Scenario]) -> Scenario:
    if id_ not in scenarios:
        raise ConfigError(f"tune.scenario: {id_!r} is no scenario of this configuration{nearest(id_, scenarios)}")
    if scenarios[id_].recipe == RELEASED or id_ in checkpoints:
        raise ConfigError(
            f"tune.scenario: {id_} takes a checkpoint and is not trained, so that nothing can be searched; expected a "
            "scenario that is trained"
        )
    return scenarios[id_]


def _parameters(model: str, schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Every parameter that can be searched → the schema of its values."""
    recipe = schema["recipes"]["additionalProperties"]["properties"]
    settings = schema.get(model, schema["models"]["additionalProperties"])["properties"]
    return {
        **{key: part for key, part in recipe.items() if key != "from"},
        "batch_size": schema["training"]["properties"]["batch_size"],
        "weighting": schema["scenarios"]["properties"]["weightings"]["items"],
        **{OF_MODEL + key: part for key, part in settings.items() if key != "pretrained"},
    }


def _checked(key: str, given: Any, part: Mapping[str, Any]) -> Any:
    where, kind = f"tune.space.{key}", _NUMBERS.get(part.get("type", ""))
    if isinstance(given, list):
        return [_fitting(f"{where}.{place}", choice, part) for place, choice in enumerate(given)]
    if not kind or key.startswith(OF_MODEL):
        raise ConfigError(f"{where}: {dict(given)} is a range; expected a list of choices: [...]")
    low, high = (_fitting(f"{where}.{end}", given[end], part) for end in ("low", "high"))
    if low >= high:
        raise ConfigError(f"{where}: low {low} is not below high {high}; exchange them, or give a list of choices")
    if given.get("log") and low <= 0:
        raise ConfigError(f"{where}: log is true, but low is {low}; expected low above 0, or log: false")
    return {"low": low, "high": high, "log": given.get("log", False)}


def _fitting(where: str, value: Any, part: Mapping[str, Any]) -> Any:
    """The value in the type that the schema gives it."""
    kind = part.get("type", "")
    if isinstance(value, str) and kind in (*_NUMBERS, "boolean"):  # as Snakemake's command line gives it
        value = number_or_text(value)
    for error in Draft202012Validator(part).iter_errors(value):
        if error.validator == "enum":
            raise ConfigError(f"{where}: {value!r} is not allowed{nearest(str(value), part['enum'])}")
        raise ConfigError(f"{where}: {error.message}; {part.get('description', 'see config/README.md')}")
    return _NUMBERS[kind](value) if kind in _NUMBERS else value
