"""A training interrupted anywhere ends as if it had not been; recipes differ as their table says."""

import copy
import dataclasses
import functools
import json
import re
import threading
import time

import lightning.pytorch as L
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import opened
from scenes import CERRADATA, NAMES

from cerraseg.config import recipes
from cerraseg.config.scenario import parse
from cerraseg.core import logs
from cerraseg.core.errors import ConfigError
from cerraseg.data.masks import derive_edges
from cerraseg.data.tables import rows_of
from cerraseg.evaluation.metrics import compute_scores, confusion_matrix
from cerraseg.mapping import predict
from cerraseg.models import checkpoint
from cerraseg.models.transnuseg import TransNuSeg
from cerraseg.training import losses
from cerraseg.training.epoch_record import EpochRecord
from cerraseg.training.module import TrainingModule
from cerraseg.training.plan import Plan
from cerraseg.training.train import Outputs, prepare, train
from cerraseg.training.trainer import build_trainer
from cerraseg.training.weightings import Balance

PARENTS = np.array(CERRADATA.ancestors("l2")["l1"])
L2 = "unet-concat-sqrt-l2-tuned-1"
SMALL = {
    "unet": {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": (16, 16, 8)},
    "fullres": {"widths": (4, 8)},
    "transnuseg": {"embed_dim": 12, "heads": (1, 2, 4)},
}


def plan(name="unet-concat-w-l1-tuned-1", epochs=3, recipe=None, **changes):
    """A plan of a small model; ``recipe`` changes the scenario's."""
    scenario = parse(name, NAMES)
    recipe = dataclasses.replace(recipes.recipe_of(scenario, recipes.RECIPES), **recipe or {})
    fields = {"recipe": recipe, "settings": SMALL[scenario.model], "epochs": epochs, "batch_size": 4}
    return Plan(scenario, dataset=CERRADATA, **fields | changes)


def outputs(folder):
    return Outputs(folder / "best.pt", folder / "last.pt", folder / "history.csv")


def run(packed, folder, what, store=None, callbacks=()):
    args = (store or opened(packed), packed / "split.csv", packed / "statistics.json")
    train(what, *args, outputs(folder), folder / "resume", callbacks)
    return outputs(folder)


def test_validation_goes_by_better_masks_and_training_does_not(packed):
    store = opened(packed)
    header = dataclasses.replace(store.header, layers=(*store.header.layers, "truth_l1"))
    masks = np.concatenate([store.masks, np.full_like(store.masks[:, :1], 5)], axis=1)
    better = dataclasses.replace(store, masks=masks, header=header)
    _, trained, validated = prepare(better, plan(), packed / "split.csv", packed / "statistics.json")
    assert all((batch == 5).all() for _, batch in validated)
    assert not any((batch == 5).all() for _, batch in trained)


class Killed(BaseException):
    """Stands for a kill: nothing in the package catches it."""


def once_in(monkeypatch, owner, name, epoch, act):
    """Let ``act`` happen before a method of the module or of its record runs in an epoch (from 0)."""
    original = getattr(owner, name)

    @functools.wraps(original)  # Lightning reads the signature
    def acting(self, *args):
        if (len(self.history) - 1 if owner is EpochRecord else self.current_epoch) == epoch:
            act()
        return original(self, *args)

    monkeypatch.setattr(owner, name, acting)


def kill():
    raise Killed


AVERAGED = {"recipe": {"ema": 0.9}, "accumulate": 2}
WHOLE = {"crop": 0, "crops": 0, "balance": 1.0}
CROPS = {"crop": 32, "crops": 6, "balance": 0.3, "label_smoothing": 0.1, "schedule": "onecycle"}
CHANGED = {"gain": 0.1, "offset": 0.1, "drop_band": 0.1, "drop_sensor": 0.1, "paste": 0.5}


@pytest.mark.parametrize(
    ("scenario", "hook", "changes"),
    [
        ("unet-concat-w-l1-tuned-1", "training_step", {}),
        ("unet-concat-w-l1-tuned-1", "_log", {"threads": 3}),
        ("unet-concat-w-l1-paper-1", "_log", {}),
        ("transnuseg-concat-w-l1-tuned-1", "_save_best", {}),
        ("transnuseg-sar-nw-l2-paper-1", "training_step", {}),
        ("unet-sar-rare-l1-tuned-1", "training_step", {}),
        ("unet-concat-w-l1-tuned-1", "training_step", AVERAGED),
        ("unet-concat-w-l1-tuned-1", "_log", AVERAGED),
        ("fullres-concat-nw-l2-tuned-1", "training_step", {"recipe": CROPS | CHANGED, "epoch_steps": 3}),
        ("fullres-sar-rare-l1-tuned-1", "_log", {"recipe": {"crop": 64, "ema": 0.9}, "accumulate": 2}),
        ("transnuseg-concat-nw-l2-tuned-1", "training_step", {"recipe": CHANGED | {"crops": 2, "balance": 0.0}}),
    ],
)
def test_killed_training_ends_with_the_same_parameters(packed, tmp_path, monkeypatch, scenario, hook, changes):
    what = plan(scenario, **changes)
    whole = run(packed, tmp_path / "whole", what)
    with monkeypatch.context() as patched:
        once_in(patched, TrainingModule if hook == "training_step" else EpochRecord, hook, 1, kill)
        with pytest.raises(Killed):
            run(packed, tmp_path / "killed", what)
    assert not outputs(tmp_path / "killed").best.exists()
    resumed = run(packed, tmp_path / "killed", what)
    for name in ("best", "last", "history"):
        assert getattr(whole, name).read_bytes() == getattr(resumed, name).read_bytes(), name
    assert not (tmp_path / "killed" / "resume").exists()


PLAIN = {"dice": 0.0, "augment": False, "softmax_in_loss": False, "epoch_loss": "pixels"}  # a mean over pixels


@pytest.mark.parametrize("parts", [2, 4])
def test_batch_in_parts_is_the_whole_batch(packed, tmp_path, parts):
    """Where nothing looks at a batch as a whole: no batch norm, no Dice. The last of two batches has two patches."""
    name = "transnuseg-sar-nw-l2-tuned-1"
    what = plan(name, recipe=PLAIN, settings=SMALL["transnuseg"] | {"drop_path": 0.0})
    whole = run(packed, tmp_path / "whole", what)
    split = run(packed, tmp_path / "parts", dataclasses.replace(what, accumulate=parts))
    one, two = (pd.read_csv(made.history) for made in (whole, split))
    pd.testing.assert_frame_equal(two, one, rtol=1e-4)
    first, second = (torch.load(made.last, weights_only=True)["parameters"] for made in (whole, split))
    torch.testing.assert_close(second, first, rtol=0, atol=1e-4)


def test_parts_of_a_batch_count_the_patches_before_them(packed, tmp_path, monkeypatch):
    """For the published sharing: of six patches, two parts of two, then one of two."""
    noted = []
    monkeypatch.setattr(TransNuSeg, "skip", lambda _, share: noted.append(share))
    run(packed, tmp_path, plan("transnuseg-sar-nw-l2-paper-1", epochs=1, accumulate=2))
    assert noted == [0, 1, 0]


class Batches(L.Callback):
    """Notes the batches and learning rate of each step."""

    def __init__(self):
        self.shapes, self.rates = [], []

    def on_train_batch_start(self, trainer, module, batch, _):
        self.shapes.append([tuple(part.shape) for part in batch])
        self.rates.append(module.optimizers().param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("model", "recipe", "changes", "sizes", "side"),
    [
        ("fullres", CROPS, {}, ([6] * 16) * 2, 32),  # 6 patches of 128, in crops of 32
        ("fullres", CROPS, {"accumulate": 3, "epoch_steps": 2}, [2] * 12, 32),
        ("fullres", WHOLE | {"crop": 64}, {}, [4] * 12, 64),
        ("fullres", WHOLE, {"epoch_steps": 5}, [4] * 10, 128),
        ("transnuseg", {"balance": 0.5}, {}, [4, 2] * 2, 128),
    ],
)
def test_epochs_of_crops_and_of_steps(packed, tmp_path, model, recipe, changes, sizes, side):
    noted = Batches()
    what = plan(f"{model}-concat-nw-l2-tuned-1", epochs=2, recipe=recipe, **changes)
    made = run(packed, tmp_path, what, callbacks=[noted])
    layers = 1 + (model == "transnuseg")
    assert noted.shapes == [[(n, 14, side, side), (n, layers, side, side)] for n in sizes]
    assert len(pd.read_csv(made.history)) == 2


def test_one_cycle(packed, tmp_path):
    noted = Batches()
    recipe = {"schedule": "onecycle", "learning_rate": 1.0}
    run(packed, tmp_path, plan("fullres-sar-nw-l1-tuned-1", epochs=2, recipe=recipe, epoch_steps=4), callbacks=[noted])
    rise, fall = np.cos(np.pi * np.arange(2) / 2), np.cos(np.pi * np.arange(6) / 6)
    np.testing.assert_allclose(noted.rates, [*(0.04 + 0.48 * (1 - rise)), *(0.5 + 0.5 * fall)], atol=1e-6)


def test_pasting_over_devices_is_refused(packed, tmp_path):
    with pytest.raises(ConfigError, match=r"recipes\.tuned\.paste"):
        run(packed, tmp_path, plan(recipe={"paste": 0.5}, devices=2))


class Parameters(L.Callback):
    """Notes the network's state after each step, and what is validated."""

    def __init__(self):
        self.live, self.validated = [], []

    def on_train_batch_end(self, trainer, module, *_):
        self.live.append(copy.deepcopy(module.segmenter.net.state_dict()))

    def on_validation_batch_start(self, trainer, module, *_):
        self.validated.append(copy.deepcopy(module.segmenter.net.state_dict()))


def test_mean_of_the_parameters_is_what_is_validated_and_kept(packed, tmp_path):
    """The mean is worked out again here, from the parameters after each of the four steps."""
    noted = Parameters()
    made = run(packed, tmp_path, plan(epochs=2, recipe={"ema": 0.9}), callbacks=[noted])
    last = torch.load(made.last, weights_only=True)["parameters"]
    assert len(noted.live) == 4 and last.keys() == noted.live[0].keys()
    for name, mean in noted.live[0].items():
        for step, present in enumerate(noted.live[1:], 1):
            stays = min(0.9, (1 + step) / (10 + step))
            mean = stays * mean + (1 - stays) * present[name] if mean.is_floating_point() else present[name]
        torch.testing.assert_close(last[name], mean, rtol=1e-5, atol=1e-6, msg=name)
    assert any(not torch.equal(last[name], noted.live[-1][name]) for name in last)
    assert all(torch.equal(last[name], value) for name, value in noted.validated[-1].items())


@pytest.mark.parametrize("level", ["off", "warn", "strict"])
def test_determinism_of_a_training(tmp_path, level):
    build_trainer(plan(determinism=level), tmp_path)
    assert torch.are_deterministic_algorithms_enabled() == (level != "off")
    assert torch.is_deterministic_algorithms_warn_only_enabled() == (level == "warn")
    assert torch.backends.cudnn.benchmark == (level == "off")


@pytest.mark.parametrize(("name", "tf32"), [("transnuseg-sar-nw-l1-paper-1", True), ("unet-sar-nw-l1-paper-1", False)])
def test_matrix_products_in_tf32(tmp_path, name, tf32):
    build_trainer(plan(name), tmp_path)
    assert torch.backends.cuda.matmul.allow_tf32 == tf32


def test_state_cut_off_while_it_is_written_leaves_that_of_the_epoch_before(packed, tmp_path, monkeypatch):
    save = torch.save

    def cut_off(content, file):
        if len(content.get("history", ())) == 2:
            file.write(b"half of it")
            raise Killed
        save(content, file)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", cut_off)
        with pytest.raises(Killed):
            run(packed, tmp_path, plan())
    assert len(torch.load(tmp_path / "resume/last.ckpt", weights_only=True)["history"]) == 1
    assert sorted(path.name for path in (tmp_path / "resume").iterdir()) == ["best.pt", "last.ckpt", "plan.txt"]


def test_state_of_another_plan_is_not_used(packed, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "cerraseg")
    with monkeypatch.context() as patched:
        once_in(patched, TrainingModule, "training_step", 1, kill)
        with pytest.raises(Killed):
            run(packed, tmp_path, plan())
    history = pd.read_csv(run(packed, tmp_path, plan(code="other")).history)
    assert any("starting anew" in message for message in caplog.messages)
    assert len(history) == 3


def test_second_training_waits_for_the_first(packed, tmp_path, caplog):
    first = threading.Thread(target=run, args=(packed, tmp_path, plan()))
    first.start()
    while not (tmp_path / "resume/last.ckpt").exists():
        time.sleep(0.001)
    made = run(packed, tmp_path, plan())
    first.join()
    assert any("waiting for its end" in message for message in caplog.messages)
    assert len(pd.read_csv(made.history)) == 3
    assert not (tmp_path / "resume").exists()


def test_a_long_epoch_says_how_far_it_is(packed, tmp_path, monkeypatch, caplog):
    """Once a minute, which here is always; of 8 patches to train on."""
    caplog.set_level("INFO", "cerraseg")
    monkeypatch.setattr(logs, "_SECONDS", 0)
    run(packed, tmp_path, plan(epochs=2))
    expected = [f"epoch {epoch}, batch: {done}" for epoch in (1, 2) for done in ("0", "1 of 2, 0 min left")]
    assert [message for message in caplog.messages if "batch:" in message] == expected


@pytest.mark.parametrize("column", ["val_loss", "val_semantic_loss", "val_macro_f1"])
def test_history_and_checkpoint_agree(packed, tmp_path, column):
    written = run(packed, tmp_path, plan(recipe={"select_on": column}))
    history = pd.read_csv(written.history)
    assert history["epoch"].tolist() == [1, 2, 3]
    chosen = history[history["selected"]]
    best = history[column].max() if column == "val_macro_f1" else history[column].min()
    assert chosen[column].tolist() == [best]
    segmenter, blueprint, about = checkpoint.load(written.best)
    assert (about["scenario"], about["epoch"]) == ("unet-concat-w-l1-tuned-1", chosen["epoch"].item())
    bands = json.loads((packed / "statistics.json").read_text())["bands"]
    assert blueprint.mean == tuple(band["mean"] for band in bands.values())
    assert [logits.shape for logits in segmenter(torch.zeros(1, 14, 128, 128))] == [(1, 7, 128, 128)]


@pytest.mark.parametrize(
    "scenario",
    [
        *("unet-sar-sqrt-l1-tuned-1", "unet-sar-effective-l1-tuned-1", "unet-sar-logit-l1-tuned-1"),
        *("unet-sar-focal-l1-tuned-1", "unet-sar-rare-l1-tuned-1"),
        *("unet-sar-logit-l1-paper-1", "transnuseg-sar-focal-l2-paper-1"),
    ],
)
def test_every_weighting_trains(packed, tmp_path, scenario):
    """And differs from none: the first epoch's losses are others, though the parameters begin alike."""
    unweighted = re.sub("sqrt|effective|logit|focal|rare", "nw", scenario)
    runs = (run(packed, tmp_path / name, plan(name, epochs=2)) for name in (scenario, unweighted))
    made, plain = (pd.read_csv(written.history) for written in runs)
    assert np.isfinite(made[["train_loss", "val_loss"]]).all(axis=None)
    assert made["train_loss"][0] != plain["train_loss"][0]
    assert made["train_loss"][1] < made["train_loss"][0]


def test_model_of_both_levels_is_selected_and_predicts_from_the_top(packed, tmp_path):
    store, written = opened(packed), run(packed, tmp_path, plan(L2, recipe={"hierarchy": 1.0}))
    files = [tmp_path / f"{name}.npy" for name in ("prediction", "confidence", "edges")]
    rows = rows_of(packed / "split.csv", "validation")
    segmenter, blueprint, about = checkpoint.load(written.best)
    plain = dataclasses.replace(blueprint, calibration={})  # as it was validated
    checkpoint.save(tmp_path / "plain.pt", plain, segmenter.net.state_dict(), about)
    predict.predict(tmp_path / "plain.pt", store, rows, *files)
    classes, confidence, edges = map(np.load, files)
    segmenter = checkpoint.load(tmp_path / "plain.pt")[0]
    assert plain.hierarchical and segmenter.ancestors == (tuple(PARENTS),) and blueprint.calibration["patches"] == 3
    with torch.inference_mode():
        probabilities = segmenter(torch.from_numpy(store.images[rows]))[0].softmax(1).numpy()
    sums = np.stack([probabilities[:, np.isin(PARENTS, parent)].sum(1) for parent in range(7)], 1)
    np.testing.assert_array_equal(PARENTS[classes], sums.argmax(1))
    assert (PARENTS[probabilities.argmax(1)] != sums.argmax(1)).any()  # the plain best class contradicts it
    of_class = np.take_along_axis(probabilities, classes[:, None].astype(int), 1)[:, 0]
    np.testing.assert_allclose(confidence, 100 * of_class, atol=0.51)
    np.testing.assert_array_equal(edges, derive_edges(classes))
    found = compute_scores(confusion_matrix(store.masks[rows, store.layer("l2")], classes, 14))
    assert found.macro_f1 == pytest.approx(about["val_macro_f1"], abs=1e-9)


def test_loss_at_l1_is_on_the_masks_of_l1(packed, tmp_path):
    store, what = opened(packed), plan(L2, epochs=1, recipe={"hierarchy": 1.0})
    masks = store.masks.copy()
    masks[:, 0] = (masks[:, 0] + 1) % 7
    shifted = dataclasses.replace(store, masks=masks)
    one, two = (run(packed, tmp_path / str(k), what, each).history for k, each in enumerate((store, shifted)))
    assert one.read_bytes() != two.read_bytes()


@pytest.mark.parametrize(
    ("recipe", "edge_outputs", "sharing", "hierarchy"), [("paper", 14, "published", 0.0), ("tuned", 2, "heads", 1.0)]
)
def test_transnuseg_learns_both_tasks(packed, tmp_path, recipe, edge_outputs, sharing, hierarchy):
    what = plan(f"transnuseg-msi-w-l2-{recipe}-1", epochs=2, recipe={"hierarchy": hierarchy})
    written = run(packed, tmp_path, what)
    history = pd.read_csv(written.history)
    assert history[["val_semantic_loss", "val_edge_f1"]].notna().all(axis=None)
    assert history["train_loss"].is_monotonic_decreasing
    segmenter, blueprint, _ = checkpoint.load(written.best)
    semantic, edge = segmenter(torch.zeros(1, 12, 128, 128))
    assert (semantic.shape[1], edge.shape[1]) == (14, edge_outputs)
    assert blueprint.settings["sharing"] == sharing


@pytest.mark.parametrize(("recipe", "rolls_back"), [("paper", True), ("tuned", False)])
def test_paper_recipe_goes_back_to_its_best_parameters(packed, tmp_path, monkeypatch, recipe, rolls_back):
    monkeypatch.setattr(EpochRecord, "best_epoch", 1)
    written = run(packed, tmp_path, plan(f"unet-msi-nw-l2-{recipe}-1", epochs=2))
    best, last = (checkpoint.load(path)[0].state_dict() for path in (written.best, written.last))
    assert best.keys() == last.keys()
    assert all(torch.equal(best[name], last[name]) for name in best) == rolls_back
    assert (checkpoint.load(written.best)[1].mean == ()) == (recipe == "paper")  # raw pixels


def test_patience_ends_training(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(EpochRecord, "best_epoch", 1)
    assert len(pd.read_csv(run(packed, tmp_path, plan(epochs=9, recipe={"patience": 1})).history)) == 2
    record = EpochRecord(plan("transnuseg-sar-nw-l2-paper-1", epochs=99), None, tmp_path)
    record.history = [{}] * 31
    assert not record.finished
    record.history.append({})  # the 31st after the first
    assert record.finished


@pytest.fixture
def bare():
    """A module without a network, whose loss is computed alone."""
    module = TrainingModule.__new__(TrainingModule)
    torch.nn.Module.__init__(module)
    return module


def test_mean_of_patches_batches_or_pixels(bare):
    """Two patches without a gap, then half a patch beside one without a label."""
    masks, empty = torch.zeros(2, 1, 2, 2, dtype=torch.int64), torch.full((1, 1, 2, 2), 255)
    half = torch.cat([masks[:1], empty])
    half[0, :, 1] = 255
    expected = {"unet": ((2 * 1 + 3) / 3, 3), "transnuseg": ((1 + 3) / 2, 2), "tuned": ((8 * 1 + 2 * 3) / 10, 10)}
    for recipe, mean_and_amount in expected.items():
        of = recipes.RECIPES["tuned"]["unet"] if recipe == "tuned" else recipes.RECIPES["paper"][recipe]
        bare.recipe = dataclasses.replace(of, dice=0.0, softmax_in_loss=False, cross_entropy=1.0, semantic=1.0)
        bare.losses, bare.semantic = {}, losses.SemanticLoss(bare.recipe)
        for mask, value in ((masks, 1.0), (half, 3.0)):
            # Two classes with logits 0 and log(e^value − 1): the loss of class 0 is `value` at every pixel.
            logits = torch.stack([torch.zeros(2, 2, 2), torch.full((2, 2, 2), float(np.log(np.expm1(value))))], 1)
            bare.loss([logits], mask, "train")
        total, seen = bare.losses["train_loss"]
        assert (total / seen, seen) == pytest.approx(mean_and_amount)


def test_two_tasks_are_weighed_as_published(bare):
    bare.recipe, bare.losses = recipes.RECIPES["paper"]["transnuseg"], {}
    class_weights = torch.tensor([1.0, 3.0, 0.0])
    bare.semantic = losses.SemanticLoss(bare.recipe, Balance([1.0, 3.0, 0.0]))
    bare.edge = losses.TaskLoss(bare.recipe)
    torch.manual_seed(0)
    semantic, edge = torch.randn(2, 2, 3, 4, 4)
    masks = torch.randint(2, (2, 2, 4, 4))
    parts = []
    for logits, mask, weights in ((semantic, masks[:, 0], class_weights), (edge, masks[:, 1], None)):
        truth = torch.nn.functional.one_hot(mask, 3).movedim(-1, 1)
        p = logits.softmax(1)
        dims = (0, 2, 3)
        dice = 1 - (2 * (p * truth).sum(dims) + 1e-5) / ((p * p).sum(dims) + truth.sum(dims) + 1e-5)
        parts.append(0.4 * torch.nn.functional.cross_entropy(logits, mask, weights) + 0.6 * dice.mean())
    assert float(bare.loss((semantic, edge), masks, "val")) == pytest.approx(float(0.3 * parts[0] + 0.35 * parts[1]))
    assert bare.losses["val_semantic_loss"][0] == pytest.approx(float(parts[0]))


def test_compiled_model_trains_alike(packed, tmp_path, monkeypatch):
    """With torch's own operations for a back end; the default one takes minutes, and rounds otherwise."""
    compile_model, compiled = torch.nn.Module.compile, []

    def eager(model):
        compiled.append(model)
        compile_model(model, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", eager)
    what = plan("transnuseg-sar-nw-l2-paper-1", epochs=2)
    plain = run(packed, tmp_path / "plain", what)
    assert not compiled
    fused = run(packed, tmp_path / "fused", dataclasses.replace(what, compile=True))
    assert len(compiled) == 1
    one, two = (torch.load(made.best, weights_only=True)["parameters"] for made in (plain, fused))
    torch.testing.assert_close(two, one, rtol=0, atol=1e-6)
