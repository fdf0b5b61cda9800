"""What a checked configuration asks for, as the workflow's rules look it up."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerraseg.config import custom_models
from cerraseg.config.dataset import Dataset
from cerraseg.config.entries import files_of, image_files
from cerraseg.config.recipes import recipe_of, with_custom
from cerraseg.config.scenario import BASELINE, BASELINES, ENSEMBLE, RELEASED, Scenario
from cerraseg.config.validate import areas_of, regions_of, scenes_of, simulated_scene
from cerraseg.core.content import content
from cerraseg.geo.images import raster_sources

if TYPE_CHECKING:
    from cerraseg.data.imagery.region import Region

BENCHMARK = "CerraData-4MM"
PUBLISHED = {"scheme": "paper"}
"""Published settings that are no defaults."""

_NOT_OF_MAPS = ("patches", "geotiffs", "minimum_hectares")
_OF_SCENES = ("name", "images", "reference_level")


class Experiment:
    """The scenarios, models, scenes and labels of a checked configuration, each by its id or name."""

    def __init__(
        self, config: Mapping[str, Any], schema: Mapping[str, Any], scenarios: list[Scenario], dataset: Dataset
    ) -> None:
        split, checkpoints = config["split"], config["checkpoints"]
        self.config, self.schema, self.dataset = config, schema, dataset
        # The dataset as pixels, splits and trainings depend on it, and with the names and colours of people.
        self.pixels, self.looks = dataset.without_looks(), dataset.as_dict()
        # Places and seasons whose images the run fetches; each UTM zone of one is a scene, or an area, or both.
        self.regions: dict[str, Region] = {}
        if settings := regions_of(config, scenarios, dataset):
            from cerraseg.data.imagery.region import regions_by_name  # as it takes longer to load than all else

            self.regions = regions_by_name(settings, dataset, config["results"])
        zones = [(region, region.entry(epsg)) for region in self.regions.values() for epsg in region.zones]
        self.region_of = {entry["name"]: region for region, entry in zones}
        # Name → entry of each area whose windows are the patches; none of other sources.
        areas = [*areas_of(config, dataset), *(entry for _, entry in zones if entry["labels"])]
        self.areas = {area["name"]: {key: area[key] for key in ("name", "images", "labels")} for area in areas}
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
        # Ensemble, or a fold of one → ids of the models that it averages. In a cross-validation the ensemble itself, of
        # all folds, maps scenes; its scores are those of its folds.
        self.ensembles: dict[str, list[str]] = {}
        for one in (scenario for scenario in scenarios if scenario.recipe == ENSEMBLE):
            members = [self.scenarios[id_] for id_ in config["ensembles"][one.model]]
            for whole, folds in [(one, self.folds or [0]), *((replace(one, fold=fold), [fold]) for fold in self.folds)]:
                self.ensembles[whole.id] = [replace(member, fold=fold).id for fold in folds for member in members]
        # Ids of the models that are trained here.
        self.trained = [id_ for id_ in self.models if id_ not in self.adopted and id_ not in self.ensembles]
        # Of these, the baselines, which take seconds and no GPU.
        self.baselines = [id_ for id_ in self.trained if self.models[id_].recipe == BASELINE]
        scenes = [*scenes_of(config, scenarios, dataset), *(entry for _, entry in zones if entry["scenarios"])]
        self.scenes: dict[str, Mapping[str, Any]] = {scene["name"]: scene for scene in scenes}
        # Scene and scenario of each map of a scene.
        self.maps = [(name, id_) for name, scene in self.scenes.items() for id_ in scene["scenarios"]]
        # Files of the simulated scene; none of other sources.
        self.simulated = simulated_scene(config) if config["source"] == "simulate" else {}
        # All files of images that the run makes.
        self.made = {*self.simulated.values(), *(file for _, entry in zones for file in image_files(entry))}
        self.area_files = [file for area in self.areas.values() for file in self._here(files_of(area))]
        # Which patches are mapped: test, all, ...
        self.patches = "all" if self.folds else str(config["predict"]["patches"])
        of_maps = {**config["predict"], **config["maps"]}
        self.prediction_settings = {key: config["predict"][key] for key in ("batch_size", "augment", "precision")}
        self.map_settings = {key: value for key, value in of_maps.items() if key not in _NOT_OF_MAPS}
        # Of a cross-validation, the settings of its folds' groups.
        self.split = {key: value for key, value in split.items() if not (self.folds and key == "buffer_km")}
        self.label = self._label()
        # Whether the patches are, or may be, those that the released checkpoints learned from.
        self.published_data = config["source"] == "kaggle" or self.label == BENCHMARK

    def _label(self) -> str:
        """Return what tables and figures call the data."""
        if self.config["source"] in ("local", "rasters"):
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
        parts = self.schema["properties"][section]["properties"]
        return {name: part.get("default", PUBLISHED.get(name)) for name, part in parts.items()}

    def scenario(self, id_: str) -> Scenario:
        """Return the scenario, or the fold of one, that has this id."""
        return {**self.scenarios, **self.models}[id_]

    def fields(self, id_: str) -> dict[str, Any]:
        """Return the scenario as plain values."""
        return asdict(self.scenario(id_))

    def predicted(self, id_: str) -> str:
        """Return which patches the scenario's prediction holds: ``test``, ``all``, ..."""
        return "test" if self.scenario(id_).fold else self.patches

    def context(self, id_: str) -> dict[str, Any]:
        """Return how the patches of the scenario's mosaic are predicted in context; empty where they are not."""
        alone = self.folds or self.scenario(id_).recipe == BASELINE  # which looks 3 pixels far
        return {} if alone or not self.config["mosaic"]["context"] else self.prediction_settings

    def recipe(self, id_: str) -> dict[str, Any]:
        """Return the scenario's recipe as plain values; of an ensemble, a member's, if possible without hierarchy."""
        if id_ in self.ensembles:
            recipes = list(map(self.recipe, self.ensembles[id_]))
            return min(recipes, key=lambda recipe: bool(recipe["hierarchy"]))
        return asdict(recipe_of(self.scenario(id_), with_custom(self.config["recipes"])))

    def hierarchical(self, id_: str) -> bool:
        """Return whether the scenario's model is trained for both levels."""
        return bool(self.recipe(id_)["hierarchy"] > 0)

    def model_settings(self, id_: str) -> dict[str, Any]:
        """Return the settings of the scenario's model; released ones have the published settings, the defaults."""
        scenario = self.scenario(id_)
        if scenario.model in self.config["models"]:
            return custom_models.build_settings(self.config["models"][scenario.model])
        if scenario.recipe == ENSEMBLE:
            return {}
        if scenario.recipe == RELEASED:
            return self.defaults(scenario.model)
        return dict(self.config.get(scenario.model, {}))  # of baselines, none

    def baseline(self, id_: str) -> str:
        """Return the id of the pixel-wise baseline of the scenario's bands, level and fold; empty without one."""
        own = self.scenario(id_)
        wanted = (BASELINES[0], own.modality, own.level, BASELINE, own.fold)
        alike = [
            (one.seed, one.id)
            for one in {**self.scenarios, **self.models}.values()
            if (one.model, one.modality, one.level, one.recipe, one.fold) == wanted
        ]
        first = min(alike, default=(0, ""))[1]  # as the benchmark's table takes it
        return first if first != id_ else ""

    def folds_of(self, id_: str) -> list[int]:
        """Return the folds whose models an ensemble averages; 0 where there are none."""
        return [self.scenario(id_).fold] if self.scenario(id_).fold else self.folds or [0]

    def pretrained(self, id_: str) -> list[custom_models.Pretrained]:
        """Return the files of encoder parameters that the scenario's training starts from."""
        scenario = self.scenario(id_)
        sensors = [sensor.name for sensor in self.dataset.sensors_of(scenario.modality)]
        return custom_models.pretrained_of(self.config["models"].get(scenario.model, {}), sensors)

    def pretrained_digest(self, id_: str) -> list[tuple[str, list[str], int]] | str:
        """Return SHA-256, bands and encoder of each of those files; an empty text where there is none."""
        return [(_sha256(file), list(bands), encoder) for file, bands, encoder in self.pretrained(id_)] or ""

    @property
    def finest_level(self) -> str:
        """Return the finest level of all scenarios."""
        return max((scenario.level for scenario in self.scenarios.values()), key=list(self.dataset.levels).index)

    def scene_settings(self, name: str) -> dict[str, Any]:
        """Return what the configuration says of a scene's pixels."""
        return {key: value for key, value in self.scenes[name].items() if key in _OF_SCENES}

    def scene_sensors(self, name: str) -> list[str]:
        """Return the sensors of all scenarios that map the scene, in the dataset's order."""
        scenarios = [self.scenarios[id_] for id_ in self.scenes[name]["scenarios"]]
        needed = {sensor.name for one in scenarios for sensor in self.dataset.sensors_of(one.modality)}
        return [sensor for sensor in self.dataset.sensors if sensor in needed]

    def scene_images(self, name: str) -> list[str]:
        """Return the files of the scene's images; a user's own may be absent, as in a clone."""
        return self._here(image_files(self.scenes[name]))

    def scene_reference(self, name: str) -> list[str]:
        """Return the file of the scene's reference, where it has one that is here."""
        file = str(self.scenes[name].get("reference", ""))
        return self._here([file] if file else [])

    def _here(self, files: Iterable[str]) -> list[str]:
        """Return the files that the run makes, and of the others, and what lies below a VRT or .SAFE, those present."""
        return [source for file in files for source in ([file] if file in self.made else _present([file]))]

    def tiles(self, name: str) -> list[str]:
        """Return the tiles of the zone of a region that the scene is."""
        return self.region_of[name].tiles(_zone(name))

    def placed(self, name: str) -> dict[str, Any]:
        """Return where that zone and its tiles lie."""
        return self.region_of[name].placed(_zone(name))

    def is_simulated(self, name: str) -> bool:
        """Return whether the run makes the scene's images."""
        return not set(image_files(self.scenes[name])).isdisjoint(self.simulated.values())

    def scene_label(self, name: str) -> str:
        """Return what figures call the scene's data."""
        if name in self.region_of:
            return f"region {name}, {self.scenes[name]['date']}, models trained on {self.label}"
        return self.label if self.is_simulated(name) else f"scene {name}, models trained on {self.label}"


def _zone(scene: str) -> int:
    return int(scene.rpartition("-")[2])


def _present(files: Iterable[str]) -> list[str]:
    """Return these files, and those below a VRT or in a .SAFE folder, as far as they are here."""
    return [str(source) for file in files if Path(file).exists() for source in raster_sources(Path(file))]


@cache
def _sha256(file: str) -> str:
    return content(Path(file)).sha256
