"""What is wrong in a configuration is said before anything runs: the path, the value, what is allowed."""

import copy
import csv
import dataclasses
import json
import re
from itertools import product
from pathlib import Path

import pytest
import yaml

from cerraseg.config.recipes import RECIPES, with_custom
from cerraseg.config.validate import check_config
from cerraseg.core.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]
SCHEMA = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
DEMO = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())


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


def fault(config):
    with pytest.raises(ConfigError) as caught:
        check_config(config, SCHEMA)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "count"),
    [("config", 6), ("benchmark", 24), ("matrix", 24), ("ablation", 18), ("recipes", 30), ("splits", 1)],
)
def test_shipped_configurations_are_valid(name, count):
    config, scenarios = check_config(yaml.safe_load((REPOSITORY / f"config/{name}.yaml").read_text()), SCHEMA)
    paper = {"scheme": "paper", "train": 0.72, "validation": 0.18, "test": 0.1, "seed": 42, "validation_seed": 666}
    blocks = paper | {"scheme": "blocks", "block_km": 5, "buffer_km": 0, "tolerance": 0.1}
    quarter = blocks | {"train": 0.6, "validation": 0.15, "test": 0.25}
    folds = blocks | {"scheme": "kfold", "block_km": 12.8, "unit": "blocks", "folds": 4}
    assert config["split"] == {"recipes": quarter, "splits": folds}.get(name, paper)
    assert len(scenarios) == count


def test_benchmark_file_quotes_the_papers_scores():
    with (REPOSITORY / "reference/paper_scores.csv").open() as file:
        paper = {tuple(row[:4]): f"{row[4]}/{row[5]}" for row in csv.reader(file)}
    lines = (REPOSITORY / "config/benchmark.yaml").read_text().splitlines()
    quoted = {}
    for model, _, level, *scores in (line[1:].replace(" / ", "/").replace("/ ", "/").split() for line in lines
                                     if line.startswith(("#   unet", "#   trans"))):  # fmt: skip
        for (modality, weighting), score in zip(product(("msi", "sar", "concat"), ("nw", "w")), scores, strict=True):
            quoted[model, modality, weighting, level] = score
    assert len(quoted) == 24
    assert all(paper[key] == score for key, score in quoted.items())


