"""Splits by place through the real workflow."""

import json

import pandas as pd
from project import TINY, TUNED, Project


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
