"""What is written is what was scored, the same bytes each time, and strict."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from region import IDS, L3
from scenes import CERRADATA
from test_metrics import random_masks

from cerraseg.evaluation import bootstrap, metrics, score_files

REFERENCE = Path(__file__).parents[2] / "reference"
INFO = {
    "scenario": {"id": "unet-sar-nw-l1-paper-666", "model": "unet", "seed": 666},
    "source": "simulated landscape",
    "patches": 4,
    "training": {"epochs": 3, "seconds": 1.5},
}
FILES = ["classes.csv", "confusion.csv", "metrics.json", "patches.npz"]


def patches(classes: int = 7) -> tuple[np.ndarray, list[str]]:
    """Counts of twenty patches that differ, and their ids."""
    truth, prediction = random_masks(classes, (20, 16, 16))
    truth[:10] = prediction[:10]
    return metrics.patch_confusions(truth, prediction, classes), [str(patch) for patch in range(90, 110)]


def test_write_gives_strict_json_and_two_tables(tmp_path):
    matrix = score_files.read_confusion(REFERENCE / "confusion_matrices" / "unet_concat_w_l1.csv")
    score_files.write_scores(tmp_path, matrix[None], ["1"], CERRADATA.classes("l1"), INFO)
    content = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert {key: content[key] for key in INFO} == INFO
    assert content["rule"] == score_files.RULE
    assert content["pixels"] == matrix.sum()
    assert content["scores"]["macro_f1"] == pytest.approx(0.4524, abs=2e-4)
    assert content["classes"][6]["name"] == "Other uses"
    assert content["classes"][6]["f1"] == 0
    published = (REFERENCE / "confusion_matrices" / "unet_concat_w_l1.csv").read_text()
    assert (tmp_path / "confusion.csv").read_text().split() == published.split()
    rows = list(csv.DictReader((tmp_path / "classes.csv").open(encoding="utf-8")))
    assert [row["abbreviation"] for row in rows] == ["Pa", "Fo", "Ag", "Mg", "Bu", "Wt", "OU"]
    assert int(rows[5]["support"]) == matrix[5].sum()
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_write_sums_the_patches_and_keeps_them(tmp_path, monkeypatch):
    counts, ids = patches()
    result = score_files.write_scores(tmp_path, counts, ids, CERRADATA.classes("l1"), INFO)
    monkeypatch.setattr("time.time", lambda: 2e9)  # another day: archives may hold the date
    score_files.write_scores(tmp_path / "again", counts, ids, CERRADATA.classes("l1"), dict(reversed(INFO.items())))
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert result.summary() == metrics.compute_scores(counts.sum(axis=0)).summary()
    assert np.array_equal(score_files.read_confusion(tmp_path / "confusion.csv"), counts.sum(axis=0))
    kept_ids, kept = score_files.read_patches(tmp_path / "patches.npz")
    assert kept_ids.tolist() == ids
    assert np.array_equal(kept, counts) and kept.dtype == np.uint16
    score_files.write_headlines(tmp_path / "headlines.json", result)
    headlines = {name: result.summary()[name] for name in ("accuracy", "macro_f1", "miou", "kappa")}
    assert json.loads((tmp_path / "headlines.json").read_text()) == headlines
    intervals = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["intervals"]
    assert list(intervals) == ["accuracy", "macro_f1", "miou"]
    assert intervals == bootstrap.score_intervals(counts)
    assert all(end == round(end, 6) for ends in intervals.values() for end in ends)


def test_intervals_are_over_groups_where_the_split_has_them(tmp_path):
    counts, ids = patches()
    groups = [f"block {place % 4}" for place in range(20)]
    score_files.write_scores(tmp_path, counts, ids, CERRADATA.classes("l1"), INFO, groups)
    found = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    units = np.stack([counts[place::4].sum(axis=0) for place in range(4)])
    assert found["intervals"] == bootstrap.score_intervals(units)
    coverage = bootstrap.coverage("groups", 4)
    assert found["resampled"] == {"units": "groups", "count": 4, "coverage": coverage}
    names, read = score_files.read_units(tmp_path / "patches.npz")
    assert np.array_equal(read, units) and names.tolist() == [
        list(pair) for pair in sorted(zip(ids, groups, strict=True))
    ]
    one = score_files.write_scores(tmp_path, counts, ids, CERRADATA.classes("l1"), INFO, ["site 1"] * 20)
    found = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert found["intervals"]["macro_f1"] is None and found["scores"] == one.summary()


def test_classes_go_by_their_ids(tmp_path):
    counts, ids = patches(5)
    result = score_files.write_scores(tmp_path, counts, ids, L3, INFO)
    found = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["classes"]
    assert [entry["id"] for entry in found] == list(IDS) and found[2]["name"] == "Soy"
    assert [entry["f1"] for entry in found] == result.f1.round(6).tolist()
    lines = (tmp_path / "confusion.csv").read_text().split()
    assert lines[0] == "Class,3,15,24,33,39" and [line.split(",")[0] for line in lines[1:]] == [str(k) for k in IDS]
    assert np.array_equal(score_files.read_confusion(tmp_path / "confusion.csv"), counts.sum(axis=0))
