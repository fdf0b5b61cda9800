"""The section of the metrics on leakage."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from cerraseg.evaluation import bootstrap, leakage, metrics


def tabled(folder, gaps):
    frame = pd.DataFrame({"id": [f"{k:03}" for k in range(len(gaps))], "metres": gaps, "centre_metres": gaps + 1280.0})
    frame.assign(touches=gaps == 0).sample(frac=1, random_state=1).to_csv(folder / "distances.csv", index=False)
    return frame["id"].tolist(), folder / "distances.csv"


def confused(wrong, classes=3):
    """Counts of patches of 100 pixels of class 0 and 50 of class 1, so many of both predicted as class 2."""
    counts = np.zeros((len(wrong), classes, classes), np.uint16)
    counts[:, 0, 0], counts[:, 0, 2] = 100 - wrong, wrong
    counts[:, 1, 1] = 50
    return counts


def test_scores_by_distance(tmp_path):
    gaps = np.array([0.0] * 30 + [1280.0] * 40 + list(np.linspace(1300, 9000, 90)))
    wrong = np.repeat([0, 20, 50], [30, 40, 90])
    counts = confused(wrong)
    found = leakage.leakage_summary(counts, *tabled(tmp_path, gaps))
    json.dumps(found, allow_nan=False)
    assert found["touching"] == 30 / 160
    assert (found["median_metres"], found["median_centre_metres"]) == (2121.9, 3401.9)
    bins = found["by_distance"]
    assert [row["patches"] for row in bins] == [30, 40, 13, 26, 26, 25]  # equal gaps are in one bin
    assert [row["touches"] for row in bins] == [True] + [False] * (len(bins) - 1)
    assert (bins[0]["from"], bins[0]["to"]) == (0, 0) and (bins[1]["from"], bins[1]["to"]) == (1280, 1280)
    assert all(low["to"] < high["from"] for low, high in pairwise(bins))
    for row, share in zip(bins, [0, 20, *[50] * (len(bins) - 2)], strict=True):
        f1 = 2 * (100 - share) / (200 - share)
        assert row["accuracy"] == pytest.approx((150 - share) / 150, abs=1e-6)
        assert row["macro_f1_present"] == pytest.approx((f1 + 1) / 2, abs=1e-6)
        assert row["interval"] == [row["macro_f1_present"]] * 2  # as its patches are alike


def test_intervals_are_over_the_classes_that_a_draw_holds(tmp_path):
    random = np.random.default_rng(0)
    counts = random.integers(1, 40, (12, 3, 3)).astype(np.uint16)
    counts[1:, 2] = 0  # class 2 is in one patch alone
    low, high = leakage.leakage_summary(counts, *tabled(tmp_path, np.zeros(12)))["by_distance"][0]["interval"]
    drawn, left_out = [], []
    for weights in np.concatenate(list(bootstrap.times_drawn(12))):
        drawn.append(metrics.compute_scores((counts * weights[:, None, None].astype(int)).sum(axis=0)).macro_f1_present)
    for place in range(12):
        left_out.append(metrics.compute_scores(np.delete(counts, place, axis=0).sum(axis=0)).macro_f1_present)
    value = metrics.compute_scores(counts.sum(axis=0)).macro_f1_present
    expected = bootstrap.compare(value, np.array(drawn), np.array(left_out))
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_few_patches_and_patches_without_labels(tmp_path):
    counts = confused(np.array([10, 20, 30]))
    counts[1] = 0
    found = leakage.leakage_summary(counts, *tabled(tmp_path, np.array([0.0, 0.0, 700.0])))
    assert found["touching"] == pytest.approx(2 / 3, abs=1e-6)
    assert [(row["patches"], row["interval"]) for row in found["by_distance"]] == [(1, None), (1, None)]


def test_patches_that_overlap_have_a_share_and_a_bin_of_their_own(tmp_path):
    gaps = np.array([0.0] * 30 + [1280.0] * 10)
    ids, distances = tabled(tmp_path, gaps)
    counts = confused(np.repeat([0, 20, 50], [10, 20, 10]))
    assert "overlapping" not in leakage.leakage_summary(counts, ids, distances)
    table = pd.read_csv(distances, dtype={"id": str})
    table.assign(overlaps=table["id"].isin(ids[:10])).to_csv(distances, index=False)
    found = leakage.leakage_summary(counts, ids, distances)
    assert (found["touching"], found["overlapping"]) == (0.75, 0.25)
    bins = found["by_distance"]
    assert [(row["patches"], row["touches"], row.get("overlaps", False)) for row in bins] == [
        (10, True, True),
        (20, True, False),
        (10, False, False),
    ]
    assert [row["accuracy"] for row in bins] == pytest.approx([1, 130 / 150, 100 / 150], abs=1e-6)
