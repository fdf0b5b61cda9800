"""docs/dataset.md says what the schema of dataset descriptions says, and its examples are valid."""

import re
from pathlib import Path

import pytest
import yaml
from project import REPOSITORY

from cerraseg.config.dataset import BUILT_IN
from cerraseg.config.descriptions import SCHEMA, load_dataset

PAGE = (REPOSITORY / "docs/dataset.md").read_text()


def rows(schema, prefix=""):
    """The table of keys, a row each; <sensor> and <level> stand for names."""
    parts = dict(schema.get("properties", {}))
    if prefix in ("sensors.", "levels."):
        parts[f"<{prefix.removesuffix('s.')}>"] = schema["additionalProperties"]
    for key, part in parts.items():
        needed = "yes" if key in schema.get("required", ()) else ""
        yield f"| `{prefix}{key}` | {needed} | {part['description']} |"
        yield from rows(part, f"{prefix}{key}.")
        yield from rows(part["items"], f"{prefix}{key}[].") if "properties" in part.get("items", {}) else ()


def test_the_page_describes_every_key_as_the_schema_does():
    schema = yaml.safe_load(SCHEMA.read_text())
    described = [*rows(schema)]
    assert "\n".join(described) in PAGE
    assert {row.split("`")[1] for row in described} >= {"patch_size", "sensors.<sensor>.bands", "levels.<level>.ignore"}


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_are_valid(example):
    given = yaml.safe_load(example)
    dataset = load_dataset(given, Path())
    assert [*dataset.sensors] == [*given["sensors"]] and [*dataset.levels] == [*given["levels"]]


def test_the_built_in_descriptions_are_named():
    assert all(f"`{name}`" in PAGE for name in BUILT_IN)
