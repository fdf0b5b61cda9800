"""A model card says what is in the files, claims nothing else, and names nothing of the machine."""

import getpass
import hashlib
import json
import platform
import re
import runpy
import subprocess
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from snakemake.iocontainers import InputFiles
from test_train import SMALL

from cerraseg import __version__
from cerraseg.config.recipes import RECIPES
from cerraseg.config.scenario import parse
from cerraseg.core import versions as software
from cerraseg.core.taxonomy import LEVELS, MODALITIES
from cerraseg.evaluation import score_files
from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Segmenter, make_blueprint
from cerraseg.report import model_card
from cerraseg.report.model_card_facts import Run, Sources

REPOSITORY = Path(__file__).parents[2]
PATCHES = 12
SPLIT = {"scheme": "paper", "train": 0.72, "validation": 0.18, "test": 0.1, "seed": 42, "validation_seed": 666}
EDGES = {
    "0": {"precision": 0.25, "recall": 0.5, "f1": 0.333333},
    "10": {"precision": 0.9, "recall": 0.8, "f1": 0.847059},
    "2": {"precision": 0.6, "recall": 0.75, "f1": 0.666667},
}
STATISTICS = {
    "patches": 60,
    "bands": {name: {"mean": 1000.25 + k, "std": 400.5 + k} for k, name in enumerate(MODALITIES["concat"])},
    "levels": {"l1": {"class_weights": [0.001, 0.002, 0.003, 1.0, 0.25, 0.05, 0.75]}, "l2": {"counts": [4] * 13 + [1]}},
}
HISTORY = """epoch,train_loss,val_loss,val_macro_f1,val_miou,learning_rate,selected
1,2.3,3.3,0.288344,0.19,0.0019,False
2,1.5,1.6,0.508958,0.39,0.0015,True
3,1.2,1.2,0.504118,0.38,0.0008,False
"""
ORIGIN = {"file": "unet_7cMSISAR_2nonW_model_epoch_29.pt", "bytes": 130_200_007, "sha256": "ab" * 32}


def run(name="unet-concat-w-l1-tuned-7", label="my land", **changes):
    scenario = parse(name)
    recipe = RECIPES["paper" if scenario.recipe == "released" else scenario.recipe][scenario.model]
    fields = {"settings": SMALL[scenario.model], "training": {"epochs": 30, "batch_size": 4}, "split": SPLIT}
    return Run(scenario, recipe, **fields | {"label": label, "train_code": "0123456789ab"} | changes)


@pytest.fixture
def home(tmp_path):
    """Where the user keeps everything: a path that no card may name."""
    folder = tmp_path / "home" / "jane.secret"
    folder.mkdir(parents=True)
    return folder


