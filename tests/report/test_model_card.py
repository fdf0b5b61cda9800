"""A model card holds the values of the files, claims nothing else, and names nothing of the machine."""

import getpass
import hashlib
import json
import platform
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from region import IDS, REGION
from scenes import CERRADATA
from test_benchmark import evaluated, in_patches, published
from test_train import SMALL

from cerraseg.config.recipes import RECIPES, recipe_of
from cerraseg.config.scenario import known_names, parse
from cerraseg.core import versions as software
from cerraseg.evaluation.benchmark import above_baseline
from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Segmenter, make_blueprint
from cerraseg.report.model_card.card import Run, Sources, write_model_card

REPOSITORY = Path(__file__).parents[2]
SPLIT = {"scheme": "paper", "train": 0.72, "validation": 0.18, "test": 0.1, "seed": 42, "validation_seed": 666}
STATISTICS = {
    "patches": 60,
    "bands": {
        name: {"mean": 1000.25 + k, "std": 400.5 + k, "min": 1.0, "max": 9000.0}
        for k, name in enumerate(CERRADATA.bands())
    },
    "levels": {"l1": {"class_weights": [0.001, 0.002, 0.003, 1.0, 0.25, 0.05, 0.75]}, "l2": {"counts": [4] * 13 + [1]}},
}
HISTORY = """epoch,train_loss,val_loss,val_macro_f1,val_miou,learning_rate,selected
1,2.3,3.3,0.288344,0.19,0.0019,False
2,1.5,1.6,0.508958,0.39,0.0015,True
3,1.2,1.2,0.504118,0.38,0.0008,False
"""
ORIGIN = {"file": "/home/jane.secret/epoch_29.pt", "bytes": 130_200_007, "sha256": "ab" * 32}


def configured(name="unet-concat-w-l1-tuned-7", label="my land", **changes):
    scenario = parse(name, known_names(REGION))
    recipe = recipe_of(scenario, RECIPES)
    fields = {"settings": SMALL.get(scenario.model, {}), "training": {"epochs": 30, "batch_size": 4}, "split": SPLIT}
    return Run(CERRADATA, scenario, recipe, **fields | {"label": label, "train_code": "0123456789ab"} | changes)


@pytest.fixture
def home(tmp_path):
    """A folder in a home: a path that no card may name."""
    folder = tmp_path / "home" / "jane.secret"
    folder.mkdir(parents=True)
    return folder


