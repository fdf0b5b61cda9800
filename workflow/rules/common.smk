"""Checked configuration, scenarios, paths and code digests: what the rules share."""

import ast
import fcntl
import hashlib
import shutil
from dataclasses import asdict
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from cerraseg import layout
from cerraseg.config import check
from cerraseg.errors import ConfigError
from cerraseg.recipes import with_custom
from cerraseg.scenario import RELEASED
from cerraseg.taxonomy import LEVELS

BASE = Path(workflow.basedir)


def clear_lock_of_killed_run():
    """Remove the lock that Snakemake leaves when it is killed, so that the same command goes on.

    Every run holds a shared lock that the kernel releases with the process; only a run that is alone may clear.
    """
    held = Path(".snakemake/alive")
    held.parent.mkdir(exist_ok=True)
    handle = held.open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for lock in held.parent.glob("locks/*.lock"):
            lock.unlink()
    except BlockingIOError:
        pass
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


if workflow.is_main_process:
    alive = clear_lock_of_killed_run()
SCHEMA = yaml.safe_load((BASE / "workflow/schemas/config.schema.yaml").read_text())

try:
    config, scenarios = check(config, SCHEMA)
except ConfigError as error:
    raise WorkflowError(str(error))

R = config["results"]
SCENARIOS = {scenario.id: scenario for scenario in scenarios}
RECIPES = with_custom(config["recipes"])
USED_LEVELS = [level for level in LEVELS if any(s.level == level for s in scenarios)]
ADOPTED = [
    s.id for s in scenarios if s.recipe == RELEASED or s.id in config["checkpoints"]
]


def defaults(section):
    """The defaults of a section of the configuration: those of kaggle and split are the published ones."""
    keys = SCHEMA["properties"][section]["properties"]
    return {name: part["default"] for name, part in keys.items()}


DATASET = config["kaggle"]["dataset"]
LABEL = {
    "simulate": "simulated landscape",
    "kaggle": "CerraData-4MM" if DATASET == defaults("kaggle")["dataset"] else DATASET,
    "local": config["label"],
}[config["source"]]
COMPARABLE = LABEL == "CerraData-4MM" and config["split"] == defaults("split")

# Only a machine with a GPU counts trainings by GPUs; profiles set how many may run at a time.
GPU = int(any(map(shutil.which, ("nvidia-smi", "rocm-smi"))))
# On CPUs several scenarios side by side are faster than several threads for each.
TORCH_THREADS = 4 if GPU else min(4, max(1, (workflow.cores or 4) // len(SCENARIOS)))
CONDA_LIGHT = "../../envs/light.yaml"
CONDA_TORCH = "../../envs/torch.yaml"

PACKED = dict(
    images=f"{R}/packed/images.npy",
    masks=f"{R}/packed/masks.npy",
    header=f"{R}/packed/header.json",
)


wildcard_constraints:
    scenario="|".join(SCENARIOS),
    level="|".join(LEVELS),


def of_scenario(name):
    """Path of a scenario's file, with the wildcard open."""
    return f"{R}/scenarios/{{scenario}}/{name}"


def each_scenario(name, but=()):
    """Paths of a file of every scenario, ``but`` for some."""
    return expand(of_scenario(name), scenario=others(but))


def only(ids):
    """Wildcard constraint to these scenarios; to none where there are none."""
    return "|".join(ids) or "(?!)"


def others(ids):
    """The scenarios that are not among these."""
    return [id_ for id_ in SCENARIOS if id_ not in ids]


def where(ids, name):
    """Input function: the scenario's file where the scenario is among ``ids``, else nothing."""
    return lambda wildcards: (
        of_scenario(name).format(scenario=wildcards.scenario)
        if wildcards.scenario in ids
        else []
    )


def fields(wildcards):
    """The wildcard's scenario as a plain dictionary."""
    return vars(SCENARIOS[wildcards.scenario])


def recipe(wildcards):
    """What the scenario's recipe means for its model, as a plain dictionary. What is released is the paper's."""
    scenario = SCENARIOS[wildcards.scenario]
    name = "paper" if scenario.recipe == RELEASED else scenario.recipe
    return asdict(RECIPES[name][scenario.model])


def model_settings(wildcards):
    """The settings of the scenario's model; those of released ones are the published, which are the defaults."""
    scenario = SCENARIOS[wildcards.scenario]
    return (
        defaults(scenario.model)
        if scenario.recipe == RELEASED
        else config[scenario.model]
    )


# Modules that say what happens but cannot change what comes out: editing them reruns nothing.
SILENT = {"errors", "logs", "files"}


def package_digest(script):
    """Hash over the package modules that a step script reaches by import; Snakemake itself sees only the script."""
    reached, todo = {}, [BASE / f"workflow/scripts/{script}.py"]
    while todo:
        path = todo.pop()
        reached[path] = path.read_bytes()
        todo += [module for module in imported(path) if module not in reached]
    content = b"".join(
        reached[path] for path in sorted(reached) if path.parent.name != "scripts"
    )
    return hashlib.sha256(content).hexdigest()[:12]


def trained_by(wildcards):
    """Digest of the code that trains the scenario; empty where none does."""
    return "" if wildcards.scenario in ADOPTED else package_digest("train")


def imported(path):
    """Files of the package modules that a Python file names in its import statements."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "cerraseg"
        ):
            names |= {
                node.module,
                *(f"{node.module}.{alias.name}" for alias in node.names),
            }
    for name in names - {f"cerraseg.{module}" for module in SILENT}:
        stem = BASE / name.replace(".", "/")
        yield from (
            file
            for file in (stem.with_suffix(".py"), stem / "__init__.py")
            if file.is_file()
        )
