"""Calibrations are found again that were put in; class sets cover what they promise."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scenes import CERRADATA

from cerraseg.data.packed import Header, Store
from cerraseg.models.checkpoint import Blueprint, Segmenter, describe
from cerraseg.training import calibrate as calibration
from cerraseg.training.calibrate import calibrate, least_probabilities

SIZE = 32
TRUE_BIAS = np.array([1.0, -1.0, 0.5, 0, 0, 0, -0.5])


class Given(Segmenter):
    """Its bands are its logits."""

    def _build(self, blueprint):
        return torch.nn.Identity()

    def raw(self, images):
        return (images[:, :7],)


def store_of(logits: np.ndarray, truth: np.ndarray) -> Store:
    images = np.concatenate([logits, np.zeros_like(logits[:, :5])], 1).astype(np.float32)
    header = Header(len(images), CERRADATA.bands("msi"), ("l1",), "", "")
    return Store(images, truth[:, None].astype(np.uint8), header)


def fitted(sure=1.0, bias=0.0, patches=40, seed=0, **options):
    """The calibration of logits that are ``sure`` times the true ones less ``bias``."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 2, (patches, 7, SIZE, SIZE))
    gumbel = rng.gumbel(size=true.shape)
    truth = (true + gumbel).argmax(1)  # drawn from their softmax
    truth[:, :3] = 255
    logits = sure * (true - np.reshape(bias, (-1, 1, 1)))
    model = Given(Blueprint("unet", {}, "msi", "l1", describe(CERRADATA, "msi", "l1")))
    return calibrate([(model, np.arange(patches))], store_of(logits, truth), **options)


@pytest.mark.parametrize("sure", [0.5, 3.0])
def test_temperature_is_found(sure):
    found = fitted(sure)
    assert found["method"] == "temperature" and found["bias"] == [0] * 7 and found["patches"] == 40
    assert found["scale"] == pytest.approx([1 / sure] * 7, rel=0.03)
    assert fitted(sure) == found


def test_vector_scaling_wins_where_classes_are_shifted_and_only_where_it_may():
    found = fitted(2.0, TRUE_BIAS)
    assert found["method"] == "vector" and found["scale"] == pytest.approx([0.5] * 7, rel=0.08)
    shift = np.array(found["bias"]) - TRUE_BIAS
    assert np.ptp(shift) < 0.15  # the same for all classes means nothing
    held = fitted(2.0, TRUE_BIAS, vector=False)
    assert held["method"] == "temperature" and len(set(held["scale"])) == 1


def test_shift_towards_a_rare_class_is_kept():
    """As of a training with weights: a true bias would predict it nowhere, and cost macro F1."""
    rng = np.random.default_rng(0)
    truth = (rng.random((40, SIZE, SIZE)) < 0.05).astype(int)
    logits = np.full((40, 7, SIZE, SIZE), -9.0)
    signal = rng.normal(0, 1, truth.shape) + 1.5 * truth
    logits[:, 0], logits[:, 1] = 0, 1.5 * signal - 2.2  # true: less 2 more
    model = Given(Blueprint("unet", {}, "msi", "l1", describe(CERRADATA, "msi", "l1")))
    assert calibrate([(model, np.arange(40))], store_of(logits, truth))["method"] == "temperature"


def test_scalings_are_compared_by_the_classes_that_the_model_decides(monkeypatch):
    """Where two classes of one parent share 0.6, the third, with 0.4, is the largest but not decided on."""
    seen = []
    monkeypatch.setattr(
        calibration,
        "compute_scores",
        lambda counts: seen.append(counts.sum(0)) or SimpleNamespace(macro_f1_present=0.0),
    )
    logits = torch.tensor([0.3, 0.3, 0.4], dtype=torch.float64).log().repeat(80, 1)
    truth, patch = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 2] * 8), torch.arange(80) // 10
    sample = calibration.Sample(logits, truth, torch.ones(80, dtype=torch.float64), patch)
    for ancestors, decided in (((), 2), ([(0, 0, 1)], 0)):
        seen.clear()
        calibration._vector_wins(sample, ancestors)
        assert seen[0][decided] == 80


def test_nothing_to_learn_from_leaves_the_model_as_it_is():
    model = Given(Blueprint("unet", {}, "msi", "l1", describe(CERRADATA, "msi", "l1")))
    logits, truth = np.zeros((2, 7, SIZE, SIZE)), np.full((2, SIZE, SIZE), 255)
    assert calibrate([(model, np.arange(2))], store_of(logits, truth)) == {}
    assert calibrate([(model, np.arange(2))], store_of(logits + np.inf, truth * 0)) == {}


@pytest.mark.parametrize("patches", [20, 100])
def test_class_sets_hold_new_pixels_as_often_as_promised(patches):
    """Pixels of a patch are alike."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(60):
        values = rng.normal(0, 1, (patches, 1)) + rng.normal(0, 0.3, (patches, 50))
        shares = (1 / (1 + np.exp(-values))).ravel()
        patch = np.repeat(np.arange(patches), 50)
        least = least_probabilities(np.stack([shares], 1), 0 * patch, np.ones(len(patch)), patch)
        new = rng.normal(0, np.hypot(1, 0.3), 4000)
        covered.append((1 / (1 + np.exp(-new)) >= least[0]).mean())
    assert 0.895 < np.mean(covered) < 0.92


def test_weights_count_and_few_patches_promise_nothing():
    shares, truth = np.linspace(0.005, 0.995, 100)[:, None].repeat(2, 1), np.repeat([0, 1], 50)
    patch, ones = np.arange(100), np.ones(100)
    assert least_probabilities(shares, truth, ones, patch)[0] == pytest.approx(shares[3, 0])  # 0.1 − 0.5 / 50 of 50
    heavy = np.where(np.arange(100) < 10, 9.0, 1.0)
    assert least_probabilities(shares, truth, heavy, patch)[0] == pytest.approx(shares[0, 0])
    assert least_probabilities(shares, truth, ones, patch // 12)[0] == 0
