"""What is wrong in a configuration is said before anything runs: the path, the value, what is allowed."""

import copy
import dataclasses
import itertools
import json
import re
from pathlib import Path

import pytest
import yaml
from scenes import CERRADATA

from cerraseg.config.recipes import RECIPES, with_custom
from cerraseg.config.validate import check_config, scenes_of
from cerraseg.core.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]
SCHEMA = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
DEMO = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
del DEMO["split"]
DEMO["scenarios"] |= {
    "models": ["unet"],
    "modalities": ["msi", "sar", "concat"],
    "levels": ["l1"],
    "extra": ["unet-concat-nw-l2-tuned-666", "unet-concat-w-l1-tuned-666", "unet-concat-nw-l1-paper-666"],
}
BOTH, ONE_EDGE = {"from": "tuned", "hierarchy": 1}, {"from": "tuned", "edge_outputs": 1}
BY_OTHERS = {"from": "tuned", "normalise": "0to1", "normalise_by": "published"}
OWN = json.loads(json.dumps(CERRADATA.as_dict()).replace('"B12"', '"SWIR"'))
NOWHERE = {"source": "local", "folder": "/no/such"}
UNSEEN = DEMO["scenes"][0]
RADAR = {"name": "a", "sar": "data/simulated/scene/sar.tif"}
TRAINED = "unet-msi-nw-l1-tuned-666"


def changed(**changes):
    config = copy.deepcopy(DEMO)
    for path, value in changes.items():
        *parents, key = path.split("__")
        part = config
        for parent in parents:
            part = part.setdefault(parent, {})
        part[key] = value
    if config["source"] != "simulate":
        config["scenes"] = [scene for scene in config["scenes"] if scene["name"] != "unseen"]
    return config


def crops(recipe, scenario="unet-msi-nw-l1-mine-1"):
    """The demo with batches in four parts and a scenario of a recipe of its own."""
    return changed(recipes={"mine": {"from": "tuned"} | recipe}, scenarios__extra=[scenario], training__accumulate=4)


