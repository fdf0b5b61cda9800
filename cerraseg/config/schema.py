"""A configuration and its schema: types, errors in plain words, defaults."""

import datetime
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, cast

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from cerraseg.config.suggestions import nearest


def schema_errors(value: Any, schema: Mapping[str, Any], where: str = "") -> list[str]:
    """List what the schema refuses of a value at the path ``where``: each with path, value and what is allowed."""
    return [_describe(error, where) for error in Draft202012Validator(schema).iter_errors(value)]


def typed(value: Any, schema: Mapping[str, Any]) -> Any:
    """Convert values to the schema's types: Snakemake's command line gives text, YAML takes ``off`` and dates."""
    if isinstance(value, Mapping):
        parts, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
        return {key: typed(part, parts.get(key, others)) for key, part in value.items()}
    if isinstance(value, list):
        return [typed(item, schema.get("items", {})) for item in value]
    kind = schema.get("type")
    if value is False and "off" in schema.get("enum", ()):
        return "off"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str) and kind in ("integer", "number", "boolean"):
        return _number_or_text(value)
    if isinstance(value, float) and kind == "integer" and value.is_integer():  # 5.0 counts nothing
        return int(value)
    return value


def _number_or_text(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float) else text


def with_defaults(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Add the defaults, in the schema's order, as Snakemake takes parameters in another order for changed ones."""
    ordered = {}
    for key, part in schema["properties"].items():
        if key in values or "default" in part:
            value = values.get(key, part.get("default"))
            ordered[key] = with_defaults(value, part) if part.get("type") == "object" else deepcopy(value)
    return ordered | {key: deepcopy(value) for key, value in values.items() if key not in ordered}


def _describe(error: ValidationError, where: str) -> str:
    path = ".".join(map(str, [*filter(None, [where]), *error.absolute_path]))
    schema, value, allowed = cast("tuple[Any, Any, Any]", (error.schema, error.instance, error.validator_value))
    within = f"{path}." if path else ""
    if error.validator == "additionalProperties":
        known = schema["properties"]
        return "; ".join(f"{within}{key}: unknown key{nearest(key, known)}" for key in value if key not in known)
    if error.validator == "enum":
        return f"{path}: {value!r} is not allowed{nearest(str(value), allowed)}"
    if error.validator == "required":
        purposes = {key: schema["properties"][key].get("description", "") for key in allowed if key not in value}
        return "; ".join(f"{within}{key}: missing; {purpose}" for key, purpose in purposes.items())
    return f"{path or 'configuration'}: {error.message:.200}; {schema.get('description', 'see config/README.md')}"
