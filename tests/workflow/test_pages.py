"""README and pages: each command in a console block is run here, or by the test that a table names."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
import yaml
from conftest import IDS, write_patch
from project import REPOSITORY, Project
from scenes import CERRADATA, write_model, write_scene
from typer.testing import CliRunner

from cerraseg.cli import app
from cerraseg.config.schema import schema_errors
from cerraseg.geo import rasters
from cerraseg.geo.cog import new_map

SCHEMA = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
FOLLOWED = "docs/your-data.md"  # tests/workflow/test_tutorial.py runs the whole page
PAGES = ("README.md", "config/README.md", "profiles/slurm/README.md", *(f"docs/{one}" for one in (
    path.name for path in sorted((REPOSITORY / "docs").glob("*.md"))
)))  # fmt: skip
CONFIGURATIONS = ("docs/maps.md", "docs/own-model.md", "docs/own-recipe.md", "docs/regions.md", "docs/tune.md")
"""Pages whose pieces of YAML are pieces of configurations."""

ELSEWHERE = {
    r"git clone .*|git add .*|git commit .*|cd .*|source \.venv/bin/activate": "",
    r".*--workflow-profile profiles/slurm": "tests/nightly/test_slurm.py::test_recovered_run_finishes_within_its_bound",
    r".*--configfile results/tune/best\.yaml": "tests/workflow/test_search_workflow.py"
    "::test_best_trial_is_an_ordinary_configuration",
    r"dvc (repro|remote add .*|push .*)": "tests/workflow/test_tracking.py::project",
    r"dvc (exp run .*|exp show .*|metrics diff|params diff|plots diff)": "tests/nightly/test_tracking_drills.py"
    "::test_experiment_shows_in_metrics_parameters_and_plots",
    r"cerraseg map .* --aoi .*": "tests/workflow/test_region_maps.py"
    "::test_maps_are_those_of_the_whole_zones_and_of_the_command",
    r"CERRASEG_REAL_SAMPLE=.* tests/nightly/test_real_sites\.py": "tests/nightly/test_real_sites.py"
    "::test_real_sentinel_patches",
}
"""Command → the test that runs it or one like it; empty: a command of git or the shell."""


def fences(page):
    """Language and text of each block of a page."""
    inside, language, lines = False, "", []
    for line in (REPOSITORY / page).read_text().splitlines():
        if line.startswith("```"):
            if inside:
                yield language, "\n".join(lines)
            inside, language, lines = not inside, line.strip("`{} "), []
        elif inside:
            lines.append(line)


def commands(page):
    for language, text in fences(page):
        if language == "console":
            for line in text.splitlines():
                yield from re.sub(r"\s+# .*", "", line).strip().split(" && ")


COMMANDS = sorted({command for page in PAGES if page != FOLLOWED for command in commands(page)})


def elsewhere(command):
    return next((test for pattern, test in ELSEWHERE.items() if re.fullmatch(pattern, command)), None)


def of(program):
    found = [command for command in COMMANDS if command.startswith(f"{program} ") and elsewhere(command) is None]
    assert found
    return found


def test_every_command_is_run():
    here = {*of("make"), *of(".venv/bin/snakemake"), *of("cerraseg")}
    assert not [command for command in COMMANDS if command not in here and elsewhere(command) is None]
    for test in filter(None, ELSEWHERE.values()):
        file, name = test.split("::")
        assert f"def {name}(" in (REPOSITORY / file).read_text(), test


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_the_table_names_nothing_else(pattern):
    assert any(re.fullmatch(pattern, command) for command in COMMANDS)


@pytest.mark.parametrize("command", of("make"))
def test_make_has_the_target(command):
    """Make says what it would do."""
    dry = subprocess.run([*shlex.split(command), "-n"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert dry.returncode == 0 and dry.stdout, dry.stderr


def test_make_has_every_target_in_a_text():
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)", (REPOSITORY / page).read_text())}
    known = set(re.findall(r"^([a-z-]+)[a-z -]*:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    known |= set(re.findall(r"^\w+ (\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert len(named) > 10 and not named - known


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the project with its configurations, and patches beside it."""
    made = Project(tmp_path_factory.mktemp("pages") / "project", {})
    shutil.copytree(REPOSITORY / "config", made.folder / "config", dirs_exist_ok=True)
    for place, id_ in enumerate(IDS):
        write_patch(made.folder / "patches", id_, place)
    return made


def merged(page):
    """The demo's configuration with the first piece of YAML of a page."""
    piece = next(yaml.safe_load(text) for language, text in fences(page) if language == "yaml")
    return yaml.safe_load((REPOSITORY / "config/config.yaml").read_text()) | piece


