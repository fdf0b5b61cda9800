"""Counts by probability against the definitions, pixel by pixel."""

import numpy as np
import pytest
from scenes import CERRADATA

from cerraseg.evaluation.calibration import BINS, measures, pooled, read_tally, tally, write_tally

CLASSES = CERRADATA.classes("l1")


def drawn(patches=3, seed=0):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(7), (patches, 8, 8)).transpose(0, 3, 1, 2).astype(np.float32)
    truth = rng.integers(0, 7, (patches, 8, 8)).astype(np.uint8)
    truth[:, :2] = 255
    return shares, truth, shares.argmax(1).astype(np.uint8)


def measured(found, temperature=1.0):
    return measures(found | {"method": np.array(["none"]), "temperature": np.array([temperature])}, CLASSES)


def test_measures_are_those_of_the_definitions():
    shares, truth, decided = drawn()
    known = measured(tally([shares], truth, [decided]))["before"]
    pixels, true = shares.transpose(0, 2, 3, 1)[truth != 255].astype(float), truth[truth != 255]
    of_truth, best, hit = pixels[np.arange(len(true)), true], pixels.max(1), pixels.argmax(1) == true

    def error(probability, right):
        bins = np.minimum((probability * BINS).astype(int), BINS - 1)
        return sum(abs(right[bins == b].sum() - probability[bins == b].sum()) for b in range(BINS)) / len(right)

    assert known["ece"] == pytest.approx(error(best, hit), abs=1e-5)
    assert known["class_ece"] == pytest.approx(np.mean([error(pixels[:, k], true == k) for k in range(7)]), abs=1e-5)
    assert known["nll"] == pytest.approx(-np.log(of_truth).mean(), abs=1e-5)
    assert known["brier"] == pytest.approx(((pixels - np.eye(7)[true]) ** 2).sum(1).mean(), abs=1e-5)
    assert sum(count for count, _, _ in known["reliability"]) == len(true) == 3 * 48


def test_probabilities_that_are_true_have_no_calibration_error():
    rng = np.random.default_rng(1)
    shares = np.zeros((1, 7, 100, 100), np.float32)
    shares[:, 0], shares[:, 3] = 0.7, 0.3
    truth = np.where(rng.permutation(10_000) < 7_000, 0, 3).reshape(1, 100, 100).astype(np.uint8)
    known = measured(tally([shares], truth, [np.zeros_like(truth)]))
    assert known["before"]["ece"] == known["before"]["class_ece"] == 0 and known["after"] is known["sets"] is None
    assert known["before"]["reliability"][10] == [10_000, 0.7, 0.7]


def test_class_sets_are_counted_by_the_last_probabilities():
    shares, truth, decided = drawn()
    least = [0.0, 0.1, 0.2, 0.3, 0.9, 0.05, 1.0]
    known = measured(tally([shares[:, ::-1], shares], truth, [decided, decided], least))
    inside = (shares >= np.array(least, np.float32)[:, None, None]).transpose(0, 2, 3, 1)[truth != 255]
    true = truth[truth != 255]
    held = inside[np.arange(len(true)), true]
    assert [row["coverage"] for row in known["by_class"]] == pytest.approx(
        [held[true == k].mean() for k in range(7)], abs=1e-6
    )
    assert known["sets"] == {"coverage": round(held.mean(), 6), "size": round(inside.sum(1).mean(), 6)}
    assert known["after"]["nll"] != known["before"]["nll"]


def test_tallies_add_up(tmp_path):
    shares, truth, decided = drawn()
    parts = [tally([shares[k : k + 1]], truth[k : k + 1], [decided[k : k + 1]]) for k in range(3)]
    write_tally(tmp_path / "t.npz", pooled([part | {"method": np.array(["none"])} for part in parts]))
    found, whole = read_tally(tmp_path / "t.npz"), tally([shares], truth, [decided])
    assert found["method"].tolist() == ["none"] * 3 and found["patches"].shape == (3, 1, 3)
    for name, values in whole.items():
        np.testing.assert_allclose(found[name], values, atol=1e-4)