def test_demo_holds_the_scenarios_it_promises():
    assert {scenario.id for scenario in check_config(DEMO, SCHEMA)[1]} == {
        "unet-msi-nw-l1-tuned-666",
        "unet-sar-nw-l1-tuned-666",
        "unet-concat-nw-l1-tuned-666",
        "unet-concat-nw-l2-tuned-666",
        "unet-concat-w-l1-tuned-666",
        "unet-concat-nw-l1-paper-666",
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (changed(simulat={}), "simulat: unknown key; did you mean 'simulate'? allowed: results, source"),
        (changed(training__epoch=3), "training.epoch: unknown key; did you mean 'epochs'?"),
        (
            changed(scenarios__modalities=["msi", "sarr"]),
            "scenarios.modalities.1: 'sarr' is not allowed; did you mean 'sar'",
        ),
        (changed(scenarios__modalities=["optical"]), "'optical' is not allowed; allowed: msi, sar, concat"),
        (changed(source="kagle"), "source: 'kagle' is not allowed; did you mean 'kaggle'? allowed: simulate, kaggle"),
        (changed(split__test=0.2), "split: train 0.72 + validation 0.18 + test 0.2 = 1.1, expected 1; change one of"),
        (changed(training__epochs=0), "training.epochs: 0 is less than the minimum of 1; Most epochs to train."),
        (changed(training__epochs="ten"), "training.epochs: 'ten' is not of type 'integer'"),
        (
            changed(training__accumulate=5, training__batch_size=8),
            "training.accumulate: 5 does not divide batch_size 8; expected equal parts: change one of them",
        ),
        (
            changed(training__determinism="strikt"),
            "training.determinism: 'strikt' is not allowed; did you mean 'strict'",
        ),
        (
            changed(recipes__mean={"from": "paper", "ema": 0.99}, scenarios__recipes=["mean"]),
            "recipes.mean: ema 0.99 together with rollback, which loads the kept parameters back; expected one of them",
        ),
        (
            changed(scenarios__extra=["unet-msi-nw-l3-paper-1"]),
            "scenarios.extra: scenario 'unet-msi-nw-l3-paper-1': level 'l3'",
        ),
        (
            changed(scenarios__extra=["unet"]),
            "scenario 'unet': expected the form model-modality-weighting-level-recipe-seed",
        ),
        (
            changed(scenarios__seeds=[], scenarios__extra=[]),
            "scenarios: nothing to run; put at least one value in each list",
        ),
        (
            changed(scenarios__recipes=["papr"]),
            "scenarios.recipes: 'papr' is not allowed; did you mean 'paper'? allowed: paper, tuned, released",
        ),
        (changed(recipes__soft={"from": "papr"}), "recipes.soft.from: 'papr' is no recipe; did you mean 'paper'?"),
        (changed(recipes__soft={"zscore": True}), "recipes.soft.from: missing; The recipe it starts from"),
        (changed(recipes__soft={"from": "paper", "dise": 1}), "recipes.soft.dise: unknown key; did you mean 'dice'?"),
        (
            changed(transnuseg={"embed_dim": 24, "heads": [2, 4, 7]}),
            "transnuseg.heads: stage 2 has 96 channels for 7 heads; expected a multiple: change embed_dim 24 or heads",
        ),
        (
            changed(scenarios__weightings=["sqrt"], scenarios__recipes=["released"]),
            "weighting sqrt; expected one of nw, w: take the scenario out, or train it with another recipe",
        ),
        (
            changed(scenarios__weightings=["focal"], scenarios__recipes=["paper"]),
            "unet-msi-focal-l1-paper-666: weighting focal turns to pixels that are not yet sure, but with softmax",
        ),
        (
            changed(recipes__both={"from": "tuned", "hierarchy": 1}, scenarios__recipes=["both"]),
            "recipe both has hierarchy 1, which adds a loss at l1 to a model of l2; expected level l2: take l1 out",
        ),
        (
            changed(
                recipes__both={"from": "paper", "hierarchy": 0.5},
                scenarios__recipes=["both"],
                scenarios__levels=["l2"],
            ),
            "has hierarchy 0.5 and softmax_in_loss, but what a softmax has passed twice is no probability to add up by",
        ),
        (changed(recipes__tuned={"from": "paper"}), "recipes.tuned: expected a new name of small letters"),
        (
            changed(checkpoints={"unet-msi-nw-l1-tuned-667": "a.pt"}),
            "checkpoints.unet-msi-nw-l1-tuned-667: no such scenario in this configuration; did you mean "
            "'unet-msi-nw-l1-tuned-666'?",
        ),
        (
            changed(checkpoints={"unet-msi-nw-l1-tuned-666": "/no/such.pt"}),
            "checkpoints.unet-msi-nw-l1-tuned-666: /no/such.pt: no such file",
        ),
        (
            changed(scenarios__recipes=["released"], released__source="drive"),
            "released.drive_id: missing; source drive needs the id",
        ),
        (
            changed(scenarios__recipes=["released"], released={"source": "local", "folder": "/no/such"}),
            "released.folder: /no/such: no such folder; expected one that holds the .pt files",
        ),
        (changed(roots="/data"), "roots: /data is set but source is simulate; set source: local"),
        (changed(source="local"), "roots: missing; source local needs the folder that holds msi_images"),
        (
            changed(source="local", roots="/no/such"),
            "roots: /no/such: no such folder; expected one that holds msi_images",
        ),
        (
            changed(source="local", roots="$NOT_SET_HERE/x"),
            "roots: $NOT_SET_HERE/x: the environment variable is not set",
        ),
    ],
)
def test_fault_is_named_with_path_value_and_remedy(config, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no earlier run left packed patches
    assert message in fault(config)


def test_order_of_keys_does_not_matter():
    config = changed(training={"epochs": 3, "batch_size": 4})
    turned = {key: dict(reversed(part.items())) if isinstance(part, dict) else part for key, part in config.items()}
    assert json.dumps(check_config(config, SCHEMA)[0]) == json.dumps(
        check_config(dict(reversed(turned.items())), SCHEMA)[0]
    )


def test_text_from_the_command_line_is_read_as_the_key_wants():
    config, scenarios = check_config(
        changed(training__epochs="3", predict__geotiffs="true", index__max_rejected="0.5", scenarios__seeds=["1", "2"]),
        SCHEMA,
    )
    assert (config["training"]["epochs"], config["predict"]["geotiffs"], config["index"]["max_rejected"]) == (
        3,
        True,
        0.5,
    )
    assert {scenario.seed for scenario in scenarios} == {1, 2, 666}


def test_weightings_and_both_levels_go_with_recipes_that_suit_them():
    config = changed(
        recipes={"both": {"from": "tuned", "hierarchy": "0.5"}},
        scenarios__extra=["unet-sar-logit-l1-paper-1", "transnuseg-sar-focal-l1-paper-1", "unet-msi-sqrt-l2-both-1"],
    )
    complete, scenarios = check_config(config, SCHEMA)
    assert with_custom(complete["recipes"])["both"]["transnuseg"].hierarchy == 0.5
    assert {scenario.id for scenario in scenarios} >= set(config["scenarios"]["extra"])


def test_model_of_both_levels_needs_the_masks_of_both(tmp_path):
    for folder in ("opt_images", "sar_images", "semantic_14c"):
        (tmp_path / folder).mkdir()
    config = changed(
        source="local",
        roots=str(tmp_path),
        recipes={"both": {"from": "tuned", "hierarchy": 1}},
        scenarios__levels=["l2"],
        scenarios__extra=[],
    )
    assert len(check_config(config, SCHEMA)[1]) == 3
    config["scenarios"]["recipes"] = ["both"]
    assert "unet-msi-nw-l2-both-666 needs semantic_7c, which not every root has" in fault(config)


def test_off_needs_no_quotes():
    config = changed(training__determinism=yaml.safe_load("off"))
    assert check_config(config, SCHEMA)[0]["training"]["determinism"] == "off"


def test_recipes_of_ones_own_build_on_each_other():
    config = changed(recipes={"soft": {"from": "paper", "softmax_in_loss": "false"}, "soft_d4": {"from": "soft"}})
    config["recipes"]["soft_d4"]["augment"] = True
    config["scenarios"]["recipes"] = ["soft_d4"]
    complete, scenarios = check_config(config, SCHEMA)
    assert "unet-sar-nw-l1-soft_d4-666" in {scenario.id for scenario in scenarios}
    own = with_custom(complete["recipes"])["soft_d4"]
    assert own["unet"] == dataclasses.replace(RECIPES["paper"]["unet"], softmax_in_loss=False, augment=True)
    assert own["transnuseg"].dice == 0.6 and own["transnuseg"].augment


def test_released_checkpoints_count_once_whatever_the_seeds():
    scenarios = check_config(changed(scenarios__recipes=["released", "paper"], scenarios__seeds=[1, 2]), SCHEMA)[1]
    assert [s.id for s in scenarios if s.recipe == "released"] == [
        f"unet-{modality}-nw-l1-released-0" for modality in ("msi", "sar", "concat")
    ]


def test_missing_key_says_what_it_is_for():
    config = changed()
    del config["scenarios"]["seeds"]
    assert "scenarios.seeds: missing; One training a seed." in fault(config)


def test_all_faults_come_at_once():
    message = fault(changed(simulat={}, training__epochs=0))
    assert "simulat: " in message
    assert "training.epochs: " in message


def test_level_or_modality_that_the_data_lacks(tmp_path):
    for folder in ("opt_images", "semantic_7c"):
        (tmp_path / folder).mkdir()
    message = fault(changed(source="local", roots=str(tmp_path)))
    assert "unet-sar-nw-l1-tuned-666 needs sar_images, which not every root has; the data has: l1, msi" in message
    (tmp_path / "sar_images").mkdir()
    message = fault(changed(source="local", roots=str(tmp_path)))
    assert "unet-concat-nw-l2-tuned-666 needs semantic_14c" in message


def test_roots_take_environment_variables_and_a_single_path(tmp_path, monkeypatch):
    for folder in ("opt_images", "sar_images", "semantic_7c", "semantic_14c"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("MY_PATCHES", str(tmp_path))
    assert check_config(changed(source="local", roots="$MY_PATCHES"), SCHEMA)[0]["roots"] == [str(tmp_path)]


def test_extra_scenario_that_is_crossed_already_runs_once():
    scenarios = check_config(changed(scenarios__extra=["unet-msi-nw-l1-tuned-666"]), SCHEMA)[1]
    assert [s.id for s in scenarios].count("unet-msi-nw-l1-tuned-666") == 1


def test_schema_is_closed_and_described():
    def walk(schema, path):
        for key, part in schema["properties"].items():
            assert part.get("description"), f"{path}{key} has no description"
            if part.get("type") == "object":
                walk(part, f"{path}{key}.")
        rest = schema["additionalProperties"]  # under checkpoints, models and recipes the user chooses the names
        if rest == {}:
            assert path == "models.*.options."  # whatever the library takes
        elif rest is not False:
            assert not schema["properties"] and rest["type"] in ("string", "object"), path
            if rest["type"] == "object":
                walk(rest, f"{path}*.")

    walk(SCHEMA, "")


def rows(schema, prefix=""):
    """The table of config/README.md, a row a key."""
    for key, part in schema["properties"].items():
        if part.get("type") == "object":
            yield f"| `{prefix}{key}` | | {part['description']} |"
            yield from rows(part, f"{prefix}{key}.")
        else:
            values = part.get("enum") or part.get("items", {}).get("enum") or ()
            default = f"`{json.dumps(part['default'])}`" if "default" in part else ""
            text = part["description"] + (f" Values: {', '.join(f'`{value}`' for value in values)}." if values else "")
            yield f"| `{prefix}{key}` | {default} | {text} |"
            if "properties" in part.get("items", {}):
                yield from rows(part["items"], f"{prefix}{key}[].")


def test_dates_need_no_quotes():
    config = scenes(DEMO["scenes"][0] | {"date": yaml.safe_load("2024-07-23")})
    assert check_config(config, SCHEMA)[0]["scenes"][0]["date"] == "2024-07-23"


def scenes(*given, **further):
    return changed(scenes=list(given), **further)


def test_scenes_are_mapped_by_the_scenarios_whose_bands_they_have(tmp_path, monkeypatch):
    monkeypatch.setenv("SCENES", str(tmp_path))
    (tmp_path / "a.tif").touch()
    complete, all_ = check_config(scenes({"name": "a", "sar": "$SCENES/a.tif"}, *DEMO["scenes"]), SCHEMA)
    radar, unseen = complete["scenes"]
    assert radar["sar"] == str(tmp_path / "a.tif") and radar["scenarios"] == ["unet-sar-nw-l1-tuned-666"]
    assert (radar["sar_bands"], radar["reference_level"]) == ([], "l1")
    assert unseen["scenarios"] == [scenario.id for scenario in all_]
    one = scenes(DEMO["scenes"][0] | {"scenarios": ["unet-msi-nw-l1-tuned-666"]})
    assert check_config(one, SCHEMA)[0]["scenes"][0]["scenarios"] == ["unet-msi-nw-l1-tuned-666"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([{"name": "a b"}], "scenes.0.name: 'a b' does not match"),
        ([{"name": "a", "mis": "x.tif"}], "scenes.0.mis: unknown key; did you mean 'msi'?"),
        ([{"name": "a", "msi": "no.tif"}], "scenes.a.msi: no.tif: no such file; expected a raster"),
        ([{"name": "a"}], "scenes.a: no scenario can map it; expected msi, sar or both"),
        ([DEMO["scenes"][0]] * 2, "scenes.unseen: two scenes have this name"),
        ([DEMO["scenes"][0] | {"scenarios": ["unet-mis-nw-l1-tuned-666"]}], "did you mean 'unet-msi-nw-l1-tuned-666'?"),
        (
            [{"name": "a", "sar": "data/simulated/scene/sar.tif", "scenarios": ["unet-concat-nw-l1-tuned-666"]}],
            "scenes.a: unet-concat-nw-l1-tuned-666 needs a raster that the scene lacks",
        ),
        ([DEMO["scenes"][0] | {"date": "yesterday"}], "scenes.0.date: 'yesterday' does not match"),
    ],
)
def test_faults_of_scenes(given, message):
    assert message in fault(scenes(*given))


def test_maps_of_a_scene_need_no_raster_any_more(tmp_path, monkeypatch):
    """As after ``dvc pull`` on a machine without it."""
    monkeypatch.chdir(tmp_path)
    facts = tmp_path / "results/scenes/a/scene.json"
    facts.parent.mkdir(parents=True)
    facts.touch()
    assert check_config(scenes({"name": "a", "sar": "/no/such.tif"}), SCHEMA)[0]["scenes"][0]["sar"] == "/no/such.tif"


@pytest.mark.parametrize(
    ("split", "own"),
    [
        ({"scheme": "paper", "block_km": 3}, {}),
        ({"scheme": "blocks", "block_km": 3, "folds": 7}, {"block_km": 3, "buffer_km": 0, "tolerance": 0.1}),
        (
            {"scheme": "sites", "test_sites": ["*/denmark/*"], "unit": "sites"},
            {"site_gap_km": 5, "buffer_km": 0, "tolerance": 0.1, "test_sites": ["*/denmark/*"], "validation_sites": []},
        ),
        ({"scheme": "kfold"}, {"unit": "blocks", "folds": 5, "buffer_km": 0, "tolerance": 0.1, "block_km": 10}),
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
    ("key", "value", "message"),
    [
        ("scheme", "block", "did you mean 'blocks'?"),
        ("block_km", 0, "side of a block in km"),
        ("folds", 1, "how many folds"),
        ("buffer_km", -1, "used by nobody"),
        ("unit", "patches", "allowed: blocks, sites"),
    ],
)
def test_faults_of_the_split_are_named(key, value, message):
    found = fault(changed(**{f"split__{key}": value}))
    assert f"split.{key}" in found and message in found


@pytest.mark.parametrize(
    ("needing_one_model", "message"),
    [
        ({"scenes": DEMO["scenes"]}, "a scene is mapped by one; take the scenes out"),
        ({"scenarios__extra": ["unet-sar-nw-l1-released-0"], "scenes": []}, "was trained on another split"),
        ({"tune__scenario": "unet-sar-nw-l1-tuned-666", "tune__space": {"ema": [0, 0.9]}, "scenes": []}, "a search"),
    ],
)
def test_cross_validation_refuses_what_needs_one_model(needing_one_model, message):
    found = fault(changed(split={"scheme": "kfold"}, **needing_one_model))
    assert "split.scheme: kfold trains a model for each fold" in found and message in found


@pytest.mark.parametrize("example", range(4))
def test_examples_of_the_splits_are_valid(example):
    pages = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs/splits.md").read_text(), re.DOTALL)
    assert len(pages) == 4
    given = yaml.safe_load(pages[example])["split"]
    assert given.items() <= check_config(changed(split=given, scenes=[]), SCHEMA)[0]["split"].items()


def test_readme_describes_every_key_as_the_schema_does():
    readme = (REPOSITORY / "config/README.md").read_text()
    assert "\n".join(rows(SCHEMA)) in readme


def test_packed_patches_need_no_folders(tmp_path, monkeypatch):
    """As after ``dvc pull`` on a machine without the patches."""
    monkeypatch.chdir(tmp_path)
    header = tmp_path / "results/packed/header.json"
    header.parent.mkdir(parents=True)
    header.write_text("{}")
    complete, _ = check_config(changed(source="local", roots="/no/such"), SCHEMA)
    assert complete["roots"] == ["/no/such"]
