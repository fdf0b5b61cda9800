"""The checked configuration, and helpers for the rules' paths and parameters."""

import os
import re
import shutil
from functools import cache
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from cerraseg.config.dataset import Dataset
from cerraseg.config.search_space import storage_of
from cerraseg.config.strict_yaml import check_yaml
from cerraseg.config.validate import check_config
from cerraseg.core import layout
from cerraseg.core.errors import ConfigError, StorageError
from cerraseg.core.layout import ROOT, SOURCE
from cerraseg.core.storage import ensure_folder
from cerraseg.models import preflight
from cerraseg.orchestration import code_digest
from cerraseg.orchestration.experiment import Experiment

SCHEMA = SOURCE / "workflow/schemas/config.schema.yaml"

try:
    for file in workflow.configfiles:
        check_yaml(Path(file))
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    config, scenarios = check_config(config, schema)
    if workflow.is_main_process:
        preflight.check_models(config, scenarios, Dataset.of(config["dataset"]))
        ensure_folder(Path(config["results"]))
except (ConfigError, StorageError) as error:
    raise WorkflowError(str(error))

DATASET = Dataset.of(config["dataset"])
RUN = Experiment(config, schema, scenarios, DATASET)
TUNE = config["tune"]

# Only a machine with a GPU counts trainings by GPUs; profiles set how many may run at a time.
GPU = int(any(map(shutil.which, ("nvidia-smi", "rocm-smi"))))
# None on a cluster, where the profile sets the threads.
CORES = workflow.resource_settings.cores or 4
CONDA_LIGHT = "../../envs/light.yaml"
CONDA_TORCH = "../../envs/torch.yaml"


def share_of_cores(jobs):
    """Threads of a job with torch: on CPUs several jobs side by side are faster than several threads for each."""
    return 4 if GPU else min(4, max(1, CORES // max(1, jobs)))


@cache
def package_digest(script):
    """Digest of a step's script and of the code of the package that it reaches, of which Snakemake sees nothing."""
    return code_digest.package_digest(SOURCE / f"workflow/scripts/{script}.py", ROOT)


# Paths. Wildcards stay open until `each_...` or Snakemake fills them in.


def results(path):
    """A path below the results folder."""
    return f"{config['results']}/{path}"


def logs(name):
    """A step's log."""
    return results(f"logs/{name}.log")


def timings(name):
    """A step's time and memory."""
    return results(f"timings/{name}.tsv")


def of_scenario(name):
    """A file of a scenario."""
    return results(f"scenarios/{{scenario}}/{name}")


def of_model(name):
    """A file of a model beside its checkpoint."""
    return results(f"models/{{scenario}}/{name}")


def of_figures(name):
    """A figure of a scenario."""
    return results(f"figures/{{scenario}}/{name}")


def scores(name):
    """A file of a scenario's scores."""
    return results(f"scores/{{scenario}}/{name}")


# Folders of their own: DVC shows every file of them, as plots and as metrics.
HISTORY = results("histories/{scenario}.csv")
SUMMARY = results("metrics/{scenario}.json")


def of_scene(name):
    """A file of a scene."""
    return results(f"scenes/{{scene}}/{name}")


def of_map(name):
    """A file of a scene's map by a scenario."""
    return of_scene(f"{{scenario}}/{name}")


def each_scenario(path):
    """The path for every scenario."""
    return expand(path, scenario=RUN.scenarios)


def each_model(path):
    """The path for every model: scenario or, in a cross-validation, fold of one."""
    return expand(path, scenario=RUN.models)


def each_trained(path):
    """The path for every model that is trained here."""
    return expand(path, scenario=RUN.trained)


def each_fold(path):
    """The path for every fold; the path alone where there are none."""
    return expand(path, fold=RUN.folds, allow_missing=True) if RUN.folds else [path]


def each_map(path):
    """The path for every map of a scene."""
    return [path.format(scene=scene, scenario=scenario) for scene, scenario in RUN.maps]


PACKED = dict(
    images=results("packed/images.npy"),
    masks=results("packed/masks.npy"),
    header=results("packed/header.json"),
)
# The header has a digest of the pixels: arrays with a new time but the same pixels make nobody train again.
AS_PACKED = dict(
    images=ancient(PACKED["images"]),
    masks=ancient(PACKED["masks"]),
    header=PACKED["header"],
)
FOLD = "folds/{fold}/" if RUN.folds else ""  # folder of what each fold has of its own


def only(ids):
    """Wildcard constraint to these scenarios or scenes; to none where there are none."""
    return "|".join(map(re.escape, ids)) or "(?!)"


wildcard_constraints:
    scenario=only({**RUN.models, **RUN.scenarios}),
    fold=r"\d+",
    scene=only(RUN.scenes),
    worker=r"[1-9]\d*",


# Inputs and parameters that depend on the job's wildcards.


def by_scenario(lookup):
    """The lookup of the job's scenario."""
    return lambda wildcards: lookup(wildcards.scenario)


def by_scene(lookup):
    """The lookup of the job's scene."""
    return lambda wildcards: lookup(wildcards.scene)


def each_tile(path):
    """The path for every tile of the zone that the job's scene is."""
    return lambda wildcards: [
        path.format(tile=tile, **dict(wildcards.items()))
        for tile in RUN.tiles(wildcards.scene)
    ]


def of_split(name):
    """This file of the split that the job's model learns from, which is its fold's."""
    return lambda wildcards: (
        results(f"{FOLD}{name}").format(fold=fold)
        if (fold := RUN.scenario(wildcards.scenario).fold)
        else results(name)
    )


def where(ids, path):
    """The path, where the job's scenario is among these."""
    return lambda wildcards: (
        path.format(scenario=wildcards.scenario) if wildcards.scenario in ids else []
    )


def pretrained(id_):
    """The files that the training starts from, where there are some: digests say whether they are others, not times."""
    files = [ancient(source.file) for source in RUN.pretrained(id_)]
    return {"pretrained": files} if files else {}


SIMULATED_SCENE = {
    key: value
    for key, value in config["simulate"].items()
    if key not in ("folder", "patches", "scenes", "scene")
} | config["simulate"]["scene"]


def simulated_by(scene):
    """Code and settings that simulate the scene; nothing of other scenes."""
    simulated = RUN.is_simulated(scene)
    return [package_digest("simulate_scene"), SIMULATED_SCENE] if simulated else []


def checkpoint_to_adopt(id_):
    """The user's own checkpoint, or the list of the released ones."""
    own = config["checkpoints"].get(id_)
    return {"checkpoint": own} if own else {"listing": results("models/released.json")}


def searched(lookup):
    """The lookup of the scenario that a search starts from."""
    return lambda wildcards: lookup(TUNE["scenario"])


def data_to_search(id_):
    """What trials train on, where the configuration names a scenario to search from."""
    if not id_:
        raise WorkflowError(
            "tune.scenario: missing; expected the id of a scenario to search from, see docs/tune.md"
        )
    data = dict(
        AS_PACKED,
        split=results("split.csv"),
        statistics=results("statistics.json"),
    )
    return data | pretrained(id_)
