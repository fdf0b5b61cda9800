"""Check a configuration before anything runs: the schema, spelling, and keys that depend on each other."""

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from cerraseg.config import custom_models
from cerraseg.config.areas import check_areas, check_scene
from cerraseg.config.dataset import BUILT_IN, DEFAULT, Dataset
from cerraseg.config.descriptions import load_dataset
from cerraseg.config.ensembles import ensemble_of, members_of
from cerraseg.config.entries import area_layers
from cerraseg.config.normalisation import check_normalisation
from cerraseg.config.recipes import RECIPES, Recipe, check_accumulate, check_heads, check_recipe, recipe_of, with_custom
from cerraseg.config.regions import check_region
from cerraseg.config.scenario import AXES, ENSEMBLE, PLURALS, RELEASED, Scenario, expand, known_names, with_baselines
from cerraseg.config.schema import schema_errors, typed, with_defaults
from cerraseg.config.search_space import check_tune
from cerraseg.config.strict_yaml import check_values
from cerraseg.config.suggestions import check_known, check_name, expand_file, expand_path
from cerraseg.core.errors import ConfigError
from cerraseg.core.layout import available_layers

SPLIT_KEYS: dict[str, tuple[str, ...]] = {
    "paper": (),
    "blocks": ("block_km", "buffer_km", "tolerance"),
    "sites": ("site_gap_km", "buffer_km", "tolerance", "test_sites", "validation_sites"),
    "kfold": ("unit", "folds", "buffer_km", "tolerance"),
}
"""Scheme of the split → the keys of its own; ``kfold`` has the first of its unit, too."""

_SCHEMES = {"kaggle": "paper", "simulate": "paper"}
"""Source → its scheme where none is given; others have ``blocks``."""


def check_config(config: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[Scenario]]:
    """Complete a configuration with the schema's defaults and expand its scenarios, or raise :class:`ConfigError`."""
    check_values(config)
    config = typed(config, schema)
    if found := schema_errors(config, schema):
        raise ConfigError("the configuration has faults:\n" + "\n".join(f"  - {fault}" for fault in found))
    complete = with_defaults(config, schema)
    dataset = load_dataset(complete["dataset"], Path())
    complete["dataset"] = complete["dataset"] if complete["dataset"] in [*BUILT_IN] else dataset.as_dict()
    complete["split"] = _split({"scheme": _SCHEMES.get(complete["source"], "blocks")} | complete["split"])
    training = complete["training"]
    check_heads(complete["transnuseg"]["embed_dim"], complete["transnuseg"]["heads"])
    own = schema["properties"]["models"]["additionalProperties"]
    complete["models"] = custom_models.complete_models(complete, own)
    named = known_names(dataset, complete["models"], _recipes(complete))
    scenarios = _scenarios(complete["scenarios"], named)
    scenarios = with_baselines(scenarios, complete["baselines"], complete["scenarios"]["seeds"])
    custom_models.check_scenarios(complete["models"], scenarios, complete["checkpoints"], dataset)
    recipes = {scenario: recipe_of(scenario, with_custom(complete["recipes"])) for scenario in scenarios}
    for scenario, recipe in recipes.items():
        check_recipe(scenario, recipe, dataset)
        check_normalisation(scenario.recipe, recipe, dataset.bands(scenario.modality))
    steps = {f"recipes.{scenario.recipe}.crops": recipe.crops for scenario, recipe in recipes.items()}
    for key, batch in (steps | {"batch_size": training["batch_size"]}).items():
        check_accumulate(key, batch, training["accumulate"])
    for id_, path in complete["checkpoints"].items():
        check_known("checkpoints", id_, [scenario.id for scenario in scenarios])
        complete["checkpoints"][id_] = expand_file(f"checkpoints.{id_}", path, "a checkpoint")
    _check_released(complete, scenarios)
    _check_folds(complete, scenarios)
    complete["tune"] = check_tune(complete, scenarios, schema)
    fewest = 1 if complete["split"]["scheme"] == "kfold" else 2
    members = members_of(complete["ensembles"], scenarios, complete["models"], fewest)
    complete["ensembles"] = {name: [member.id for member in several] for name, several in members.items()}
    scenarios += [ensemble_of(name, several, dataset) for name, several in members.items()]
    if complete["source"] == "simulate" and dataset != Dataset.of(DEFAULT):
        raise ConfigError(
            f"dataset: source simulate makes patches of {DEFAULT} alone; expected that, or another source"
        )
    for section in ("areas", "scenes", "regions"):
        names = [entry["name"].lower() for entry in complete[section]]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(f"{section}.{twice[0]}: two {section} have this name; expected one a name: rename one")
    scenes_of(complete, scenarios, dataset)
    complete["tiling"] = {"stride": dataset.patch_size} | complete["tiling"]
    labelled = [region for region in regions_of(complete, scenarios, dataset) if region["labels"]]
    areas = [*areas_of(complete, dataset), *({**region, "images": region["sensors"]} for region in labelled)]
    source = complete["source"]
    if (source == "rasters") is not bool(areas):
        raise ConfigError(
            f"areas: {len(areas)} with source {source}, regions with labels counted; expected some with source rasters "
            "and no others"
        )
    if areas:
        _check_layers(area_layers(areas, dataset), recipes, dataset)
    if complete["source"] == "local":
        complete["roots"] = _roots(complete)
        if all(Path(root).is_dir() for root in complete["roots"]):
            folders = {name: dataset.folders[name] for name in (*dataset.sensors, *dataset.levels)}
            _check_layers(available_layers(complete["roots"], folders), recipes, dataset)
    elif "roots" in config:
        raise ConfigError(f"roots: {config['roots']} is set but source is {complete['source']}; set source: local")
    return complete, scenarios


