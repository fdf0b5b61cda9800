"""Cross-validation through the real workflow, of the patches of the finished run."""

import json

import numpy as np
import pandas as pd
import pytest
from project import TINY, TUNED

from cerraseg.evaluation.metrics import compute_scores, confusion_matrix


def test_cross_validation_scores_every_patch_by_a_model_that_never_saw_it(project):
    """Three folds: a training each, one prediction of all patches, one row in the tables; then nothing to do."""
    config = TINY | {"scenes": [], "maps": {}, "training": {"epochs": 1, "batch_size": 4}}
    config["scenarios"] = TINY["scenarios"] | {"extra": []}
    config["split"] = {"scheme": "kfold", "folds": 3, "block_km": 1.5, "tolerance": 0.3}
    project.configure(config)
    planned = project.planned()
    expected = {"fold": 3, "statistics": 3, "train": 3, "predict": 3, "pool": 1, "evaluate": 4}
    assert planned.items() >= expected.items() and not {"simulate", "index", "pack"} & planned.keys()
    project.run()
    results, models = project.folder / "results", f"results/scenarios/{TUNED}"
    pooled, masks = np.load(project.folder / models / "prediction.npy"), np.load(results / "packed/masks.npy")
    layers = json.loads(project.read("results/packed/header.json"))["layers"]
    for fold in (1, 2, 3):
        split = pd.read_csv(results / f"folds/{fold}/split.csv")
        assert split.groupby("group")["split"].nunique().max() == 1
        test = np.flatnonzero(split["split"] == "test")
        np.testing.assert_array_equal(pooled[test], np.load(project.folder / models / f"fold{fold}/prediction.npy"))
        card = project.read(f"{models}/fold{fold}/model_card.md").decode()
        assert f"# {TUNED}/fold{fold}" in card and f"{len(test)} |" in card
    metrics = json.loads(project.read(f"results/scores/{TUNED}/metrics.json"))
    assert metrics["patches"] == 24 == sum(row["patches"] for row in metrics["leakage"]["by_distance"])
    assert metrics["scores"]["macro_f1"] == pytest.approx(
        compute_scores(confusion_matrix(masks[:, layers.index("truth_l1")], pooled, 7)).macro_f1, abs=1e-6
    )
    assert pd.read_csv(results / "benchmark.csv")["id"].tolist() == [TUNED]
    assert "Nothing to be done" in project.run()
