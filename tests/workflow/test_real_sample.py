"""Real Sentinel-1/2 patches through every step, where the machine has the sample."""

import json

import numpy as np
import pandas as pd
import rasterio
from project import TINY, TUNED, Project


def test_real_sentinel_patches(real_sample, tmp_path):
    """Five coordinate systems, overlapping windows, ignored pixels: real data through every step."""
    config = TINY | {"source": "local", "label": "real sample", "roots": "$CERRASEG_DATA", "training": {"epochs": 1}}
    config["roots"] = [str(real_sample / "terramesh"), str(real_sample / "sen1floods11_spain")]
    config["scenarios"] = TINY["scenarios"] | {"extra": []}
    del config["simulate"], config["scenes"]
    made = Project(tmp_path / "project", config)
    scores = f"results/scores/{TUNED}/metrics.json"
    made.run(scores, "results/truth", f"results/scenarios/{TUNED}/mosaic")
    results = made.folder / "results"
    codes = {"32722": "282D_485L_3_3", "32736": "38D_378R_2_3", "32718": "433D_629L_3_1", "32632": "637U_59R_1_3"}
    maps = results / f"scenarios/{TUNED}/mosaic"
    assert {path.stem for path in maps.glob("prediction*.tif")} == {f"prediction_epsg{c}" for c in [*codes, "4326"]}
    for code, site in codes.items():
        with (
            rasterio.open(real_sample / f"scenes/terramesh_{site}/semantic_7c.tif") as scene,
            rasterio.open(results / f"truth/l1/truth_epsg{code}.tif") as truth,
            rasterio.open(maps / f"prediction_epsg{code}.tif") as prediction,
        ):
            assert (truth.crs, truth.transform, truth.shape) == (scene.crs, scene.transform, scene.shape)
            assert (prediction.crs, prediction.transform, prediction.shape) == (truth.crs, truth.transform, truth.shape)
            np.testing.assert_array_equal(truth.read(1), scene.read(1))
            assert prediction.read(1).max() < 7
    metrics = json.loads(made.read(scores))
    table, split = pd.read_parquet(results / "patches.parquet"), pd.read_csv(results / "split.csv")
    assert metrics["pixels"] == table.loc[split["split"] == "test", [f"l1_{k}" for k in range(7)]].to_numpy().sum()
    assert table[[f"l1_{k}" for k in range(7)]].to_numpy().sum() < len(table) * 128 * 128
