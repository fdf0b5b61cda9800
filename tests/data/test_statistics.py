"""Statistics of the training split against numpy on the whole."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import opened
from scenes import CERRADATA

from cerraseg.core.errors import DataError
from cerraseg.data.statistics import band_statistics, class_weights
from cerraseg.data.tables import rows_of


def by_numpy(images, band):
    values = images[:, band].astype(np.float64)
    return pytest.approx([values.min(), values.max(), values.mean(), values.std()], rel=1e-12)


def test_bands_and_counts_are_those_of_the_training_split(packed):
    content = json.loads((packed / "statistics.json").read_text())
    store, rows = opened(packed), rows_of(packed / "split.csv", "train")
    assert content["patches"] == len(rows) == 6
    assert list(content["bands"]) == list(store.header.bands)
    for k, band in enumerate(content["bands"].values()):
        assert list(band.values()) == by_numpy(store.images[rows], k)
    for level, part in content["levels"].items():
        mask = store.masks[rows, store.layer(level)]
        assert part["counts"] == np.bincount(mask.ravel(), minlength=len(part["counts"])).tolist()


def test_large_means_do_not_drown_small_deviations_and_threads_do_not_matter(packed, monkeypatch):
    monkeypatch.setattr("cerraseg.data.statistics.batches", lambda rows, _: np.array_split(rows, 5))
    rng = np.random.default_rng(0)
    images = (10_000 + rng.integers(0, 2, (12, 14, 128, 128)) / 128).astype(np.float32)
    store, rows = replace(opened(packed), images=images), np.arange(12)
    found = band_statistics(store, rows, threads=3)
    assert found == band_statistics(store, rows)
    for k, band in enumerate(found.values()):
        assert list(band.values()) == by_numpy(images, k)


def test_class_weights_are_the_published_ones_and_zero_without_pixels(caplog):
    weights = class_weights(np.array([700, 200, 0, 25, 10, 10, 5]), "l1", CERRADATA.classes("l1"))
    assert weights == pytest.approx([5 / 700, 5 / 200, 0, 0.2, 0.5, 0.5, 1.0])
    assert "l1: no training pixel of class 2 Agriculture; its class weight is 0" in caplog.messages
    with pytest.raises(DataError, match="level l1: the training split has no labelled pixel"):
        class_weights(np.zeros(7, int), "l1", CERRADATA.classes("l1"))


def test_pixels_without_data_count_nowhere(packed):
    rng = np.random.default_rng(0)
    images = rng.normal(1000, 10, (12, 14, 128, 128)).astype(np.float32)
    images[:, 1, :50] = images[3, 2] = images[:11, 3] = np.nan
    store, rows = replace(opened(packed), images=images), np.arange(12)
    found = band_statistics(store, rows, threads=2)
    for k, band in enumerate(found.values()):
        values = images[:, k][~np.isnan(images[:, k])].astype(np.float64)
        numbers = [values.min(), values.max(), values.mean(), values.std()]
        assert list(band.values()) == pytest.approx(numbers, rel=1e-12)
    with pytest.raises(DataError, match="B04"):
        band_statistics(store, rows[:11])
