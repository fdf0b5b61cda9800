"""Checked configuration, scenarios and paths: what the rules share."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from cerraseg import layout, model_check, own_models
from cerraseg.config import check, simulated_scene
from cerraseg.errors import ConfigError
from cerraseg.recipes import of_model, with_custom
from cerraseg.scenario import RELEASED

BASE = Path(workflow.basedir)
SCHEMA = yaml.safe_load((BASE / "workflow/schemas/config.schema.yaml").read_text())

try:
    config, scenarios = check(config, SCHEMA)
    if workflow.is_main_process:
        model_check.check(config, scenarios)
except ConfigError as error:
    raise WorkflowError(str(error))

R = config["results"]
SCENARIOS = {scenario.id: scenario for scenario in scenarios}
RECIPES = with_custom(config["recipes"])
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
# None on a cluster, where the profile sets the threads.
CORES = workflow.resource_settings.cores or 4
# On CPUs several scenarios side by side are faster than several threads for each.
TORCH_THREADS = 4 if GPU else min(4, max(1, CORES // len(SCENARIOS)))
CONDA_LIGHT = "../../envs/light.yaml"
CONDA_TORCH = "../../envs/torch.yaml"

PACKED = dict(
    images=f"{R}/packed/images.npy",
    masks=f"{R}/packed/masks.npy",
    header=f"{R}/packed/header.json",
)
# The header has a digest of the pixels: arrays with a new time but the same pixels make nobody train again.
AS_PACKED = dict(
    images=ancient(PACKED["images"]),
    masks=ancient(PACKED["masks"]),
    header=PACKED["header"],
)


wildcard_constraints:
    scenario="|".join(SCENARIOS),


def of_scenario(name):
    """Path of a scenario's file, with the wildcard open."""
    return f"{R}/scenarios/{{scenario}}/{name}"


def scores_of_scenario(name):
    """Path of a file of a scenario's scores, with the wildcard open; a folder apart, which DVC can hash as one."""
    return f"{R}/scores/{{scenario}}/{name}"


def each_scenario(path, but=()):
    """A path with the wildcard filled in for every scenario, ``but`` for some."""
    return expand(path, scenario=others(but))


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
    return asdict(of_model(RECIPES[name], scenario.model))


def model_settings(wildcards):
    """The settings of the scenario's model; those of released ones are the published, which are the defaults."""
    scenario = SCENARIOS[wildcards.scenario]
    if scenario.model in config["models"]:
        return own_models.settings(config["models"][scenario.model])
    return (
        defaults(scenario.model)
        if scenario.recipe == RELEASED
        else config[scenario.model]
    )


def pretrained(wildcards):
    """The file of encoder parameters that the scenario's training starts from; "" where there is none."""
    model = config["models"].get(SCENARIOS[wildcards.scenario].model, {})
    return model.get("pretrained", "")


def pretrained_input(wildcards):
    """That file as an input, where there is one: its digest says whether it is another one, not its time."""
    file = pretrained(wildcards)
    return {"pretrained": ancient(file)} if file else {}
