"""Real Sentinel-1/2 patches through every step, where the machine has the sample."""

import json

import numpy as np
import pandas as pd
import rasterio
from project import TINY, TUNED, Project

from cerraseg.data.index import write_patch_table
from cerraseg.data.splits.assign import write_split
from cerraseg.data.splits.distances import write_distances


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


def test_five_sites_of_which_none_is_in_two_parts(real_sample, tmp_path):
    """Also in leave-one-site-out: five folds of one site each."""
    roots = [real_sample / "terramesh", real_sample / "sen1floods11_spain"]
    table, split = tmp_path / "patches.parquet", tmp_path / "split.csv"
    write_patch_table(roots, table, tmp_path / "rejected.csv", threads=1)
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    seeds = {"shares": shares, "seed": 1, "validation_seed": 2, "tolerance": 0.3}
    place = {"test_sites": ["*/sen1floods11_spain/*"], "validation_sites": [], "site_gap_km": 5.0, "buffer_km": 0.0}
    write_split(table, split, scheme="sites", **seeds, **place)
    found, places = pd.read_csv(split, dtype=str), pd.read_parquet(table, columns=["crs"])["crs"]
    assert found["group"].nunique() == 5
    assert (places.groupby(found["group"]).nunique() == 1).all()  # each site has its own coordinate system
    assert (found.groupby("group")["split"].nunique() == 1).all()
    assert ((found["split"] == "test") == (places == "EPSG:4326")).all()
    write_distances(table, [split], tmp_path / "distances.csv")
    assert pd.read_csv(tmp_path / "distances.csv")["metres"].between(1e6, 6e6).all()
    write_split(table, split, scheme="kfold", **seeds | {"tolerance": 0.4}, unit="sites", site_gap_km=5.0, folds=5)
    assert (pd.read_csv(split).groupby("fold")["group"].nunique() == 1).all()