def sources(folder, what, *, manifest_origin=None, trained=True, **info):
    """Files of a scenario that predicted as the published U-Net did, spread over patches."""
    scenario = what.scenario
    published = REPOSITORY / f"reference/confusion_matrices/unet_concat_w_{scenario.level}.csv"
    total = score_files.read_confusion(published)
    random = np.random.default_rng(0)
    counts = random.multinomial(total.ravel(), random.dirichlet(np.ones(PATCHES), total.size)).T
    fields = {"scenario": {"id": scenario.id, **vars(scenario)}, "source": what.label, "patches": PATCHES, **info}
    ids = [str(k) for k in range(PATCHES)]
    score_files.write_scores(folder, counts.reshape(PATCHES, *total.shape), ids, LEVELS[scenario.level], fields)
    folders = {"msi_images": {"files": 120, "bytes": 5}}
    content = {
        "checkpoint.pt": "parameters",
        "header.json": {"patches": 12_034, "ids": "1d5" * 5, "pixels": "c0ffee" * 2},
        "manifest.json": {
            "source": what.label,
            "origin": manifest_origin or {},
            "roots": [{"path": str(folder), "folders": folders}],
        },
        "split.csv": "id,split\n1,train\n2,test\n3,validation\n4,test\n5,test\n",
        "statistics.json": STATISTICS,
        **({"history.csv": HISTORY} if trained else {"origin.json": ORIGIN}),
    }
    for name, value in content.items():
        (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
    paths = {name.split(".")[0]: folder / name for name in content}
    return Sources(metrics=folder / "metrics.json", **paths)


def written(folder, what, repository=None, **options):
    model_card.write(folder / "card.md", sources(folder, what, **options), what, repository or folder)
    return (folder / "card.md").read_text(encoding="utf-8")


def section(card, heading):
    return re.search(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", card, re.MULTILINE | re.DOTALL)[1]


def rows(card, heading):
    """Cells of a section's table rows, without headings and rules."""
    lines = re.findall(r"^\| (.*) \|$", section(card, heading), re.MULTILINE)
    return [line.split(" | ") for line in lines]


def test_scores_are_those_of_the_metrics(home):
    card = written(home, run())
    found = json.loads((home / "metrics.json").read_text())
    scores = {row[0]: row[1:] for row in rows(card, "Scores")}
    assert float(scores["Macro F1"][0]) == pytest.approx(45.24, abs=0.02)  # published
    assert float(scores["mIoU"][0]) == pytest.approx(34.83, abs=0.02)
    low, high = (100 * end for end in found["intervals"]["macro_f1"])
    assert low < 45.24 < high
    assert scores["Macro F1"][1] == f"{low:.2f} to {high:.2f}"
    assert scores["Kappa × 100"] == [f"{100 * found['scores']['kappa']:.2f}", "–"]
    text = section(card, "Scores")
    assert f"over {found['pixels']:,} labelled pixels of 12 test patches of my land" in text
    assert found["rule"] in text
    assert "real land" not in card


def test_classes_are_tabled_and_rare_ones_named(home):
    card = written(home, run())
    found = json.loads((home / "metrics.json").read_text())["classes"]
    tabled = rows(card, "By class")[2:]
    for entry, row in zip(found, tabled, strict=True):
        ratios = [f"{100 * entry[ratio]:.2f}" for ratio in ("f1", "iou", "precision", "recall")]
        assert row == [entry["name"], *ratios, f"{entry['support']:,}"]
    rare = re.search(r"Rare classes .*", card)[0]
    total = sum(entry["support"] for entry in found)
    assert {entry["name"] for entry in found if entry["support"] < 0.01 * total} == {
        entry["name"] for entry in found if entry["name"] in rare
    }
    assert f"Mining ({100 * found[3]['support'] / total:.3f} %" in rare
    assert "Pasture" not in rare


def test_model_and_input(home):
    card = written(home, run())
    assert rows(card, "Input")[2] == ["0", "B01", "Sentinel-2", "1000.25", "400.5"]
    assert rows(card, "Input")[-1] == ["13", "VH", "Sentinel-1", "1013.25", "413.5"]
    assert rows(card, "Output")[2:] == [[str(c.id), c.abbreviation, c.name] for c in LEVELS["l1"]]
    assert ["decoder_channels", "16, 16, 8"] in rows(card, "Model")
    size, sha256 = len(b"parameters"), hashlib.sha256(b"parameters").hexdigest()
    assert f"`checkpoint.pt`: {size} bytes, SHA-256 `{sha256}`" in card


def test_raw_input_has_no_statistics(home):
    card = written(home, run("unet-sar-nw-l1-paper-7"))
    assert rows(card, "Input")[2:] == [["0", "VV", "Sentinel-1"], ["1", "VH", "Sentinel-1"]]
    assert "nothing is normalised" in card
    assert "published training, faults included" in card
    assert ["class weights in the loss", "none"] in rows(card, "Training")


def test_data_and_split(home):
    origin = {"dataset": "cerranet/cerradata-4mm", "version": 3, "folder": str(home)}
    card = written(home, run(label="CerraData-4MM"), manifest_origin=origin)
    data = dict(rows(card, "Data"))
    assert (data["Kaggle handle"], data["Kaggle version"]) == ("cerranet/cerradata-4mm", "3")
    assert (data["source"], data["patches, all checked"]) == ("CerraData-4MM", "12,034")
    assert (data["digest of the ids"], data["digest of the pixels"]) == ("1d5" * 5, "c0ffee" * 2)
    assert "Bico do Papagaio" in section(card, "Data")
    assert rows(card, "Split")[2:] == [["train", "0.72", "1"], ["validation", "0.18", "1"], ["test", "0.1", "3"]]
    sha256 = hashlib.sha256((home / "split.csv").read_bytes()).hexdigest()
    assert "Scheme paper, seed 42, validation seed 666." in card and f"SHA-256 `{sha256}`" in section(card, "Split")
    assert "test patches touch training patches" in card
    other = run(split=SPLIT | {"scheme": "blocks"})
    assert "touch training patches" not in written(home, other)


def test_training_and_the_whole_recipe(home):
    what = run()
    card = written(home, what)
    facts = dict(row for row in rows(card, "Training") if len(row) == 2)
    assert facts["seed"] == "7" and facts["recipe"] == "tuned"
    assert [facts[name] for name in ("epochs at most", "epochs run", "best epoch, the one kept")] == ["30", "3", "2"]
    assert facts["its macro F1 on the validation patches"] == "50.90 %"
    assert facts["batch size"] == "4"
    assert facts["class weights in the loss"] == "by class id: 0.001, 0.002, 0.003, 1, 0.25, 0.05, 0.75"
    fields = {row[0]: row[1:] for row in rows(card, "Training") if len(row) == 3}
    assert fields.keys() - {"Field", ":--"} == asdict(what.recipe).keys()
    assert fields["learning_rate"] == ["0.002", "peak value."]
    assert fields["zscore"][0] == "yes" and fields["rollback"][0] == "no"
    assert all(meaning for _, meaning in fields.values())
    assert "digest `0123456789ab`" in section(card, "Software")


def test_edges_and_fourteen_classes(home):
    what = replace(run("transnuseg-msi-nw-l2-tuned-1"), settings=SMALL["transnuseg"])
    card = written(home, what, edges=EDGES)
    assert [row[0] for row in rows(card, "Edges between classes")[2:]] == ["0", "2", "10"]
    assert rows(card, "Edges between classes")[3] == ["2", "60.00", "75.00", "66.67"]
    assert len(rows(card, "Output")) == len(rows(card, "By class")) == 2 + 14
    assert len(rows(card, "Input")) == 2 + 12
    assert ["sharing", "heads"] in rows(card, "Model")
    assert "TransNuSeg" in card and "logits of the edges" in card
    assert "## Edges" not in written(home, run())


def test_simulated_data_is_labelled_everywhere(home):
    card = written(home, run(label="simulated landscape"), manifest_origin={"patches": 400, "scenes": 1, "seed": 42})
    assert card.count("say nothing about real land") == 2
    assert "nothing here was tried on real land" in section(card, "Intended use and limits")
    assert ["simulated patches", "400"] in rows(card, "Data")
    assert "simulated-data" in front(card)["tags"]


@pytest.mark.parametrize("name", ["unet-concat-nw-l1-released-0", "unet-concat-nw-l1-tuned-5"])
def test_an_adopted_checkpoint_claims_no_training(home, name):
    card = written(home, run(name), trained=False)
    assert "**Not trained here**: the checkpoint was" in card
    assert ("released by the authors" in card, "given by the user" in card) == ("released" in name, "tuned" in name)
    origin = dict(rows(card, "Where the checkpoint comes from"))
    assert (origin["file"], origin["bytes"]) == (ORIGIN["file"], "130,200,007")
    assert origin["SHA-256"] == "ab" * 32
    for claim in (
        "## Training",
        "learning_rate",
        "epochs",
        "batch size",
        "0123456789ab",
        "decoder_channels",
        "1000.25",
    ):
        assert claim not in card
    assert "its scores are no test" in card
    assert "blueprint.mean" in section(card, "Input")


def front(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])


def test_front_matter_is_what_hubs_read(home):
    card = written(home, run(label="CerraData-4MM: 'copy' | <b>\n---\nx"))
    assert front(card) == {
        "library_name": "cerraseg",
        "pipeline_tag": "image-segmentation",
        "tags": [
            *("remote-sensing", "land-cover", "land-use", "semantic-segmentation", "pytorch", "unet"),
            *("sentinel-2", "sentinel-1"),
        ],
        "metrics": ["f1", "mean_iou", "accuracy"],
    }
    assert ["source", "CerraData-4MM: 'copy' \\| &lt;b> --- x"] in rows(card, "Data")
    assert ModelCard(card).data.to_dict() == front(card)
    assert "cerradata-4mm" in front(written(home, run("unet-sar-nw-l1-paper-1", "CerraData-4MM")))["tags"]


@pytest.mark.parametrize("trained", [True, False])
def test_nothing_of_the_machine_is_named(home, trained):
    for source in (run(), run("transnuseg-msi-nw-l2-tuned-1")):
        card = written(home, source, manifest_origin={"folder": str(home), "url": home.as_uri()}, trained=trained)
        assert "jane" not in card and f"/{home.parent.name}" not in card and str(REPOSITORY) not in card
        assert not re.search(r"(^|[\s`(|])(/|~|[A-Z]:\\)\w", card)
        for name in {platform.node(), getpass.getuser()} - {"root", "runner", ""}:
            assert not re.search(rf"\b{re.escape(name)}\b", card)


def test_versions(home):
    versions = dict(rows(written(home, run()), "Software"))
    assert (versions["cerraseg"], versions["Python"]) == (__version__, platform.python_version())
    assert {name: versions[name] for name in software.PACKAGES} == {
        name: metadata.version(name) for name in software.PACKAGES
    }


def test_the_commit_is_that_of_now(home, monkeypatch):
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # set where a Git hook runs the tests
        monkeypatch.delenv(name, raising=False)

    def git(*words):
        done = subprocess.run(["git", "-C", home, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def named():
        return re.search(r"Repository as this card was written: (.*)\.", written(home, run()))[1]

    assert named() == "unknown"
    git("init", "-q")
    assert named() == "unknown"
    (home / "Snakefile").write_text("rule all:\n")
    git("add", "Snakefile")
    author = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false")
    git(*author, "commit", "-qm", "first")
    first = git("rev-parse", "HEAD")
    assert named() == f"`{first}`"
    (home / "Snakefile").write_text("rule some:\n")
    assert named() == f"`{first}` with uncommitted changes"
    git(*author, "commit", "-qam", "second")
    assert named() == f"`{git('rev-parse', 'HEAD')}` != first".replace(" != first", "")
    (home / "inner").mkdir()
    assert "as this card was written: unknown." in written(home, run(), repository=home / "inner")


def test_the_same_files_give_the_same_bytes(home):
    what = run()
    written(home, what)
    first = (home / "card.md").read_bytes()
    written(home, what)
    assert (home / "card.md").read_bytes() == first
    assert first.endswith(b".\n") and b"\n\n\n" not in first


@pytest.mark.parametrize("name", ["unet-concat-w-l1-tuned-7", "transnuseg-sar-nw-l2-tuned-1"])
def test_the_code_to_load_it_runs(home, monkeypatch, name):
    what = run(name)
    snippet = re.search(r"```python\n(.*?)```", written(home, what), re.DOTALL)[1]
    blueprint = make_blueprint(what.scenario, what.recipe, what.settings, STATISTICS)
    checkpoint.save(home / "checkpoint.pt", blueprint, Segmenter(blueprint).net.state_dict(), {"epoch": 2})
    monkeypatch.chdir(home)
    space = {}
    exec(snippet, space)
    classes = len(LEVELS[what.scenario.level])
    assert space["logits"].shape == (1, classes, 128, 128)
    assert (space["classes"].shape, space["classes"].dtype) == ((1, 128, 128), torch.int64)
    if what.scenario.edges:
        assert (space["edges"].shape, space["edges"].dtype) == ((1, 128, 128), torch.bool)


def test_weightings_and_both_levels_are_said(home):
    what = run("unet-concat-sqrt-l2-tuned-7")
    what = replace(what, recipe=replace(what.recipe, hierarchy=0.5))
    card = written(home, what)
    facts = dict(row for row in rows(card, "Training") if len(row) == 2)
    assert facts["for rare classes"] == "class weights, 1 / √frequency"
    assert facts["class weights in the loss"] == f"by class id: {', '.join(['0.9333'] * 13)}, 1.867"
    assert "trained for both levels" in section(card, "Output")
    plain = dict(row for row in rows(written(home, run("unet-msi-rare-l1-tuned-7")), "Training") if len(row) == 2)
    assert plain["for rare classes"] == "patches with rare classes drawn more often"
    assert plain["class weights in the loss"] == "none"


@pytest.mark.parametrize("trained", [True, False])
def test_the_step_writes_the_card(home, trained):
    what = run()
    expected = written(home, what, trained=trained)
    files = {name: str(path) if path else [] for name, path in vars(sources(home, what, trained=trained)).items()}
    params = {**vars(what), "scenario": vars(what.scenario), "recipe": asdict(what.recipe)}
    stub = SimpleNamespace(
        input=InputFiles(fromdict=files),
        output=SimpleNamespace(card=str(home / "step.md")),
        params=SimpleNamespace(**params),
        log=[str(home / "log.txt")],
    )
    runpy.run_path(str(REPOSITORY / "workflow/scripts/model_card.py"), init_globals={"snakemake": stub})
    without_commit = [re.sub(r"card was written: .*", "", text) for text in (expected, (home / "step.md").read_text())]
    assert without_commit[0] == without_commit[1]


def test_leakage_and_buffer_are_said(home):
    what = run(split=SPLIT | {"scheme": "sites", "test_sites": [], "validation_sites": ["*/a/*"], "buffer_km": 2})
    leakage = {"touching": 0.25, "median_metres": 1280.4, "median_centre_metres": 2560.0, "by_distance": []}
    files = sources(home, what, leakage=leakage)
    files.split.write_text("id,split,group\n1,train,site 1\n2,test,site 2\n3,validation,site 3\n4,buffer,site 1\n")
    model_card.write(home / "card.md", files, what, home)
    card = (home / "card.md").read_text()
    text = section(card, "Split")
    assert rows(card, "Split")[-1] == ["buffer, used by nobody", "–", "1"]
    assert "25.0 % of the test patches touch a training patch; the median gap" in text and "is 1,280 m." in text
    assert "seed 42, validation seed 666, validation sites */a/*, buffer km 2." in text
