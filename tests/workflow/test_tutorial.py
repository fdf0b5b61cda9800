"""docs/your-data.md: each of its files and commands is run, and what it says of them is so."""

import re

import pytest
import yaml
from project import REPOSITORY
from region_run import PAGE, RESULTS, blocks

from cerraseg.config.areas import check_areas
from cerraseg.config.descriptions import load_dataset
from cerraseg.config.schema import schema_errors

SCHEMA = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
TEXT = PAGE.read_text()


def jobs(output):
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", output, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^(\w+) +\d+$", table[1], re.MULTILINE)) if table else set()


def test_the_commands_print_what_the_page_says(region_run):
    printed = region_run.printed
    assert len(printed) == len(re.findall(r"^\.venv/bin/", TEXT, re.MULTILINE)) == 8
    image, first, _, tags, bounds, colours, _, last = (output for _, output in printed)
    assert '"B12",\n  "B04",' in image and '"CLASS_24": "Soy"' in tags
    assert [float(side) for side in bounds.split()] == [600000, 8292960, 608960, 8300000]
    assert jobs(first) >= {"rasters", "index", "pack", "train", "map", "polygons", "overview"}
    assert jobs(colours) >= {"map", "mosaic", "overview"} and not jobs(colours) & {"index", "pack", "split", "train"}
    assert "Nothing to be done" in last


def test_the_files_that_the_page_lists_are_there(region_run):
    named = re.findall(rf"`({RESULTS}/[^`]+)`", TEXT)
    assert len(named) >= 8
    for path in named:
        assert (region_run.folder / path).exists(), path
    for log in ("index", "split"):
        assert (region_run.folder / RESULTS / f"logs/{log}.log").read_text()


def test_pieces_of_configurations_are_valid(region_run, monkeypatch):
    """What the page shows beside its files."""
    monkeypatch.setenv("SENTINEL", "/data")
    pieces = [yaml.safe_load(text) for name, language, text in blocks() if language == "yaml" and not name]
    assert pieces
    dataset = load_dataset("my-region/my-region.yaml", region_run.folder)
    for piece in pieces:
        assert not schema_errors(piece, SCHEMA | {"required": []})
        areas = check_areas(piece["areas"], dataset, must_exist=False)
        assert areas[0]["images"]["msi"]["mask"]["values"] == [0, 1, 3, 8, 9, 10, 11]


@pytest.mark.parametrize(
    "message", re.findall(r"^\| `([^`]+)` \| .* \| .* \|$", TEXT.split("## What errors mean")[1], re.M)
)
def test_the_messages_of_the_page_are_those_of_the_package(message):
    sources = "".join(path.read_text() for path in sorted((REPOSITORY / "cerraseg").rglob("*.py")))
    assert message in re.sub(r'"\s*\n\s*f?"', "", sources)
