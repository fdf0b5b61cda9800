"""Test patches are scored by better masks where the store has any, with the edges of those."""

from dataclasses import replace

import numpy as np
import pandas as pd
from conftest import opened
from scenes import CERRADATA, NAMES

from cerraseg.config.scenario import parse
from cerraseg.data.masks import derive_edges
from cerraseg.data.splits.distances import write_distances
from cerraseg.data.tables import write_ids
from cerraseg.evaluation.calibration import tally, write_tally
from cerraseg.evaluation.evaluate import evaluate


def test_better_masks_are_scored_by(packed, tmp_path):
    store = opened(packed)
    truth = np.roll(store.masks[:, store.layer("l1")], 40, axis=2)
    masks = np.concatenate([store.masks, truth[:, None]], axis=1)
    better = replace(store, masks=masks, header=replace(store.header, layers=(*store.header.layers, "truth_l1")))
    np.save(tmp_path / "prediction.npy", truth)
    np.save(tmp_path / "edges.npy", derive_edges(truth))
    write_ids(tmp_path / "ids.csv", pd.read_parquet(packed / "patches.parquet")["id"])
    write_distances(packed / "patches.parquet", [packed / "split.csv"], tmp_path / "distances.csv")
    sure = np.eye(7, dtype=np.float32)[np.zeros((1, 8, 8), int)].transpose(0, 3, 1, 2)
    counts = tally([sure], np.zeros((1, 8, 8), np.uint8), [np.zeros((1, 8, 8), np.uint8)])
    write_tally(tmp_path / "tally.npz", counts | {"method": np.array(["none"]), "temperature": np.ones(1)})
    given = (
        packed / "split.csv",
        *(tmp_path / name for name in ("ids.csv", "prediction.npy", "edges.npy", "tally.npz")),
    )
    scenario = parse("unet-msi-nw-l1-tuned-1", NAMES)
    found = [
        evaluate(scenario, CERRADATA, used, *given, tmp_path / "distances.csv", tmp_path / str(k), {})
        for k, used in enumerate((better, store))
    ]
    assert found[0].accuracy == 1 > found[1].accuracy + 0.1