@pytest.mark.parametrize("command", sorted({one.replace(" -n", "") for one in of(".venv/bin/snakemake")}))
def test_snakemake_plans_the_command(clone, command):
    words = shlex.split(command.replace("/path/to/patches", str(clone.folder / "patches")))[1:]
    if words[-1:] == ["tune"]:
        (clone.folder / "tune.yaml").write_text(yaml.safe_dump(merged("docs/tune.md")))
        words += ["--configfile", "tune.yaml"]
    said = clone.call([sys.executable, "-m", "snakemake", "-n", *words])
    assert re.search(r"^total +\d+$", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "id_"),
    [
        ("docs/own-model.md", "segformer-concat-nw-l1-tuned-666"),
        ("docs/own-recipe.md", "fullres-concat-nw-l1-longer-2"),
    ],
)
def test_snakemake_plans_what_a_page_configures(clone, page, id_):
    (clone.folder / "own.yaml").write_text(yaml.safe_dump(merged(page)))
    target = f"results/models/{id_}/checkpoint.pt"
    said = clone.call([sys.executable, "-m", "snakemake", "-n", "--cores", "2", target, "--configfile", "own.yaml"])
    assert id_ in said


@pytest.mark.parametrize("page", CONFIGURATIONS)
def test_pieces_of_configurations_are_valid(page):
    pieces = [yaml.safe_load(text) for language, text in fences(page) if language == "yaml"]
    assert pieces
    for piece in pieces:
        plain = json.loads(json.dumps(piece, default=str))  # dates are text, as Snakemake reads them
        assert not schema_errors(plain, SCHEMA | {"required": []})


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """What the pages' commands take: a checkpoint, its image, a map, labels."""
    folder = tmp_path_factory.mktemp("desk")
    write_model(folder / "checkpoint.pt")
    write_scene(folder, 256, 256)
    (folder / "msi.tif").rename(folder / "s2.tif")
    (folder / "sar.tif").rename(folder / "s1.tif")
    with rasters.open_raster(folder / "s2.tif") as file:
        place = {"crs": file.crs, "transform": file.transform, "shape": file.shape}
        left, _, _, top = file.bounds
    legend = CERRADATA.classes("l1")
    with new_map(folder / "map.tif", classes=legend, **place) as draft:
        draft.write(0, 0, np.repeat([[0, 1]], 128, 1).repeat(256, 0).astype(np.uint8))
    boxes = [shapely.box(left + x, top - 2400, left + x + 600, top - 100) for x in (200, 1600)]
    names = np.array([legend[0].name, legend[1].name], object)
    for file, field in (("labels.gpkg", "class"), ("fields.gpkg", "crop")):
        pyogrio.raw.write(
            folder / file, shapely.to_wkb(boxes), [names], [field], geometry_type="Polygon", crs=place["crs"].to_wkt()
        )
    return folder


@pytest.mark.parametrize("command", [one for one in of("cerraseg") if not one.startswith("cerraseg run")])
def test_cerraseg_does_what_the_command_says(desk, monkeypatch, tmp_path, command):
    monkeypatch.chdir(shutil.copytree(desk, tmp_path / "here"))
    words = shlex.split(command)[1:]
    if "model.onnx" in words and words[0] != "export":
        assert CliRunner().invoke(app, ["export", "checkpoint.pt", "model.onnx"]).exit_code == 0
    place = {"map": words.index("-o") + 1 if "-o" in words else 0, "export": 2, "init": 1}.get(words[0])
    if words[0] == "map":
        Path("map.tif").unlink()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and done.output, done.output
    assert place is None or Path(words[place]).exists()


def test_cerraseg_runs_the_project_that_it_wrote(desk, monkeypatch, tmp_path):
    """Each command of the README's own data, in its order; the run is planned."""
    monkeypatch.chdir(shutil.copytree(desk, tmp_path / "here"))
    (text,) = (text for language, text in fences("README.md") if language == "console" and "cerraseg init" in text)
    init, into, *runs = (re.sub(r"\s+# .*", "", line) for line in text.splitlines())
    assert CliRunner().invoke(app, shlex.split(init)[1:]).exit_code == 0
    project = Path.cwd() / shlex.split(into)[1]
    assert len(runs) == 2
    for run in runs:
        words = [*shlex.split(run)[1:], *(() if " -n" in run else ("-n",))]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-m", "cerraseg.cli", *words], cwd=project, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PATH": path},
        )  # fmt: skip
        assert done.returncode == 0 and re.search(r"^train +\d", done.stdout, re.MULTILINE), done.stdout + done.stderr


def test_readme_is_short_and_its_links_lead_somewhere():
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not link.startswith("http")]
    assert len(links) > 20 and all((REPOSITORY / link).exists() for link in links)