def _split(split: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the keys of other schemes, so that changing one does not split and train again."""
    shares = {part: split[part] for part in ("train", "validation", "test")}
    if not math.isclose(total := sum(shares.values()), 1, abs_tol=1e-6):
        listed = " + ".join(f"{part} {share}" for part, share in shares.items())
        raise ConfigError(f"split: {listed} = {total:g}, expected 1; change one of the shares")
    known = {key for keys in SPLIT_KEYS.values() for key in keys}
    read = {*SPLIT_KEYS[split["scheme"]], *(SPLIT_KEYS[split["unit"]][:1] if split["scheme"] == "kfold" else ())}
    return {key: value for key, value in split.items() if key in read or key not in known}


def _check_folds(config: Mapping[str, Any], scenarios: Iterable[Scenario]) -> None:
    """Refuse what needs the one model of a scenario, as a cross-validation trains one per fold."""
    if config["split"]["scheme"] != "kfold":
        return
    taken = config["checkpoints"] or any(scenario.recipe == RELEASED for scenario in scenarios)
    for found, remedy in (
        (taken, "a checkpoint was trained on another split: take checkpoints and released scenarios out"),
        (config["tune"]["scenario"], "a search compares one: take tune.scenario out"),
        (
            (config["scenes"] or config["regions"]) and not config["ensembles"],
            "a scene or a region needs one: give an ensemble, or take the scenes out, and the regions",
        ),
    ):
        if found:
            raise ConfigError(
                f"split.scheme: kfold trains a model for each fold of a scenario, and {remedy}, or choose another "
                "scheme, which trains a scenario once"
            )


def _recipes(config: Mapping[str, Any]) -> list[str]:
    """Check the custom recipes, of which each starts from one before it, and return their names."""
    own: list[str] = []
    for name, changes in config["recipes"].items():
        check_name(f"recipes.{name}", name, [*AXES["recipe"], ENSEMBLE])
        check_known(f"recipes.{name}.from", changes["from"], [*RECIPES, *own])
        own.append(name)
    return own


def _scenarios(given: Mapping[str, Any], named: Mapping[str, Collection[str]]) -> list[Scenario]:
    for axis, names in named.items():
        for name in given[PLURALS[axis]]:
            check_known(f"scenarios.{PLURALS[axis]}", name, [*AXES[axis], *names])
    crossed = {axis: given[plural] for axis, plural in PLURALS.items()}
    try:
        scenarios = expand(crossed, given["seeds"], given["extra"], named)
    except ConfigError as error:
        raise ConfigError(f"scenarios.extra: {error}") from None
    if not scenarios:
        raise ConfigError("scenarios: nothing to run; put at least one value in each list, or one id under extra")
    return scenarios


def _check_released(config: Mapping[str, Any], scenarios: Iterable[Scenario]) -> None:
    if not any(scenario.recipe == RELEASED for scenario in scenarios):
        return
    given, scheme = config["released"], config["split"]["scheme"]
    if config["source"] == "kaggle" and scheme not in ("paper", "kfold"):
        raise ConfigError(
            f"split.scheme: {scheme}, whose test patches the released checkpoints have learned from; expected paper: "
            "take the scenarios with recipe released out, or split so"
        )
    if given["source"] == "drive" and not given["drive_id"]:
        raise ConfigError("released.drive_id: missing; source drive needs the id in the file's link")
    if given["source"] == "local" and not Path(given["folder"]).is_dir():
        raise ConfigError(f"released.folder: {given['folder']}: no such folder; expected one that holds the .pt files")


def areas_of(config: Mapping[str, Any], dataset: Dataset) -> list[dict[str, Any]]:
    """Return the areas of a configuration in the form of :func:`cerraseg.config.areas.check_areas`."""
    packed = Path(config["results"], "packed/header.json").is_file()  # e.g. by dvc pull: the rasters are not needed
    return check_areas(config["areas"], dataset, must_exist=not packed)


def scenes_of(config: Mapping[str, Any], scenarios: Iterable[Scenario], dataset: Dataset) -> list[dict[str, Any]]:
    """Return the scenes of a configuration in the form of :func:`cerraseg.config.areas.check_scene`.

    Each has its ``scenarios``, in a cross-validation ensembles of folds. The run itself makes the simulated one.
    """
    folds = config["split"]["scheme"] == "kfold"
    scenarios = [scenario for scenario in scenarios if scenario.recipe == ENSEMBLE or not folds]
    made = simulated_scene(config).values() if config["source"] == "simulate" else ()
    scenes: list[dict[str, Any]] = []
    for given in config["scenes"]:
        where = f"scenes.{given['name']}"
        mapped = Path(config["results"], "scenes", given["name"], "scene.json").is_file()  # e.g. by dvc pull
        scene = check_scene(given, dataset, must_exist=not mapped, made=made)
        scenes.append(scene | {"scenarios": _mapped_by(scene, where, scenarios, dataset)})
    return scenes


def regions_of(config: Mapping[str, Any], scenarios: Iterable[Scenario], dataset: Dataset) -> list[dict[str, Any]]:
    """Return the regions of a configuration in the form of :func:`cerraseg.config.regions.check_region`.

    Each has its ``scenarios`` as scenes do; one with labels has those alone that it names.
    """
    folds = config["split"]["scheme"] == "kfold"
    able, regions = [one for one in scenarios if one.recipe == ENSEMBLE or not folds], []
    for given in config["regions"]:
        region = check_region(given, dataset)
        mapped = not region["labels"] or region.get("scenarios")
        images = region | {"images": region["sensors"]}
        where = f"regions.{region['name']}"
        regions.append(region | {"scenarios": _mapped_by(images, where, able, dataset) if mapped else []})
    return regions


def _mapped_by(scene: Mapping[str, Any], where: str, scenarios: Iterable[Scenario], dataset: Dataset) -> list[str]:
    """Return the ids of the scenarios that map a scene: those it names, or all whose bands it has."""
    needs = {one.id: {sensor.name for sensor in dataset.sensors_of(one.modality)} for one in scenarios}
    able = [id_ for id_, sensors in needs.items() if sensors <= set(scene["images"])]
    named = list(scene.get("scenarios", []))
    for id_ in named:
        check_known(f"{where}.scenarios", id_, needs)
        if id_ not in able:
            raise ConfigError(f"{where}: {id_} needs {', '.join(needs[id_])}, of which the scene lacks some; add them")
    if not able:
        raise ConfigError(f"{where}: no scenario can map it with {', '.join(scene['images'])} alone; add images")
    return named or able


def simulated_scene(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of the simulated scene: msi, sar, and the truth of both levels."""
    names = ("msi", "sar", "truth_l1", "truth_l2")
    return {name: f"{config['simulate']['folder']}/scene/{name}.tif" for name in names}


def _roots(config: Mapping[str, Any]) -> list[str]:
    given = config.get("roots")
    if not given:
        raise ConfigError(
            "roots: missing; source local needs the folder that holds msi_images, sar_images, semantic_7c, ... "
            "Set it in the configuration, or on the command line: --config roots=/path/to/patches"
        )
    roots = [expand_path("roots", root) for root in ([given] if isinstance(given, str) else given)]
    packed = Path(config["results"], "packed/header.json").is_file()  # e.g. by dvc pull: the patches are not needed
    for root in roots:
        if not packed and not Path(root).is_dir():
            raise ConfigError(f"roots: {root}: no such folder; expected one that holds msi_images, semantic_7c, ...")
    return roots


def _check_layers(available: set[str], recipes: Mapping[Scenario, Recipe], dataset: Dataset) -> None:
    for scenario, recipe in recipes.items():
        levels = {scenario.level, *(dataset.ancestors(scenario.level) if recipe.hierarchical else ())}
        sensors = {sensor.name for sensor in dataset.sensors_of(scenario.modality)}
        for layer in sorted((sensors | levels) - available):
            raise ConfigError(
                f"scenarios: {scenario.id} needs {' or '.join(dataset.folders[layer]) or layer}, which not every root "
                f"or area has; the data has: {', '.join(sorted(available)) or 'none of the known folders'}. "
                "Add it or take the scenario out"
            )
