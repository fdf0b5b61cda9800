"""Build a configuration's models once before anything runs, in a process of its own, as torch takes seconds to load."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from cerraseg.config import custom_models
from cerraseg.config.dataset import Dataset
from cerraseg.config.recipes import Recipe, check_transnuseg_size, recipe_of, with_custom
from cerraseg.config.scenario import AXES, BASELINE, ENSEMBLE, Scenario
from cerraseg.config.search_space import OF_MODEL
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import ROOT
from cerraseg.core.logs import log
from cerraseg.core.versions import versions

PASSED = Path(".snakemake/cerraseg-models")
"""Holds an empty file for each set of models that passed."""

USUAL_ENCODERS = ("resnet18", "resnet34", "resnet50", "tu-mobilenetv3_small_100")
"""Encoders of U-Nets of any depth, on patches of any size, that need no trial: usual configurations start at once."""

Trial = Mapping[str, Any]  # arguments of model_error


def check_models(config: Mapping[str, Any], scenarios: Sequence[Scenario], dataset: Dataset) -> None:
    """Raise :class:`ConfigError` if a model of the scenarios or the search cannot be built, trained or initialised."""
    errors, trials, recipes = [], [], with_custom(config["recipes"])
    for scenario, settings in _wanted(config, [one for one in scenarios if one.recipe not in (BASELINE, ENSEMBLE)]):
        recipe = recipe_of(scenario, recipes)
        if scenario.model == "transnuseg":
            try:
                check_transnuseg_size(dataset.patch_size, settings["heads"], settings["window"])
            except ConfigError as error:
                errors.append(str(error))
        elif scenario.model == "fullres" and not settings["widths"]:
            continue  # of four levels, for which no patch is too small
        elif scenario.model != "unet" or settings["encoder"] not in USUAL_ENCODERS:
            trials.append(_trial(config, scenario, settings, dataset, recipe))
    errors += _failed([one for k, one in enumerate(trials) if one not in trials[:k]])
    if errors:
        listed = "\n".join(f"  - {error}" for error in dict.fromkeys(errors))
        raise ConfigError(f"the models have faults:\n{listed}")


def _failed(trials: Sequence[Trial]) -> list[str]:
    """Run trials, unless these have passed before; return what is wrong."""
    files = [Path(source[0]).stat() for trial in trials for source in trial["pretrained"]]
    states = [(file.st_size, file.st_mtime_ns) for file in files]
    digest = hashlib.sha256(json.dumps([trials, states, versions()]).encode()).hexdigest()[:16]
    if not trials or (passed := PASSED / digest).exists():
        return []
    if not importlib.util.find_spec("segmentation_models_pytorch"):
        log.warning("the models are not checked before the run: segmentation-models-pytorch is not installed here")
        return []
    errors = _run(trials)
    if not errors:
        with atomic_write(passed) as temporary:
            temporary.touch()
    return errors


def _wanted(config: Mapping[str, Any], scenarios: Iterable[Scenario]) -> Iterator[tuple[Scenario, Mapping[str, Any]]]:
    """Yield the settings of each model, modality and recipe, and each combination of settings in a search."""
    tune = config["tune"]
    space = {key.removeprefix(OF_MODEL): of for key, of in tune["space"].items() if key.startswith(OF_MODEL)}
    tried = set()
    for scenario in scenarios:
        custom = config["models"].get(scenario.model)
        given = config[scenario.model] if custom is None else custom_models.build_settings(custom)
        if (kind := (scenario.model, scenario.modality, scenario.recipe)) not in tried:
            tried.add(kind)
            yield scenario, given
        if space and scenario.id == tune["scenario"]:
            for values in product(*space.values()):
                yield scenario, {**given, **dict(zip(space, values, strict=True))}


def _trial(
    config: Mapping[str, Any], scenario: Scenario, settings: Mapping[str, Any], dataset: Dataset, recipe: Recipe
) -> Trial:
    sensors, batch = dataset.sensors_of(scenario.modality), recipe.crops or config["training"]["batch_size"]
    return {
        "model": scenario.model,
        "bands": dataset.bands(scenario.modality),
        "parts": [len(sensor.bands) for sensor in sensors],
        "classes": len(dataset.classes(scenario.level)),
        "size": recipe.crop or dataset.patch_size,
        "settings": settings,
        "pretrained": custom_models.pretrained_of(
            config["models"].get(scenario.model, {}), [sensor.name for sensor in sensors]
        ),
        "colours": dataset.colours(scenario.modality),
        "patches": min(2, batch // config["training"]["accumulate"]),
    }


def _run(trials: Sequence[Trial]) -> list[str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command, env = [sys.executable, "-m", "cerraseg.models.preflight"], {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, input=json.dumps(trials), env=env, text=True, capture_output=True, check=False)
    if done.returncode:
        return [f"they cannot be tried: {done.stderr.strip()[-2000:]}"]
    return list(json.loads(done.stdout.splitlines()[-1]))


def model_error(
    model: str,
    bands: Sequence[str],
    parts: Sequence[int],
    classes: int,
    size: int,
    settings: Mapping[str, Any],
    pretrained: Sequence[Sequence[Any]],
    colours: Sequence[str],
    patches: int,
) -> str:
    """Build a model and compute empty patches as in training; return what is wrong, empty if nothing.

    Arguments are those of :func:`cerraseg.models.factory.build` and :func:`cerraseg.models.pretrained.load_encoder`.
    """
    import torch  # here, as the workflow imports this module and must not load torch

    from cerraseg.models.factory import build
    from cerraseg.models.pretrained import load_encoder

    section = model if model in AXES["model"] else f"models.{model}"
    expected = (patches, classes, size, size)
    try:
        built = build(model, parts, classes, settings, size).train()
        if pretrained:
            load_encoder(built, bands, [custom_models.Pretrained(*source) for source in pretrained], colours)
    except ConfigError as error:
        return str(error)
    except DataError as error:
        return f"{section}.pretrained: {error}"
    remedy = f"change its options, or the dataset's patch_size {size} (or the crop of its recipe)"
    try:
        with torch.no_grad():
            found = tuple(built(torch.zeros(patches, len(bands), size, size)).shape)
    except Exception as error:  # any option may be given, and the library's words explain best what is wrong with it
        alone = " (or training.batch_size and training.accumulate, which leave one patch at a time)" * (patches < 2)
        return f"{section}: fails on {patches} x {len(bands)} x {size} x {size}: {error}; {remedy}{alone}"
    return f"{section}: makes {found} of patches, expected {expected}; {remedy}" * (found != expected)


if __name__ == "__main__":
    found = [model_error(**trial) for trial in json.load(sys.stdin)]
    print(f"\n{json.dumps(list(dict.fromkeys(filter(None, found))))}")
