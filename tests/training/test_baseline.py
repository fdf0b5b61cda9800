"""Baselines learn what a pixel and its surroundings show, know how common classes are, and are whole checkpoints."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from cerraseg.config.dataset import Dataset
from cerraseg.config.recipes import recipe_of
from cerraseg.config.scenario import Scenario
from cerraseg.core.errors import ConfigError
from cerraseg.data.packed import Header, Store
from cerraseg.data.statistics import band_statistics
from cerraseg.data.tables import digest
from cerraseg.models import checkpoint
from cerraseg.training import baseline
from cerraseg.training.lr_finder import find_learning_rate
from cerraseg.training.plan import Plan
from cerraseg.training.train import Outputs, train

SIZE, TRAIN, VALIDATION = 32, 12, 4
CLASSES = [{"id": k, "name": f"Class {k}", "abbreviation": f"C{k}", "colour": "#000000"} for k in range(4)]
DATA = Dataset.of(
    {
        "name": "tiny", "patch_size": SIZE,
        "sensors": {"a": {"title": "A", "bands": ["red", "nir", "dem"]}},
        "levels": {"l1": {"classes": CLASSES}},
    }
)  # fmt: skip


@pytest.fixture(scope="module", params=["pixel", "gaussian"])
def fitted(request, tmp_path_factory):
    """A folder with the store's files, and a fitted baseline."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patched:
        quicken(patched)
        return folder, fit(folder, request.param)


def quicken(patched):
    patched.setattr(baseline, "_STEPS", 80)
    patched.setattr(baseline, "_BATCH", 256)


def landscape():
    """Class 0 and 1 differ by a ratio of bands under any light, 1 and 2 by roughness; 3 is nowhere; 0 is rare."""
    rng = np.random.default_rng(5)
    masks = np.repeat(np.repeat(rng.choice(3, (TRAIN + VALIDATION, 4, 4), p=[0.1, 0.5, 0.4]), 8, 1), 8, 2)
    light = np.exp(rng.normal(0, 0.7, masks.shape))
    rough = np.where(masks == 2, 0.3, 0.03) * rng.normal(size=masks.shape)
    ratio = np.where(masks == 0, 0.5, 2) * np.exp(rough)
    dem = rng.normal(0, 5, masks.shape)
    images = np.stack([1000 * light, 1000 * light * ratio, dem], 1).astype(np.float32)
    masks = masks.astype(np.uint8)
    masks[:, :2] = 255
    images[0, 2, :2] = np.nan
    return images, masks[:, None]


def store():
    ids = [str(k) for k in range(TRAIN + VALIDATION)]
    images, masks = landscape()
    return Store(images, masks, Header(len(ids), DATA.bands("concat"), ("l1",), digest(ids), "")), ids


def fit(folder, model, seed=1):
    what, ids = store()
    split, statistics = folder / "split.csv", folder / "statistics.json"
    pd.DataFrame({"id": ids, "split": ["train"] * TRAIN + ["validation"] * VALIDATION}).to_csv(split, index=False)
    counts = np.bincount(what.masks[:TRAIN].ravel(), minlength=256)[:4].tolist()
    bands = band_statistics(what, np.arange(TRAIN))
    statistics.write_text(json.dumps({"bands": bands, "levels": {"l1": {"counts": counts}}}))
    outputs = Outputs(folder / "best.pt", folder / "last.pt", folder / "history.csv")
    train(plan(model, seed), what, split, statistics, outputs, folder / "resume")
    return outputs


def plan(model, seed=1):
    scenario = Scenario(model, "concat", "nw", "l1", "baseline", seed)
    return Plan(scenario, recipe_of(scenario, {}), {}, DATA, 1, 4)


def test_ratios_and_roughness_are_learnt_and_the_history_has_the_usual_columns(fitted):
    _, outputs = fitted
    history = pd.read_csv(outputs.history)
    columns = ["epoch", "train_loss", "val_loss", "val_semantic_loss", "val_macro_f1", "val_miou", "learning_rate"]
    assert list(history) == [*columns, "selected"] and history["selected"].sum() == 1
    best = history[history["selected"]].iloc[0]
    assert best["val_macro_f1"] > 0.75 * 0.85 and best["val_macro_f1"] == history["val_macro_f1"].max()  # of 4 classes
    assert not (outputs.best.parent / "resume").exists()


