"""Whether a configuration's own models can be built: tried once, in a process of its own, as torch takes seconds."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cerraseg.config import custom_models
from cerraseg.config.scenario import Scenario
from cerraseg.core.errors import ConfigError
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import SOURCE
from cerraseg.core.logs import log
from cerraseg.core.versions import versions

TRIED = Path(".snakemake/cerraseg-models")
"""Holds an empty file for each set of models that was found well."""


def check_models(config: Mapping[str, Any], scenarios: Iterable[Scenario]) -> None:
    """Try the own models that the scenarios name, and the U-Net beside them, unless the same ones were tried before.

    A fault of the U-Net alone shows in its training: without own models nothing is tried, so that nobody waits.

    Raises:
        ConfigError: with the library's words for each model that cannot be built or run, or that its pretrained file
            does not fit.
    """
    trials = _trials(config, scenarios)
    if not any(trial["model"] in config["models"] for trial in trials):
        return
    if not importlib.util.find_spec("segmentation_models_pytorch"):
        log.warning("the models are not checked before the run: segmentation-models-pytorch is not installed here")
        return
    tried = TRIED / _digest(trials)
    if tried.exists():
        return
    if faults := _faults(trials):
        raise ConfigError("the models have faults:\n" + "\n".join(f"  - {fault}" for fault in faults))
    with atomic_write(tried) as temporary:
        temporary.touch()


def _trials(config: Mapping[str, Any], scenarios: Iterable[Scenario]) -> list[dict[str, Any]]:
    """Arguments of ``cerraseg.models.model_trial.fault``, one set for each model and modality."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for scenario in scenarios:
        own = config["models"].get(scenario.model)
        if own is not None or scenario.model == "unet":
            settings = config["unet"] if own is None else custom_models.build_settings(own)
            named = {"model": scenario.model, "modality": scenario.modality, "level": scenario.level}
            file = (own or {}).get("pretrained")
            found.setdefault((scenario.model, scenario.modality), {**named, "settings": settings, "pretrained": file})
    return list(found.values())


def _digest(trials: Sequence[Mapping[str, Any]]) -> str:
    files = [Path(trial["pretrained"]) for trial in trials if trial["pretrained"]]
    states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps([trials, states, versions()]).encode()).hexdigest()[:16]


def _faults(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    package = str(SOURCE)
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "cerraseg.models.model_trial"],
        input=json.dumps(trials),
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        return [f"they cannot be tried: {done.stderr.strip()[-2000:]}"]
    faults: list[str] = json.loads(done.stdout.splitlines()[-1])
    return faults
