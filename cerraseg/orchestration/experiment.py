"""What a checked configuration asks for, as the workflow's rules look it up."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from cerraseg.config import custom_models
from cerraseg.config.recipes import recipe_of, with_custom
from cerraseg.config.scenario import RELEASED, Scenario
from cerraseg.config.validate import simulated_scene
from cerraseg.core.content import content

BENCHMARK = "CerraData-4MM"
_NOT_OF_MAPS = ("patches", "geotiffs", "check_scale", "minimum_hectares")
_OF_SCENES = ("name", "msi", "sar", "msi_bands", "sar_bands", "reference_level")


class Experiment:
    """The scenarios, models, scenes and labels of a checked configuration, each by its id or name."""

    def __init__(self, config: Mapping[str, Any], schema: Mapping[str, Any], scenarios: list[Scenario]) -> None:
        split, checkpoints = config["split"], config["checkpoints"]
        self.config, self.schema = config, schema
        self.scenarios = {scenario.id: scenario for scenario in scenarios}
        # The folds of a cross-validation, from 1; none without one.
        self.folds = list(range(1, split["folds"] + 1)) if split["scheme"] == "kfold" else []
        # What has a checkpoint: the scenarios or, in a cross-validation, the folds of each.
        models = (replace(scenario, fold=fold) for scenario in scenarios for fold in self.folds or [0])
        self.models = {model.id: model for model in models}
        # Ids of the scenarios that take the checkpoint that the data set's authors released, or the user's own.
        taken = (scenario for scenario in scenarios if scenario.recipe == RELEASED or scenario.id in checkpoints)
        self.adopted = [scenario.id for scenario in taken]
        self.released = [id_ for id_ in self.adopted if id_ not in checkpoints]
        # Ids of the models that are trained here.
        self.trained = [id_ for id_ in self.models if id_ not in self.adopted]
        self.scenes: dict[str, Mapping[str, Any]] = {scene["name"]: scene for scene in config["scenes"]}
        # Scene and scenario of each map of a scene.
        self.maps = [(name, id_) for name, scene in self.scenes.items() for id_ in scene["scenarios"]]
        # Files of the simulated scene; none of other sources.
        self.simulated = simulated_scene(config) if config["source"] == "simulate" else {}
        # Which patches are mapped: test, all, ...
        self.patches = "all" if self.folds else str(config["predict"]["patches"])
        of_maps = {**config["predict"], **config["maps"]}
        self.map_settings = {key: value for key, value in of_maps.items() if key not in _NOT_OF_MAPS}
        # Of a cross-validation, the settings of its folds' groups.
        self.split = {key: value for key, value in split.items() if not (self.folds and key == "buffer_km")}
        self.label = self._label()
        # Whether scores may stand beside the published ones: the same data, split in the published way. A checked split
        # has no keys of other schemes.
        self.comparable = self.label == BENCHMARK and split.items() <= self.defaults("split").items()

    def _label(self) -> str:
        """Return what tables and figures call the data."""
        if self.config["source"] == "local":
            return str(self.config["label"])
        if self.config["source"] == "simulate":
            return "simulated landscape"
        dataset = self.config["kaggle"]["dataset"]
        return BENCHMARK if dataset == self.defaults("kaggle")["dataset"] else str(dataset)

    @property
    def fold_split(self) -> dict[str, Any]:
        """Settings of the split of each fold."""
        keys = ("train", "validation", "test", "validation_seed", "buffer_km", "tolerance")
        return {key: self.config["split"][key] for key in keys}

    def defaults(self, section: str) -> dict[str, Any]:
        """Return the defaults of a section of the configuration; of ``kaggle`` and ``split`` the published values."""
        return {name: part["default"] for name, part in self.schema["properties"][section]["properties"].items()}

    def scenario(self, id_: str) -> Scenario:
        """Return the scenario, or the fold of one, that has this id."""
        return {**self.scenarios, **self.models}[id_]

    def fields(self, id_: str) -> dict[str, Any]:
        """Return the scenario as plain values."""
        return asdict(self.scenario(id_))

    def predicted(self, id_: str) -> str:
        """Return which patches the scenario's prediction holds: ``test``, ``all``, ..."""
        return "test" if self.scenario(id_).fold else self.patches

    def recipe(self, id_: str) -> dict[str, Any]:
        """Return the scenario's recipe as plain values."""
        return asdict(recipe_of(self.scenario(id_), with_custom(self.config["recipes"])))

    def hierarchical(self, id_: str) -> bool:
        """Return whether the scenario's model is trained for both levels."""
        return bool(self.recipe(id_)["hierarchy"] > 0)

    def model_settings(self, id_: str) -> dict[str, Any]:
        """Return the settings of the scenario's model; released ones have the published settings, the defaults."""
        scenario = self.scenario(id_)
        if scenario.model in self.config["models"]:
            return custom_models.build_settings(self.config["models"][scenario.model])
        if scenario.recipe == RELEASED:
            return self.defaults(scenario.model)
        return dict(self.config[scenario.model])

    def pretrained(self, id_: str) -> str:
        """Return the file of encoder parameters that the scenario's training starts from, or an empty text."""
        return str(self.config["models"].get(self.scenario(id_).model, {}).get("pretrained") or "")

    def pretrained_digest(self, id_: str) -> str:
        """Return the SHA-256 of that file, or an empty text."""
        file = self.pretrained(id_)
        return _sha256(file) if file else ""

    def scene_settings(self, name: str) -> dict[str, Any]:
        """Return what the configuration says of a scene's pixels."""
        return {key: value for key, value in self.scenes[name].items() if key in _OF_SCENES}

    def scene_modality(self, name: str) -> str:
        """Return the modality that has the bands of all scenarios that map the scene."""
        found = {self.scenarios[id_].modality for id_ in self.scenes[name]["scenarios"]}
        return found.pop() if len(found) == 1 else "concat"

    def scene_files(self, name: str, *kinds: str) -> dict[str, str]:
        """Return the scene's files of these kinds; a user's own may be absent, as in a clone."""
        found = {kind: self.scenes[name][kind] for kind in kinds if kind in self.scenes[name]}
        return {kind: path for kind, path in found.items() if path in self.simulated.values() or Path(path).is_file()}

    def is_simulated(self, name: str) -> bool:
        """Return whether the run makes the scene's images."""
        scene = self.scenes[name]
        return scene.get("msi", scene.get("sar")) in self.simulated.values()

    def scene_label(self, name: str) -> str:
        """Return what figures call the scene's data."""
        return self.label if self.is_simulated(name) else f"scene {name}, models trained on {self.label}"


@cache
def _sha256(file: str) -> str:
    return content(Path(file)).sha256
