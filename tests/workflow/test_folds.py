"""Splits by place and cross-validation through the real workflow."""

import json

import numpy as np
import pandas as pd
import pytest
from project import TINY, TUNED, Project

from cerraseg.evaluation.metrics import compute_scores, confusion_matrix

pytestmark = pytest.mark.drill


def test_splits_by_place_reach_the_scores(tmp_path):
    """Four scenes, 5.5 km apart, are four sites; blocks then rerun what stands on the split, and nothing else."""
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25, "seed": 1}
    config = {key: value for key, value in TINY.items() if key not in ("scenes", "maps", "released")}
    config |= {"simulate": {"patches": 24, "scenes": 4}, "training": {"epochs": 1, "batch_size": 4}}
    config |= {"scenarios": TINY["scenarios"] | {"extra": []}, "split": shares | {"scheme": "sites"}}
    made, scores = Project(tmp_path / "project", config), f"results/scores/{TUNED}/metrics.json"
    made.run(scores)
    split, metrics = pd.read_csv(made.folder / "results/split.csv"), json.loads(made.read(scores))
    assert split["group"].value_counts().to_dict() == {f"site {k}": 6 for k in range(1, 5)}
    assert split.groupby("group")["split"].nunique().max() == 1
    assert metrics["leakage"]["touching"] == 0 and metrics["leakage"]["median_metres"] > 5000
    config["split"] = shares | {"scheme": "blocks", "block_km": 2}
    made.configure(config)
    rerun = dict.fromkeys(("split", "statistics", "train", "predict", "distances", "evaluate"), 1)
    assert made.planned(scores) == rerun
    made.run(scores)
    split, metrics = pd.read_csv(made.folder / "results/split.csv"), json.loads(made.read(scores))
    assert split.groupby("group")["split"].nunique().max() == 1 and split["group"].str.match("EPSG:3272[23]/").all()
    assert metrics["leakage"]["touching"] > 0 and metrics["patches"] == (split["split"] == "test").sum()
    config["split"] |= {"site_gap_km": 9, "folds": 3}  # of other schemes
    made.configure(config)
    assert made.planned(scores) == {}


def test_cross_validation_scores_every_patch_by_a_model_that_never_saw_it(tmp_path):
    """Three folds: a training each, one prediction of all patches, one row in the tables; then nothing to do."""
    config = {key: value for key, value in TINY.items() if key not in ("scenes", "maps", "released")}
    config |= {"simulate": {"patches": 24}, "training": {"epochs": 1, "batch_size": 4}}
    config |= {"scenarios": TINY["scenarios"] | {"extra": []}}
    config["split"] = {"scheme": "kfold", "folds": 3, "block_km": 1.5, "tolerance": 0.3}
    made = Project(tmp_path / "project", config)
    assert {rule: made.planned()[rule] for rule in ("fold", "statistics", "train", "predict", "pool", "evaluate")} == {
        "fold": 3, "statistics": 3, "train": 3, "predict": 3, "pool": 1, "evaluate": 4
    }  # fmt: skip
    made.run()
    results, models = made.folder / "results", f"results/scenarios/{TUNED}"
    pooled, masks = np.load(made.folder / models / "prediction.npy"), np.load(results / "packed/masks.npy")
    for fold in (1, 2, 3):
        split = pd.read_csv(results / f"folds/{fold}/split.csv")
        assert split.groupby("group")["split"].nunique().max() == 1
        test = np.flatnonzero(split["split"] == "test")
        np.testing.assert_array_equal(pooled[test], np.load(made.folder / models / f"fold{fold}/prediction.npy"))
        card = made.read(f"{models}/fold{fold}/model_card.md").decode()
        assert f"# {TUNED}/fold{fold}" in card and f"{len(test)} |" in card
    metrics = json.loads(made.read(f"results/scores/{TUNED}/metrics.json"))
    assert metrics["patches"] == 24 == sum(row["patches"] for row in metrics["leakage"]["by_distance"])
    assert metrics["scores"]["macro_f1"] == pytest.approx(
        compute_scores(confusion_matrix(masks[:, 0], pooled, 7)).macro_f1, abs=1e-6
    )
    assert pd.read_csv(results / "benchmark.csv")["id"].tolist() == [TUNED]
    assert "Nothing to be done" in made.run()