def fault(config):
    with pytest.raises(ConfigError) as caught:
        check_config(config, SCHEMA)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "count"),
    [("config", 5), ("benchmark", 30), ("matrix", 30), ("ablation", 54), ("recipes", 34), ("splits", 2)],
)
def test_shipped_configurations_are_valid(name, count):
    config, scenarios = check_config(yaml.safe_load((REPOSITORY / f"config/{name}.yaml").read_text()), SCHEMA)
    paper = {"scheme": "paper", "train": 0.72, "validation": 0.18, "test": 0.1, "seed": 42, "validation_seed": 666}
    blocks = paper | {"scheme": "blocks", "block_km": 5, "buffer_km": 0, "tolerance": 0.1}
    quarter = blocks | {"train": 0.6, "validation": 0.15, "test": 0.25}
    folds = blocks | {"scheme": "kfold", "block_km": 12.8, "unit": "blocks", "folds": 4}
    assert config["split"] == {"config": quarter, "recipes": quarter, "ablation": quarter, "splits": folds}.get(
        name, paper
    )
    assert len(scenarios) == count


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (changed(simulat={}), "simulat: unknown key; did you mean 'simulate'?"),
        (changed(scenarios__modalities=["msi", "sarr"]), "scenarios.modalities: 'sarr' is not allowed"),
        (changed(split__test=0.2), "split: train 0.72 + validation 0.18 + test 0.2 = 1.1"),
        (changed(training__epochs="ten"), "training.epochs: 'ten'"),
        (changed(training__accumulate=5, training__batch_size=8), "training.accumulate: 5"),
        (crops({"crops": 6}), "training.accumulate: 4 does not divide recipes.mine.crops 6"),
        (crops({"crop": 200}), "recipes.mine.crop: 200"),
        (crops({"crop": 8}), "recipes.mine.crop: 8"),
        (crops({"crop": 64}, "transnuseg-msi-nw-l1-mine-1"), "recipes.mine.crop is 64, but transnuseg"),
        (crops({"balance": 0.3}, "unet-msi-rare-l1-mine-1"), "weighting rare"),
        (crops({"normalise": "1to1", "gain": 0.1}), "recipes.mine.normalise: 1to1"),
        (crops({"label_smoothing": 0.1}, "unet-msi-focal-l1-mine-1"), "label_smoothing"),
        (changed(scenarios__extra=["fullres-msi-nw-l1-released-0"]), "released no model fullres"),
        (changed(recipes__mean={"from": "paper", "ema": 0.99}, scenarios__recipes=["mean"]), "recipes.mean: ema 0.99"),
        (changed(scenarios__extra=["unet-msi-nw-l3-paper-1"]), "scenarios.extra: scenario 'unet-msi-nw-l3-paper-1'"),
        (changed(scenarios__extra=["unet"]), "model-modality-weighting-level-recipe-seed"),
        (changed(scenarios__seeds=[], scenarios__extra=[]), "scenarios: nothing to run"),
        (changed(scenarios__recipes=["papr"]), "scenarios.recipes: 'papr'"),
        (changed(scenarios__models=["pixel"]), "scenarios: pixel-msi-nw-l1-tuned-666: recipe baseline is for pixel"),
        (changed(scenarios__recipes=["baseline"]), "scenarios: unet-msi-nw-l1-baseline-666"),
        (changed(scenarios__extra=["pixel-msi-w-l1-baseline-1"]), "scenarios: pixel-msi-w-l1-baseline-1"),
        (changed(recipes__a={"from": "baseline"}), "recipes.a.from: 'baseline' is not allowed"),
        (changed(baselines=["forest"]), "baselines.0: 'forest' is not allowed"),
        (changed(tune={"scenario": "pixel-msi-nw-l1-baseline-666"}), "is a baseline"),
        (changed(recipes__soft={"from": "papr"}), "recipes.soft.from: 'papr'"),
        (changed(recipes__soft={"normalise": "zscore"}), "recipes.soft.from: missing; The recipe it starts from"),
        (changed(recipes__soft={"from": "paper", "dise": 1}), "recipes.soft.dise: unknown key"),
        (changed(recipes__tuned={"from": "paper"}), "recipes.tuned: expected a new name"),
        (
            changed(recipes__a=BY_OTHERS, scenarios__recipes=["a"], dataset=OWN),
            "recipes.a.normalise_by: published, which",
        ),
        (changed(transnuseg={"embed_dim": 24, "heads": [2, 4, 7]}), "transnuseg.heads: stage 2"),
        (changed(recipes__a=ONE_EDGE, scenarios__extra=["transnuseg-sar-nw-l1-a-1"]), "recipes.a.edge_outputs: 1"),
        (changed(scenarios__weightings=["sqrt"], scenarios__recipes=["released"]), "weighting sqrt"),
        (changed(scenarios__weightings=["focal"], scenarios__recipes=["paper"]), "weighting focal"),
        (changed(recipes__both=BOTH, scenarios__recipes=["both"]), "recipe both has hierarchy 1"),
        (changed(recipes__a=BOTH | {"from": "paper"}, scenarios__extra=["unet-sar-nw-l2-a-1"]), "softmax_in_loss"),
        (changed(checkpoints={"unet-msi-nw-l1-tuned-667": "a.pt"}), "checkpoints: 'unet-msi-nw-l1-tuned-667' is not"),
        (changed(checkpoints={TRAINED: "/no/such.pt"}), f"checkpoints.{TRAINED}: /no/such.pt: no such file"),
        (changed(scenarios__recipes=["released"], released__source="drive"), "released.drive_id: missing"),
        (changed(scenarios__recipes=["released"], released=NOWHERE), "released.folder: /no/such"),
        (changed(source="kaggle", scenarios__recipes=["released"], split__scheme="sites"), "split.scheme: sites"),
        (changed(roots="/data"), "roots: /data is set but source is simulate"),
        (changed(source="local"), "roots: missing"),
        (changed(source="local", roots="/no/such"), "roots: /no/such: no such folder"),
        (changed(source="local", roots="$NOT_SET_HERE/x"), "roots: $NOT_SET_HERE/x: the environment variable"),
        (changed(split__block_km=0), "split.block_km"),
        (changed(scenes=[{"name": "a", "mis": "x.tif"}]), "scenes.a.mis: unknown key; did you mean 'msi'?"),
        (changed(scenes=[{"name": "a", "msi": "no.tif"}]), "scenes.a: no.tif: no such file"),
        (changed(scenes=[RADAR | {"sar_bands": "VV"}]), "scenes.0.sar_bands: 'VV' is not of type 'array'"),
        (changed(scenes=[{"name": "a"}]), "scenes.a: no image"),
        (changed(scenes=[UNSEEN, UNSEEN | {"name": "UnSeen"}]), "scenes.unseen: two scenes have this name"),
        (changed(scenes=[UNSEEN | {"scenarios": ["unet-mis-nw-l1-tuned-666"]}]), f"did you mean '{TRAINED}'?"),
        (changed(scenes=[RADAR | {"scenarios": [TRAINED]}]), f"scenes.a: {TRAINED} needs msi"),
        (changed(scenes=[UNSEEN | {"date": "yesterday"}]), "scenes.0.date: 'yesterday' does not match"),
    ],
)
def test_error_names_path_and_value(config, key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no earlier run left packed patches
    assert key in fault(config)


def test_order_of_keys_does_not_matter():
    config = changed(training={"epochs": 3, "batch_size": 4})
    turned = {key: dict(reversed(part.items())) if isinstance(part, dict) else part for key, part in config.items()}
    first, second = (check_config(given, SCHEMA)[0] for given in (config, dict(reversed(turned.items()))))
    assert json.dumps(first) == json.dumps(second)


def test_recipes_of_ones_own_build_on_each_other_and_suit_weightings_and_both_levels():
    soft = {"soft": {"from": "paper", "softmax_in_loss": "false"}, "soft_d4": {"from": "soft", "augment": True}}
    extra = ["unet-sar-logit-l1-paper-1", "transnuseg-sar-focal-l1-soft_d4-1", "unet-msi-sqrt-l2-both-1"]
    config = changed(recipes=soft | {"both": BOTH | {"hierarchy": "0.5"}}, scenarios__extra=extra)
    complete, scenarios = check_config(config, SCHEMA)
    assert {scenario.id for scenario in scenarios} >= set(extra)
    recipes = with_custom(complete["recipes"])
    assert recipes["both"]["transnuseg"].hierarchy == 0.5
    own = recipes["soft_d4"]
    assert own["unet"] == dataclasses.replace(RECIPES["paper"]["unet"], softmax_in_loss=False, augment=True)
    assert own["transnuseg"].dice == 0.6 and own["transnuseg"].augment


def test_scenarios_count_once_and_released_ones_whatever_the_seeds():
    lists = {"scenarios__seeds": [1, 666], "scenarios__extra": [TRAINED], "baselines": []}
    config = changed(scenarios__recipes=["released", "tuned"], **lists)
    ids = [scenario.id for scenario in check_config(config, SCHEMA)[1]]
    assert ids.count("unet-msi-nw-l1-released-0") == ids.count(TRAINED) == 1 and len(ids) == 3 + 6


def test_each_modality_and_level_has_its_baselines_once():
    config = changed(baselines=["pixel", "gaussian"], scenarios__extra=["unet-concat-w-l2-paper-7"])
    config["scenarios"]["seeds"] = [3, 666]
    added = [one.id for one in check_config(config, SCHEMA)[1] if one.recipe == "baseline"]
    data = ("msi-nw-l1", "sar-nw-l1", "concat-nw-l1", "concat-nw-l2")
    assert added == [f"{model}-{one}-baseline-3" for model in ("pixel", "gaussian") for one in data]
    config["scenarios"] |= {"models": [], "seeds": []}
    assert [one.id for one in check_config(config | {"scenes": []}, SCHEMA)[1]][1:] == [
        "pixel-concat-nw-l2-baseline-7", "gaussian-concat-nw-l2-baseline-7"
    ]  # fmt: skip


def test_schema_is_closed():
    def walk(schema, path):
        for key, part in schema["properties"].items():
            if part.get("type") == "object":
                walk(part, f"{path}{key}.")
        rest = schema["additionalProperties"]  # under checkpoints, models and recipes the user chooses the names
        if rest == {}:
            assert path == "models.*.options."  # whatever the library takes
        elif rest is not False:
            assert not schema["properties"] and rest["type"] in ("string", "object", "array"), path
            if rest["type"] == "object":
                walk(rest, f"{path}*.")

    walk(SCHEMA, "")


def rows(schema, prefix=""):
    """The table of config/README.md, a row a key; the keys of scenes are those of areas."""
    parts = dict(schema.get("properties", {}))
    if prefix == "areas[].":
        parts["<sensor>"] = schema["additionalProperties"]
    for key, part in parts.items():
        values = part.get("enum") or part.get("items", {}).get("enum") or ()
        text = part["description"] + (f" Values: {', '.join(f'`{value}`' for value in values)}." if values else "")
        default = f" `{json.dumps(part['default'])}` " if part.get("type") != "object" and "default" in part else " "
        yield f"| `{prefix}{key}` |{default}| {text} |"
        if part.get("type") == "object" or key == "<sensor>":
            yield from rows(part, f"{prefix}{key}.")
        elif "properties" in part.get("items", {}) and key != "scenes":
            yield from rows(part["items"], f"{prefix}{key}[].")


def test_scenes_are_mapped_by_the_scenarios_whose_bands_they_have(tmp_path, monkeypatch):
    monkeypatch.setenv("SCENES", str(tmp_path))
    (tmp_path / "a.tif").touch()
    complete, all_ = check_config(changed(scenes=[{"name": "a", "sar": "$SCENES/a.tif"}, *DEMO["scenes"]]), SCHEMA)
    radar, unseen = scenes_of(complete, all_, CERRADATA)
    assert radar["scenarios"] == ["unet-sar-nw-l1-tuned-666", "pixel-sar-nw-l1-baseline-666"]
    assert radar["images"] == {"sar": {"files": [str(tmp_path / "a.tif")], "bands": [], "nodata": None, "mask": None}}
    assert unseen["scenarios"] == [scenario.id for scenario in all_]
    complete, all_ = check_config(changed(scenes=[UNSEEN | {"scenarios": [TRAINED]}]), SCHEMA)
    assert scenes_of(complete, all_, CERRADATA)[0]["scenarios"] == [TRAINED]


@pytest.mark.parametrize(
    ("split", "own"),
    [
        ({"scheme": "paper", "block_km": 3}, {}),
        (
            {"scheme": "sites", "test_sites": ["*/denmark/*"], "unit": "sites"},
            {"site_gap_km": 5, "buffer_km": 0, "tolerance": 0.1, "test_sites": ["*/denmark/*"], "validation_sites": []},
        ),
        (
            {"scheme": "kfold", "unit": "sites", "block_km": 3},
            {"unit": "sites", "folds": 5, "buffer_km": 0, "tolerance": 0.1, "site_gap_km": 5},
        ),
    ],
)
def test_a_scheme_of_the_split_has_its_own_keys_alone(split, own):
    """So that another scheme's key, changed, makes nobody split and train again."""
    common = {"scheme", "train", "validation", "test", "seed", "validation_seed"}
    found = check_config(changed(split=split, scenes=[]), SCHEMA)[0]["split"]
    assert {key: value for key, value in found.items() if key not in common} == own
    assert found.keys() >= common


@pytest.mark.parametrize(
    ("needing_one_model", "message"),
    [
        ({"scenes": DEMO["scenes"]}, "take the scenes out"),
        ({"scenarios__extra": ["unet-sar-nw-l1-released-0"]}, "was trained on another split"),
        ({"tune": {"scenario": TRAINED, "space": {"ema": [0, 0.9]}}}, "take tune.scenario out"),
    ],
)
def test_cross_validation_refuses_what_needs_one_model(needing_one_model, message):
    found = fault(changed(split={"scheme": "kfold"}, **{"scenes": []} | needing_one_model))
    assert "split.scheme: kfold trains a model for each fold" in found and message in found


def test_examples_of_the_splits_are_valid():
    examples = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs/splits.md").read_text(), re.DOTALL)
    for given in (yaml.safe_load(example)["split"] for example in examples):
        assert given.items() <= check_config(changed(split=given, scenes=[]), SCHEMA)[0]["split"].items()
    assert len(examples) == 4


def test_readme_describes_every_key_as_the_schema_does():
    readme = (REPOSITORY / "config/README.md").read_text()
    assert "\n".join(rows(SCHEMA)) in readme
    assert SCHEMA["properties"]["scenes"]["items"]["properties"] == SCHEMA["properties"]["areas"]["items"]["properties"]


def test_values_are_read_as_their_keys_want():
    """Text from the command line; ``off`` and a date without quotes; a whole float."""
    given = changed(
        training={"epochs": "3", "batch_size": 8.0, "determinism": yaml.safe_load("off")}, predict__geotiffs="true",
        index__max_rejected="0.5", scenarios__seeds=["1", "2"],
        scenes=[UNSEEN | {"date": yaml.safe_load("2024-07-23")}],
    )  # fmt: skip
    config, scenarios = check_config(given, SCHEMA)
    training = config["training"]
    assert (training["epochs"], repr(training["batch_size"]), training["determinism"]) == (3, "8", "off")
    assert (config["predict"]["geotiffs"], config["index"]["max_rejected"]) == (True, 0.5)
    assert {scenario.seed for scenario in scenarios} == {1, 2, 666}
    assert config["scenes"][0]["date"] == "2024-07-23"


def test_all_errors_come_at_once_and_missing_keys_say_what_they_are_for():
    config = changed(simulat={}, training__epochs=0)
    del config["scenarios"]["seeds"]
    message = fault(config)
    assert all(key in message for key in ("simulat: ", "training.epochs: ", "scenarios.seeds: missing; One training"))


def test_layers_that_the_data_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_PATCHES", str(tmp_path))
    config = changed(source="local", roots="$MY_PATCHES", recipes={"both": BOTH})
    for folder, lacking in itertools.pairwise(("opt_images", "semantic_7c", "sar_images", "semantic_14c", "")):
        (tmp_path / folder).mkdir()
        assert not lacking or f" {lacking}" in fault(config)
    assert check_config(config, SCHEMA)[0]["roots"] == [str(tmp_path)]
    (tmp_path / "semantic_7c").rmdir()
    config["scenarios"] |= {"levels": ["l2"], "extra": []}
    check_config(config, SCHEMA)
    config["scenarios"] |= {"recipes": ["both"]}
    assert "unet-msi-nw-l2-both-666 needs semantic_7c" in fault(config)


def test_pulled_results_need_no_rasters_and_no_patches(tmp_path, monkeypatch):
    """As after ``dvc pull`` on a machine without them."""
    monkeypatch.chdir(tmp_path)
    for name in ("scenes/a/scene.json", "packed/header.json"):
        (tmp_path / "results" / name).parent.mkdir(parents=True)
        (tmp_path / "results" / name).write_text("{}")
    complete, scenarios = check_config(changed(source="local", roots="/no/such", scenes=[RADAR]), SCHEMA)
    (scene,) = scenes_of(complete, scenarios, CERRADATA)
    assert (complete["roots"], scene["images"]["sar"]["files"]) == (["/no/such"], [RADAR["sar"]])


def test_scheme_of_the_split_is_the_published_one_of_kaggle_and_simulate_alone(tmp_path):
    (tmp_path / "msi_images").mkdir()
    (tmp_path / "semantic_7c").mkdir()
    (tmp_path / "a.tif").touch()
    area = {"name": "a", "msi": str(tmp_path / "a.tif"), "labels": {"l1": str(tmp_path / "a.tif")}}
    one = {"scenarios__modalities": ["msi"], "scenarios__extra": []}
    for source, given, scheme in (
        ("simulate", {}, "paper"),
        ("kaggle", {}, "paper"),
        ("local", {"roots": str(tmp_path)}, "blocks"),
        ("rasters", {"areas": [area]}, "blocks"),
    ):
        found = check_config(changed(source=source, **one, **given), SCHEMA)[0]
        assert found["split"]["scheme"] == scheme and ("block_km" in found["split"]) == (scheme == "blocks")
        assert found["tiling"] == {"stride": 128, "minimum_labelled": 0.02}
        found = check_config(changed(source=source, split__scheme="sites", **one, **given), SCHEMA)[0]
        assert found["split"]["scheme"] == "sites"
