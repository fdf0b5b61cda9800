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
from cerraseg.config.scenario import Scenario
from cerraseg.config.search_space import OF_MODEL
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import SIZE, SOURCE
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import LEVELS, MODALITIES
from cerraseg.core.versions import versions

PASSED = Path(".snakemake/cerraseg-models")
"""Holds an empty file for each set of models that passed."""

USUAL_ENCODERS = ("resnet18", "resnet34", "resnet50", "tu-mobilenetv3_small_100")
"""Encoders that U-Nets of any depth are built with: these need no trial, so that usual configurations start at once."""

Trial = Mapping[str, Any]  # arguments of model_error


def check_models(config: Mapping[str, Any], scenarios: Sequence[Scenario]) -> None:
    """Raise :class:`ConfigError` if a model of the scenarios or the search cannot be built, trained or initialised."""
    trials = [*_trials(config, scenarios)]
    if not trials or (passed := PASSED / _digest(trials)).exists():
        return
    if not importlib.util.find_spec("segmentation_models_pytorch"):
        log.warning("the models are not checked before the run: segmentation-models-pytorch is not installed here")
        return
    if errors := _run(trials):
        raise ConfigError("the models have faults:\n" + "\n".join(f"  - {error}" for error in errors))
    with atomic_write(passed) as temporary:
        temporary.touch()


def _trials(config: Mapping[str, Any], scenarios: Iterable[Scenario]) -> Iterator[Trial]:
    """Yield a trial for each model and modality, and for each combination of settings in a search."""
    patches = min(2, config["training"]["batch_size"] // config["training"]["accumulate"])
    tune = config["tune"]
    space = {key.removeprefix(OF_MODEL): of for key, of in tune["space"].items() if key.startswith(OF_MODEL)}
    tried = set()
    for scenario in scenarios:
        custom = config["models"].get(scenario.model)
        if custom is None and scenario.model != "unet":
            continue
        given = config["unet"] if custom is None else custom_models.build_settings(custom)
        found = [] if (scenario.model, scenario.modality) in tried else [given]
        tried.add((scenario.model, scenario.modality))
        if space and scenario.id == tune["scenario"]:
            found += [{**given, **dict(zip(space, values, strict=True))} for values in product(*space.values())]
        for settings in found:
            if custom is not None or settings["encoder"] not in USUAL_ENCODERS:
                yield {
                    "model": scenario.model,
                    "modality": scenario.modality,
                    "level": scenario.level,
                    "settings": settings,
                    "pretrained": (custom or {}).get("pretrained"),
                    "patches": patches,
                }


def _digest(trials: Sequence[Trial]) -> str:
    files = [Path(trial["pretrained"]) for trial in trials if trial["pretrained"]]
    states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps([trials, states, versions()]).encode()).hexdigest()[:16]


def _run(trials: Sequence[Trial]) -> list[str]:
    path = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH"))))
    command, env = [sys.executable, "-m", "cerraseg.models.preflight"], {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, input=json.dumps(trials), env=env, text=True, capture_output=True, check=False)
    if done.returncode:
        return [f"they cannot be tried: {done.stderr.strip()[-2000:]}"]
    return list(json.loads(done.stdout.splitlines()[-1]))


def model_error(
    model: str, modality: str, level: str, settings: Mapping[str, Any], pretrained: str | None, patches: int
) -> str:
    """Build a model and compute ``patches`` empty patches as in training; return what is wrong, empty if nothing."""
    import torch  # here, as the workflow imports this module and must not load torch

    from cerraseg.models.factory import build
    from cerraseg.models.pretrained import load_encoder

    section, bands = "unet" if model == "unet" else f"models.{model}", MODALITIES[modality]
    expected = (patches, len(LEVELS[level]), SIZE, SIZE)
    try:
        built = build(model, len(bands), len(LEVELS[level]), settings).train()
        if pretrained:
            load_encoder(built, bands, Path(pretrained))
    except ConfigError as error:
        return str(error)
    except DataError as error:
        return f"{section}.pretrained: {error}"
    try:
        with torch.no_grad():
            found = tuple(built(torch.zeros(patches, len(bands), SIZE, SIZE)).shape)
    except Exception as error:  # any option may be given, and the library's words explain best what is wrong with it
        alone = " (or training.batch_size and training.accumulate, which leave one patch at a time)" * (patches < 2)
        return f"{section}: fails on {patches} x {len(bands)} x {SIZE} x {SIZE}: {error}; change its options{alone}"
    return f"{section}: makes {found} of patches, expected {expected}; change its options" * (found != expected)


if __name__ == "__main__":
    found = [model_error(**trial) for trial in json.load(sys.stdin)]
    print(f"\n{json.dumps(list(dict.fromkeys(filter(None, found))))}")