def sources(folder, run, *, manifest_origin=None, trained=True, split=("train", "test", "validation", "test", "test"),
            statistics=STATISTICS, lists=(), **info):  # fmt: skip
    """Files of a scenario that predicted as the published U-Net did."""
    origin = {"folder": str(folder), "url": folder.as_uri(), **(manifest_origin or {})}
    content = {
        "checkpoint.pt": "parameters",
        "header.json": {"patches": 12_034, "ids": "1d5" * 5, "pixels": "c0ffee" * 2},
        "manifest.json": {"source": run.label, "origin": origin, "roots": [{"path": str(folder)}]},
        "split.csv": "id,split,group\n" + "".join(f"{k},{part},g\n" for k, part in enumerate(split)),
        "parts.json": {"scheme": "paper", "file_lists": lists},
        "statistics.json": statistics,
        **({"history.csv": HISTORY} if trained else {"origin.json": ORIGIN}),
    }
    for name, value in content.items():
        (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
    paths = {name.split(".")[0]: folder / name for name in content}
    metrics = evaluated(folder, run.scenario.id, run.label, dataset=run.dataset, **info)
    return Sources(metrics=metrics, **paths)


def written(folder, run, **options):
    write_model_card(folder / "card.md", sources(folder, run, **options), run, folder)
    return (folder / "card.md").read_text(encoding="utf-8")


def section(card, heading):
    return re.search(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", card, re.MULTILINE | re.DOTALL)[1]


def rows(card, heading, columns=None):
    """Cells of the rows of a section's table, which has so many columns, without headings and rules."""
    lines = [line.split(" | ") for line in re.findall(r"^\| (.*) \|$", section(card, heading), re.MULTILINE)]
    return [line for line in lines if len(line) == (columns or len(lines[0]))][2:]


def front(card):
    return ModelCard(card).data.to_dict()


def test_scores_are_those_of_the_metrics(home):
    edges = {pixels: {"precision": 0.25, "recall": 0.5, "f1": 0.333333} for pixels in ("0", "10", "2")}
    card = written(home, configured(), edges=edges)
    found = json.loads((home / configured().scenario.id / "metrics.json").read_text())
    scores = {row[0]: row[1:] for row in rows(card, "Scores")}
    assert float(scores["Macro F1"][0]) == pytest.approx(45.24, abs=0.02)  # published
    low, high = (100 * end for end in found["intervals"]["macro_f1"])
    assert low < 45.24 < high and scores["Macro F1"][1] == f"{low:.2f} to {high:.2f}"
    assert scores["Kappa"] == [f"{100 * found['scores']['kappa']:.2f}", "–"]
    assert f"{found['pixels']:,} labelled pixels of 3,028 test patches of my land" in section(card, "Scores")
    assert found["rule"] in card
    for entry, row in zip(found["classes"], rows(card, "By class"), strict=True):
        ratios = [f"{100 * entry[ratio]:.2f}" for ratio in ("f1", "iou", "precision", "recall")]
        assert row == [entry["name"], *ratios, f"{entry['support']:,}"]
    assert rows(card, "Edges between classes") == [[pixels, "25.00", "50.00", "33.33"] for pixels in ("0", "2", "10")]
    rare = re.search(r"Rare classes .*", card)[0]
    assert f"Mining ({100 * found['classes'][3]['support'] / found['pixels']:.3f} %" in rare and "Pasture" not in rare
    assert "## Edges" not in written(home, configured())


def test_model_and_input(home):
    card = written(home, configured(pretrained="encoder.safetensors"))
    bands = rows(card, "Input")
    assert bands[0] == ["0", "B01", "Sentinel-2", "1000.25", "400.5"]
    assert bands[-1] == ["13", "VH", "Sentinel-1", "1013.25", "413.5"]
    assert rows(card, "Output") == [[str(c.id), c.abbreviation, c.name] for c in CERRADATA.classes("l1")]
    assert ["decoder_channels", "16, 16, 8"] in rows(card, "Model")
    sha256 = hashlib.sha256(b"parameters").hexdigest()
    assert f"`checkpoint.pt`: 10 bytes, SHA-256 `{sha256}`" in card and "`encoder.safetensors`" in card
    raw = written(home, configured("transnuseg-sar-nw-l2-paper-7"))
    assert rows(raw, "Input") == [["0", "VV", "Sentinel-1"], ["1", "VH", "Sentinel-1"]]
    assert ["class weights in the loss", "none"] in rows(raw, "Training", 2)
    assert len(rows(raw, "Output")) == 14 and ["sharing", "published"] in rows(raw, "Model")


def test_data_and_split(home):
    origin = {"dataset": "cerranet/cerradata-4mm", "version": 3}
    lists = [{"name": "all files", "files": 30_291, "test": 3_030, "published": False}]
    card = written(home, configured(label="CerraData-4MM"), manifest_origin=origin, lists=lists)
    assert "not the published one, which no list of files gives: all files (30,291, of" in section(card, "Split")
    values = ["CerraData-4MM", "cerranet/cerradata-4mm", "3", "12,034", "1d5" * 5, "c0ffee" * 2]
    assert [value for _, value in rows(card, "Data")] == values
    assert rows(card, "Split") == [["train", "0.72", "1"], ["validation", "0.18", "1"], ["test", "0.1", "3"]]
    sha256 = hashlib.sha256((home / "split.csv").read_bytes()).hexdigest()
    assert "Scheme paper, seed 42, validation seed 666." in card and f"SHA-256 `{sha256}`" in section(card, "Split")
    assert "flatters the scores" in card and "cerradata-4mm" in front(card)["tags"]
    sites = SPLIT | {"scheme": "sites", "test_sites": [], "validation_sites": ["*/a/*"], "buffer_km": 2}
    leakage = {"touching": 0.25, "median_metres": 1280.4, "median_centre_metres": 2560.0, "by_distance": []}
    card = written(home, configured(split=sites), leakage=leakage, split=("train", "test", "validation", "buffer"))
    assert rows(card, "Split")[-1] == ["buffer, used by nobody", "–", "1"]
    assert "25.0 % of the test" in card and "1,280 m" in card and "flatters the scores" not in card
    assert "validation sites */a/*, buffer km 2." in section(card, "Split") and "test sites" not in card


def test_training_and_the_whole_recipe(home):
    run = configured()
    card = written(home, run)
    facts = dict(rows(card, "Training", 2))
    assert list(facts.values())[:7] == ["tuned", "7", "30", "3", "2", "50.90 %", "4"]
    assert facts["class weights in the loss"] == "by class id: 0.001, 0.002, 0.003, 1, 0.25, 0.05, 0.75"
    fields = {row[0]: row[1:] for row in rows(card, "Training", 3)}
    assert fields.keys() >= asdict(run.recipe).keys() and all(row[1] for row in fields.values())
    assert fields["learning_rate"] == ["0.002", "peak value"]
    assert (fields["normalise"][0], fields["rollback"][0]) == ("zscore", "no")
    assert "digest `0123456789ab`" in section(card, "Software")
    assert dict(rows(card, "Software")) == software.versions()


def test_simulated_data_is_labelled_everywhere(home):
    card = written(home, configured(label="simulated landscape"), manifest_origin={"patches": 400})
    assert card.count("real land") == 3 and ["simulated patches", "400"] in rows(card, "Data")
    assert "simulated-data" in front(card)["tags"]
    assert "real land" not in written(home, configured())


@pytest.mark.parametrize("name", ["unet-concat-nw-l1-released-0", "unet-concat-nw-l1-tuned-5"])
def test_an_adopted_checkpoint_claims_no_training(home, name):
    card = written(home, configured(name), trained=False)
    assert ("released by the authors" in card, "given by the user" in card) == ("released" in name, "tuned" in name)
    origin = rows(card, "Where the checkpoint comes from")
    assert origin == [["file", "epoch_29.pt"], ["bytes", "130,200,007"], ["SHA-256", "ab" * 32]]
    for claim in ("## Training", "learning_rate", "epochs", "0123456789ab", "16, 16, 8", "1000.25"):
        assert claim not in card
    assert "blueprint.mean" in section(card, "Input") and "may have been trained on test patches" in card
    lists = [{"name": "all files", "files": 30_280, "test": 3_028, "published": True}]
    card = written(home, configured(name, label="CerraData-4MM"), trained=False, lists=lists)
    assert ("may have been trained" in card) == ("tuned" in name) and "is the published one, patches" in card


def test_a_baselines_card_claims_nothing_of_a_networks_training(home):
    card = written(home, configured("pixel-concat-nw-l1-baseline-7"))
    assert ["windows", "3, 7"] in rows(card, "Model") and "nothing is normalised" not in section(card, "Input")
    training = dict(rows(card, "Training", 2))
    assert training["epochs run"] == "3" and training["its macro F1 on the validation pixels"] == "50.90 %"
    assert not {"epochs at most", "batch size", "for rare classes"} & set(training)
    assert "drawn evenly over the classes" in card and "learning_rate" not in card


def test_the_baseline_stands_beside_the_scores(home):
    run = configured()
    assert "Macro F1 beside" not in written(home, run)
    counts = in_patches(published("unet_concat_w_l1"), seed=1)
    baseline = evaluated(home, "pixel-concat-nw-l1-baseline-7", run.label, counts)
    files = replace(sources(home, run), baseline=baseline)
    write_model_card(home / "card.md", files, run, home)
    value, low, high = above_baseline(files.metrics, baseline)
    score = 100 * json.loads(baseline.read_text())["scores"]["macro_f1"]
    expected = f"baseline pixel-concat-nw-l1-baseline-7: {score:.2f} %, difference {value:+.2f} points"
    assert f"{expected} [{low:.1f}, {high:.1f}]." in section((home / "card.md").read_text(), "Scores")
    ids = [f"other {patch}" for patch in range(len(counts))]
    evaluated(home, "pixel-concat-nw-l1-baseline-7", run.label, counts, ids)
    write_model_card(home / "card.md", files, run, home)
    assert f"{score:.2f} %, not on the same patches." in (home / "card.md").read_text()


def test_front_matter_is_what_hubs_read_and_labels_are_no_markup(home):
    card = written(home, configured(label="CerraData-4MM: 'copy' | <b>\n---\nx [a](javascript:b) {{ 7 * 7 }}"))
    assert front(card).keys() == {"library_name", "pipeline_tag", "tags", "metrics"}
    assert {"land-cover", "unet", "sentinel-2", "sentinel-1"} < set(front(card)["tags"])
    assert ["source", "CerraData-4MM: 'copy' \\| &lt;b> --- x [a]\\(javascript:b) {{ 7 * 7 }}"] in rows(card, "Data")
    assert "<b>" not in card and "](" not in card


@pytest.mark.parametrize(
    ("name", "trained"), [("unet-concat-w-l1-tuned-7", True), ("transnuseg-msi-nw-l2-tuned-1", False)]
)
def test_a_card_names_nothing_of_the_machine_and_is_the_same_again(home, name, trained):
    card = written(home, configured(name), trained=trained)
    assert written(home, configured(name), trained=trained) == card
    assert "jane" not in card and str(REPOSITORY) not in card
    assert not re.search(r"(^|[\s`(|])(/|~|[A-Z]:\\)\w", card)
    for name in {platform.node(), getpass.getuser()} - {"root", "runner", ""}:
        assert not re.search(rf"\b{re.escape(name)}\b", card)
    assert card.endswith("written: unknown.\n") and "\n\n\n" not in card


@pytest.mark.parametrize(
    ("name", "hierarchy"),
    [("unet-concat-w-l1-tuned-7", 0), ("unet-concat-sqrt-l2-tuned-7", 0.5), ("transnuseg-sar-nw-l2-tuned-1", 0)],
)
def test_the_code_to_load_it_runs(home, monkeypatch, name, hierarchy):
    run = configured(name)
    run = replace(run, recipe=replace(run.recipe, hierarchy=hierarchy))
    snippet = re.search(r"```python\n(.*?)```", written(home, run), re.DOTALL)[1]
    blueprint = make_blueprint(run.scenario, run.recipe, run.settings, STATISTICS, CERRADATA)
    checkpoint.save(home / "checkpoint.pt", blueprint, Segmenter(blueprint).net.state_dict(), {"epoch": 2})
    monkeypatch.chdir(home)
    space = {}
    exec(snippet, space)
    assert space["logits"].shape == (1, len(CERRADATA.classes(run.scenario.level)), 128, 128)
    assert space["classes"].shape == (1, 128, 128) and not space["classes"].is_floating_point()
    if run.scenario.edges:
        assert (space["edges"].shape, space["edges"].dtype) == ((1, 128, 128), torch.bool)


def test_a_card_tells_sensors_bands_classes_and_size_of_the_dataset(home):
    run = replace(configured("unet-concat-nw-l2-tuned-7", "my land"), dataset=REGION)
    run = replace(run, scenario=replace(run.scenario, level="l3"), recipe=replace(run.recipe, hierarchy=0.5))
    counts = np.random.default_rng(0).integers(1, 9, (6, 5, 5))
    statistics = {"bands": {name: {"mean": 1.5, "std": 0.5} for name in REGION.bands()}, "levels": {"l3": {}}}
    card = written(home, run, statistics=statistics, counts=counts)
    assert "5 classes (L3) from 7 bands of Sentinel-2, Sentinel-1 and Elevation model." in card
    bands = [row[1:3] for row in rows(card, "Input")]
    assert bands[:2] == [["B03", "Sentinel-2"], ["B02", "Sentinel-2"]] and bands[-1] == ["elevation", "Elevation model"]
    assert [row[0] for row in rows(card, "Output")] == [str(k) for k in IDS]
    assert "64 × 64 pixels, the bands" in card and "CerraData" not in card
    assert "first the L1 class whose L3 classes have" in card and "then likewise the L2 class inside, then" in card
    assert {"sentinel-2", "elevation-model"} < set(front(card)["tags"])