def test_checkpoint_is_whole_and_never_predicts_a_class_without_pixels(fitted):
    _, outputs = fitted
    model, blueprint, training = checkpoint.load(outputs.best)
    assert not blueprint.mean and training["scenario"].endswith("-baseline-1")
    assert model.net.bands[0, :2].gt(0).all() and model.net.bands[0, 2] == 0  # logarithms of the bands above 0
    what, _ = store()
    images = torch.from_numpy(what.images)
    (logits,) = model.raw(model.normalise(images))
    assert logits.isfinite().all() and (logits[:, 3] == -30).all()
    assert torch.allclose(logits.exp().sum(1), torch.ones(()), atol=1e-4)
    known = what.masks[TRAIN:, 0] < 255
    assert (logits[TRAIN:].argmax(1).numpy() == what.masks[TRAIN:, 0])[known].mean() > 0.85
    brighter = images.clone()
    brighter[:, 2] = 1e6  # a plain band far out
    assert model(brighter)[0].isfinite().all()


def test_same_seed_gives_the_same_parameters_and_another_seed_others(fitted, tmp_path, monkeypatch):
    folder, outputs = fitted
    quicken(monkeypatch)
    again, other = (fit(tmp_path, folder.name[:-1], seed=seed).last.read_bytes() for seed in (1, 2))
    assert again == outputs.last.read_bytes() != other


def test_scores_are_corrected_to_the_share_of_each_class(tmp_path, monkeypatch):
    monkeypatch.setattr(baseline, "_STEPS", 1)
    monkeypatch.setattr(baseline, "_PER_CLASS", 200)
    net = checkpoint.load(fit(tmp_path, "pixel").last)[0].net
    masks = store()[0].masks[:TRAIN, 0].reshape(TRAIN, -1)
    counts = np.array([np.bincount(mask, minlength=256)[:4] for mask in masks])
    drawn = baseline.draw_evenly(np.random.default_rng(1), counts, 200).sum(0)[:3]
    pixels = counts.sum(0)[:3]
    assert 150 < drawn.min() <= drawn.max() < 220 and pixels.max() > 3 * pixels.min()
    expected = np.log(pixels / pixels.sum() / (drawn / drawn.sum()))
    np.testing.assert_allclose(net.offset[:3, 0, 0], expected, rtol=1e-4)
    assert net.offset[3] == -1e4


def test_pixels_are_drawn_evenly_over_classes_and_spread_over_patches():
    counts = np.array([[900, 100, 0], [400, 0, 7], [0, 0, 0]])
    drawn = baseline.draw_evenly(np.random.default_rng(0), counts, 50)
    assert drawn.tolist() == [[30, 50, 0], [20, 0, 7], [0, 0, 0]]  # 30 : 20 as the roots of 900 and 400
    many = baseline.draw_evenly(np.random.default_rng(0), np.full((1000, 1), 9), 1280)
    assert (many > 0).sum() == 128 and many.max() == 9


def log_density(x, mean, covariance):
    """Of the normal distribution; a constant that all classes share is left out."""
    gaps = x - mean
    return -(np.einsum("ni,ij,nj->n", gaps, np.linalg.inv(covariance), gaps) + np.linalg.slogdet(covariance)[1]) / 2


def test_maximum_likelihood_is_that_of_the_normal_distribution():
    rng = np.random.default_rng(3)
    net = baseline.Gaussian(bands=2, classes=3, windows=())
    x = torch.from_numpy(rng.normal(size=(300, 2)) @ [[1, 0.4], [0, 0.7]]).float()
    y = torch.from_numpy(np.repeat([0, 1], [100, 200]))
    x[y == 1] += 1
    prior = np.array([0.9, 0.1])
    net.offset[:, 0, 0] = torch.tensor([*np.log(prior), -1e4])
    assert list(baseline._fit_normals(net, x, y)) == [0.0]
    parts = [x[y == k].double().numpy() for k in (0, 1)]
    scatter = [len(part) * np.cov(part.T, bias=True) for part in parts]
    pooled = sum(scatter) / 300
    expected = [
        log_density(x.numpy(), part.mean(0), (own + 2 * pooled) / (len(part) + 2) + 0.01 * np.eye(2)) + np.log(p)
        for part, own, p in zip(parts, scatter, prior, strict=True)
    ]
    expected -= np.logaddexp(*expected)
    tf32 = []
    net.whiten[0].register_forward_pre_hook(lambda *_: tf32.append(torch.backends.cudnn.allow_tf32))
    found = net.classify(baseline._as_image(x)).detach()[0, :, :, 0].numpy()
    np.testing.assert_allclose(found[:2], expected, atol=1e-4)
    assert (found[2] == -30).all()
    assert tf32 == [False] and torch.backends.cudnn.allow_tf32  # on CUDA its three digits are too few


def test_no_learning_rate_is_searched_for_a_baseline(tmp_path):
    files = [tmp_path / name for name in ("split", "statistics", "table", "suggestion")]
    with pytest.raises(ConfigError, match="pixel-concat-nw-l1-baseline-1"):
        find_learning_rate(replace(plan("pixel")), store()[0], *files)
