"""The house rules that a machine can hold beside the import contracts: light steps, one truth each, environments."""

import ast
import csv
import dataclasses
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from scenes import CERRADATA, NAMES

from cerraseg.config import recipes, scenario

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "cerraseg"
LIGHT = {"core", "config", "geo", "data", "evaluation", "report", "orchestration"}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        if name != "cerraseg":
            yield name, path


def imports(path, known):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in whole)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_light_wings_do_not_load_torch():
    """Beside the import contracts: no library that they load brings it in."""
    light = ", ".join(name for name, _ in modules() if name.split(".")[1] in LIGHT and not name.endswith("__main__"))
    code = f"import sys, {light}\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def requirement(line):
    return re.match(r"([A-Za-z0-9-]+)(.*)", line).groups()


@pytest.mark.parametrize("name", ["light", "torch"])
def test_conda_environments_follow_pyproject(name):
    wanted = dict(
        map(requirement, tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"])
    )
    wanted["python"] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"]
    wanted["pytorch"] = wanted.pop("torch")
    listed = dict(map(requirement, yaml.safe_load((REPOSITORY / f"envs/{name}.yaml").read_text())["dependencies"]))
    assert listed == {package: wanted[package] for package in listed}
    assert ("pytorch" in listed) == (name == "torch")


def test_conda_environments_hold_what_their_steps_import():
    distribution = {
        "PIL": "pillow",
        "optuna_integration": "optuna-integration",
        "mpl_toolkits": "matplotlib",
        "planetary_computer": "planetary-computer",
        "pystac_client": "pystac-client",
        "odc": "odc-geo",
        "segmentation_models_pytorch": "segmentation-models-pytorch",
        "splitfolders": "split-folders",
        "torch": "pytorch",
        "yaml": "pyyaml",
    }
    known = {name for name, _ in modules()}
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow/rules").glob("*.smk"))
    steps = re.findall(r"conda:\s+(CONDA_\w+)(?:(?!conda:).)*?script:\s+\"../scripts/(\w+).py\"", rules, re.DOTALL)
    assert {script for _, script in steps} == {path.stem for path in (REPOSITORY / "workflow/scripts").glob("*.py")}
    for constant, script in steps:
        environment = (REPOSITORY / f"envs/{constant.removeprefix('CONDA_').lower()}.yaml").read_text()
        todo, seen = [REPOSITORY / f"workflow/scripts/{script}.py"], set()
        while todo:
            for name in imports(todo.pop(), known):
                if name in known and name not in seen:
                    stem = REPOSITORY / name.replace(".", "/")
                    todo.append(stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py"))
                seen.add(name)
        outside = {name.split(".")[0] for name in seen} - sys.stdlib_module_names - {"cerraseg"}
        assert outside, script
        for package in outside:
            assert f"- {distribution.get(package, package)}>=" in environment, f"{script} imports {package}"


def test_taxonomy_equals_the_reference():
    with (REPOSITORY / "reference/classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, land_cover in zip(rows, CERRADATA.classes("l2"), strict=True):
        colour = tuple(int(row[part]) for part in ("red", "green", "blue"))
        assert (int(row["l2_id"]), row["l2_abbr"], row["l2_name"], colour, int(row["l1_id"])) == land_cover
        assert CERRADATA.classes("l1")[land_cover.parent].name.lower() == row["l1_name"].lower()


def test_schema_offers_exactly_the_axes():
    schema = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
    lists = schema["properties"]["scenarios"]["properties"]
    fixed = {plural: part["items"]["enum"] for plural, part in lists.items() if "enum" in part["items"]}
    assert fixed == {"weightings": [*scenario.AXES["weighting"]]}  # a configuration or a dataset has others of its own
    assert {*recipes.RECIPES, scenario.RELEASED, scenario.BASELINE} == set(scenario.AXES["recipe"])
    assert all(by_model.keys() <= {*scenario.AXES["model"]} for by_model in recipes.RECIPES.values())
    fields = schema["properties"]["recipes"]["additionalProperties"]["properties"]
    assert fields.keys() == {"from", *(field.name for field in dataclasses.fields(recipes.Recipe))}


def test_scripts_are_thin():
    for path in (REPOSITORY / "workflow/scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 40, path


def test_every_rule_is_a_full_table():
    for path in sorted((REPOSITORY / "workflow/rules").glob("*.smk")):
        for rule in re.split(r"\n\s*rule ", path.read_text())[1:]:
            name = rule.split(":")[0]
            for part in ("output", "log", "benchmark", "params", "conda", "script"):
                assert re.search(rf"^\s+{part}:", rule, re.MULTILINE), f"{name} has no {part}"
            follows = f'package_digest("{name}")' in rule
            assert follows or name == "search", f"{name} does not follow its own code"  # the list is frozen
            assert "threads: 1\n" not in rule, f"{name} says what is so anyway"


def test_the_graph_of_the_page_has_every_step():
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow/rules").glob("*.smk"))
    graph = re.search(r"```mermaid\nflowchart LR\n(.*?)```", (REPOSITORY / "docs/steps.md").read_text(), re.DOTALL)[1]
    steps = set(re.findall(r"^ *rule (\w+):", rules, re.MULTILINE))
    assert set(re.findall(r"\w+", graph)) == steps


def test_scenario_ids_are_read_back():
    for made in scenario.expand(scenario.AXES, [1, 666], [], {}):
        assert scenario.parse(made.id, NAMES) == made


def test_what_the_page_on_reliability_names_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (REPOSITORY / "docs/reliability.md").read_text())
    lost = [(file, test) for file, test in named if f"def {test}" not in (REPOSITORY / file).read_text()]
    assert named and not lost


def test_the_architecture_page_names_what_is_there():
    page = (REPOSITORY / "docs/architecture.md").read_text()
    named = re.findall(r"`(\w+/[\w/]+\.py)`(?:,\s+`(\w+)`)?", page)
    lost = [pair for pair in named if not re.search(rf"\b{pair[1]}\b", (PACKAGE / pair[0]).read_text())]
    assert len(named) > 20 and not lost
