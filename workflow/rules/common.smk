"""Checked configuration, scenarios and paths: what the rules share."""

import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from cerraseg.core import layout
from cerraseg.models import preflight
from cerraseg.config import custom_models
from cerraseg.config.validate import check_config, simulated_scene
from cerraseg.core.errors import ConfigError, StorageError
from cerraseg.config.strict_yaml import check_yaml
from cerraseg.config.recipes import recipe_of, with_custom
from cerraseg.config.scenario import RELEASED
from cerraseg.core.storage import ensure_folder

BASE = Path(workflow.basedir)
SCHEMA = yaml.safe_load(
    (BASE / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8")
)

try:
    for file in workflow.configfiles:
        check_yaml(Path(file))
    config, scenarios = check_config(config, SCHEMA)
    if workflow.is_main_process:
        preflight.check_models(config, scenarios)
        ensure_folder(Path(config["results"]))
except (ConfigError, StorageError) as error:
    raise WorkflowError(str(error))

R = config["results"]
FOLDS = (
    range(1, config["split"]["folds"] + 1)
    if config["split"]["scheme"] == "kfold"
    else []
)
SCENARIOS = {scenario.id: scenario for scenario in scenarios}
# What has a checkpoint: the scenarios or, in a cross-validation, the folds of each.
MODELS = {
    model.id: model
    for scenario in scenarios
    for model in (replace(scenario, fold=fold) for fold in FOLDS or [0])
}
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
# The checked split has no keys of other schemes.
COMPARABLE = (
    LABEL == "CerraData-4MM" and config["split"].items() <= defaults("split").items()
)

SPLIT = dict(config["split"])
if SPLIT["scheme"] == "kfold":
    del SPLIT["buffer_km"]  # the splits of the folds have it

# Only a machine with a GPU counts trainings by GPUs; profiles set how many may run at a time.
GPU = int(any(map(shutil.which, ("nvidia-smi", "rocm-smi"))))
# None on a cluster, where the profile sets the threads.
CORES = workflow.resource_settings.cores or 4
# On CPUs several scenarios side by side are faster than several threads for each.
TORCH_THREADS = 4 if GPU else min(4, max(1, CORES // len(MODELS)))
CONDA_LIGHT = "../../envs/light.yaml"
CONDA_TORCH = "../../envs/torch.yaml"


def scenario_of(wildcards):
    """The wildcard's scenario, or fold of one."""
    return {**SCENARIOS, **MODELS}[wildcards.scenario]


def fields(wildcards):
    """The wildcard's scenario as a plain dictionary."""
    return vars(scenario_of(wildcards))


def predicted(wildcards):
    """Which patches the scenario's prediction has."""
    return "test" if scenario_of(wildcards).fold else PATCHES


def recipe(wildcards):
    """What the scenario's recipe means for its model, as a plain dictionary."""
    return asdict(recipe_of(scenario_of(wildcards), RECIPES))


def hierarchical(wildcards):
    """Whether the scenario's model is trained for both levels."""
    return recipe(wildcards)["hierarchy"] > 0


def model_settings(wildcards):
    """The settings of the scenario's model; those of released ones are the published, which are the defaults."""
    scenario = scenario_of(wildcards)
    if scenario.model in config["models"]:
        return custom_models.build_settings(config["models"][scenario.model])
    return (
        defaults(scenario.model)
        if scenario.recipe == RELEASED
        else config[scenario.model]
    )


def pretrained(wildcards):
    """The file of encoder parameters that the scenario's training starts from; "" where there is none."""
    model = config["models"].get(scenario_of(wildcards).model, {})
    return model.get("pretrained", "")


def pretrained_input(wildcards):
    """That file as an input, where there is one: its digest says whether it is another one, not its time."""
    file = pretrained(wildcards)
    return {"pretrained": ancient(file)} if file else {}
