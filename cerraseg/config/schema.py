"""A configuration and its schema: types, errors in plain words, defaults."""

import datetime
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from cerraseg.config.suggestions import nearest


def schema_errors(config: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """List what the schema refuses: each with path, value and what is allowed."""
    return [_describe(error) for error in Draft202012Validator(schema).iter_errors(config)]


def typed(value: Any, schema: Mapping[str, Any]) -> Any:
    """Convert numbers and truth values that are text, as nested values of Snakemake's command line are."""
    if isinstance(value, Mapping):
        parts, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
        return {key: typed(part, parts.get(key, others)) for key, part in value.items()}
    if isinstance(value, list):
        return [typed(item, schema.get("items", {})) for item in value]
    if value is False and "off" in schema.get("enum", ()):  # as YAML reads off without quotes
        return "off"
    if isinstance(value, datetime.date):  # as YAML reads a date without quotes
        return value.isoformat()
    if isinstance(value, str) and schema.get("type") in ("integer", "number", "boolean"):
        return number_or_text(value)
    if isinstance(value, float) and schema.get("type") == "integer" and value.is_integer():  # 5.0 counts nothing
        return int(value)
    return value


def number_or_text(text: str) -> Any:
    """Return the number or truth value in a text, or the text itself if it is neither."""
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


def _describe(error: ValidationError) -> str:
    path = ".".join(map(str, error.absolute_path))
    schema: Any = error.schema
    value: Any = error.instance
    allowed: Any = error.validator_value
    if error.validator == "additionalProperties":
        known = schema["properties"]
        unknown = [key for key in value if key not in known]
        return "; ".join(f"{_join(path, key)}: unknown key{nearest(key, known)}" for key in unknown)
    if error.validator == "enum":
        return f"{path}: {value!r} is not allowed{nearest(str(value), allowed)}"
    if error.validator == "required":
        missing = [key for key in allowed if key not in value]
        return "; ".join(f"{_join(path, key)}: missing; {_purpose(schema, key)}" for key in missing)
    return f"{path or 'configuration'}: {error.message}; {schema.get('description', 'see config/README.md')}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _purpose(schema: Mapping[str, Any], key: str) -> str:
    return str(schema["properties"][key].get("description", "see config/README.md"))
