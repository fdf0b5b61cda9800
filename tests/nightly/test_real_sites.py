"""Models of some real sites on others, where the machine has the sample: left out in folds, and mapped as scenes."""

import csv
import json
import os
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from project import TINY, TUNED, Project
from scenes import CERRADATA, scene_files, seams, tile_edges

import cerraseg
from cerraseg.data.index import write_patch_table
from cerraseg.data.splits.assign import write_split
from cerraseg.data.splits.distances import write_distances
from cerraseg.mapping.map_scene import Settings
from cerraseg.mapping.scene_check import write_picture
from cerraseg.mapping.tiles import tile_starts


@pytest.mark.ci
def test_five_sites_of_which_none_is_in_two_parts(real_sample, tmp_path):
    """Also in leave-one-site-out: five folds of one site each."""
    roots = [real_sample / "terramesh", real_sample / "sen1floods11_spain"]
    table, split = tmp_path / "patches.parquet", tmp_path / "split.csv"
    write_patch_table(roots, CERRADATA, table, tmp_path / "rejected.csv", threads=1)
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    seeds = {"shares": shares, "seed": 1, "validation_seed": 2, "tolerance": 0.3}
    place = {"test_sites": ["*/sen1floods11_spain/*"], "validation_sites": [], "site_gap_km": 5.0, "buffer_km": 0.0}
    write_split(table, split, CERRADATA, scheme="sites", **seeds, **place)
    found, places = pd.read_csv(split, dtype=str), pd.read_parquet(table, columns=["crs"])["crs"]
    assert found["group"].nunique() == 5
    assert (places.groupby(found["group"]).nunique() == 1).all()  # each site has its own coordinate system
    assert (found.groupby("group")["split"].nunique() == 1).all()
    assert ((found["split"] == "test") == (places == "EPSG:4326")).all()
    write_distances(table, [split], tmp_path / "distances.csv")
    assert pd.read_csv(tmp_path / "distances.csv")["metres"].between(1e6, 6e6).all()
    write_split(
        table, split, CERRADATA, scheme="kfold", **seeds | {"tolerance": 0.4}, unit="sites", site_gap_km=5.0, folds=5
    )
    assert (pd.read_csv(split).groupby("fold")["group"].nunique() == 1).all()


SITES = ("282D_485L_3_3", "38D_378R_2_3", "433D_629L_3_1", "609U_541L_3_0", "637U_59R_1_3", "Spain_7370579")


def linked(sample: Path, folder: Path, site: str, *, other: bool) -> list[Path]:
    """Folders with the patches of one site, or of all other sites."""
    with (sample / "manifest.csv").open() as file:
        wanted = {(row["subset"], row["id"]) for row in csv.DictReader(file) if (row["site"] == site) != other}
    for subset, id_ in wanted:
        for layer in ("opt_images", "sar_images", "semantic_7c"):
            (path,) = (sample / subset / layer).glob(f"*_{id_}.tif")
            target = folder / subset / layer / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.path.realpath(path))
    return sorted({folder / subset for subset, _ in wanted})


def configured(roots: list[Path], **further) -> dict:
    config = {key: value for key, value in TINY.items() if key not in ("simulate", "predict", "released", "scenes")}
    config |= {"source": "local", "label": "real sample", "roots": [str(root) for root in roots]}
    config |= {
        "split": {"scheme": "paper"},
        "training": {"epochs": 3, "batch_size": 4},
        "scenarios": TINY["scenarios"] | {"extra": []},
    }
    return config | further


def scene_of(sample: Path, site: str) -> list[dict[str, str]]:
    (folder,) = (sample / "scenes").glob(f"*_{site}")
    files = {"msi": "opt_images.tif", "sar": "sar_images.tif", "reference": "semantic_7c.tif"}
    return [{"name": "scene"} | {key: str(folder / name) for key, name in files.items()}]


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


def test_each_site_is_left_out_once(real_sample, tmp_path):
    """Leave-one-site-out over five sites: a smoke run, whose scores say nothing."""
    roots = [real_sample / "terramesh", real_sample / "sen1floods11_spain"]
    folds = {"scheme": "kfold", "unit": "sites", "folds": 5, "tolerance": 0.4}
    made = Project(tmp_path / "project", configured(roots, split=folds))
    made.run(f"results/scores/{TUNED}/metrics.json", f"results/scenarios/{TUNED}/mosaic")
    metrics = json.loads(made.read(f"results/scores/{TUNED}/metrics.json"))
    assert metrics["patches"] == 32 and metrics["leakage"]["touching"] == 0
    assert metrics["leakage"]["median_metres"] > 1e6
    assert len(list((made.folder / f"results/scenarios/{TUNED}/mosaic").glob("prediction_*.tif"))) == 5


def own_seams(model: cerraseg.Model, images: dict[str, str], overlap: float) -> tuple[float, float]:
    """Mean jump of probabilities in percent across the tiles' edges, and at the same places where tiles lie otherwise.

    In a scene of 224 pixels, the roads and fields that happen to lie at the few edges jump more than the ground around
    them: the image itself by 35 %. So two by two tiles are moved over the ground by four pixels at a time.
    """
    pixels = []
    for file in images.values():
        with rasterio.open(file) as opened:
            pixels.append(np.where(opened.read_masks() > 0, opened.read().astype(np.float32), np.nan))
    ground, side = np.concatenate(pixels), CERRADATA.patch_size + tile_starts(10_000, CERRADATA.patch_size, overlap)[1]
    moves = range(0, min(36, min(ground.shape[1:]) - side + 1), 4)
    first, last = moves[-1], side  # what all of them show
    jumps, edges = [], []
    for move in moves:
        seen = slice(move, move + side)
        layer = model.predict(ground[:, seen, seen], overlap=overlap).probabilities
        common = layer[:, first - move : last - move, first - move : last - move]
        jumps += [100 * np.nanmean(np.abs(np.diff(common, axis=axis)), axis=(0, 3 - axis)) for axis in (1, 2)]
        edges += [np.isin(np.arange(first, last - 1), np.add(tile_edges(side, overlap), move))] * 2
    found, on_edge = (np.reshape(each, (len(moves), -1)) for each in (jumps, edges))
    elsewhere = np.broadcast_to(np.nanmean(np.where(on_edge, np.nan, found), axis=0), found.shape)
    return float(found[on_edge].mean()), float(elsewhere[on_edge].mean())


@pytest.mark.parametrize("site", SITES)
def test_a_scene_mapped_by_a_model_of_other_sites(real_sample, tmp_path, site, record_property):
    """On the scene's grid, with data where it has data, without seams, and evaluated on its reference."""
    roots = linked(real_sample, tmp_path / "others", site, other=True)
    blended = configured(roots, scenes=scene_of(real_sample, site))
    made, of_map = Project(tmp_path / "project", blended), f"results/scenes/scene/{TUNED}"
    made.where = ("--cores", "1")  # beside the drills on SLURM, where trainings race against a clock
    ratios = {}
    for overlap in (0.5, 0.0, Settings.overlap):
        made.configure(blended | {"maps": blended["maps"] | {"overlap": overlap}})
        made.run(f"results/scores/{TUNED}/areas_scene.csv", f"{of_map}/item.json")
        with (
            rasterio.open(blended["scenes"][0]["msi"]) as scene,
            rasterio.open(made.folder / of_map / "map/classes.tif") as classes,
            rasterio.open(made.folder / of_map / "map/probabilities.tif") as probabilities,
        ):
            assert (classes.crs, classes.transform, classes.shape) == (scene.crs, scene.transform, scene.shape)
            np.testing.assert_array_equal(classes.read_masks(1), scene.read_masks().min(0))
            assert set(np.unique(classes.read(1))) <= {*range(7), 255}
            ratios[overlap] = seams(probabilities.read(), overlap)
    record_property("seams", ratios)
    assert ratios[0.5] <= 1.05 or min(scene.shape) < 3 * CERRADATA.patch_size  # with fewer edges, see own_seams
    (tmp_path / "model.pt").write_bytes((made.folder / f"results/models/{TUNED}/checkpoint.pt").read_bytes())
    images = {name: blended["scenes"][0][name] for name in ("msi", "sar")}
    model = cerraseg.load(tmp_path / "model.pt", "cpu")
    alone = model.map(out=tmp_path / "map.tif", **images)
    with rasterio.open(alone) as one, rasterio.open(made.folder / of_map / "map/classes.tif") as other:
        assert np.mean(one.read(1) != other.read(1)) <= 1e-4  # ties: with other threads, sums have another order
    for overlap in (0.5, Settings.overlap):
        on_edges, elsewhere = own_seams(model, images, overlap)
        record_property(f"jump at {overlap}", f"{on_edges:.2f} on edges, {elsewhere:.2f} elsewhere")
        assert on_edges - elsewhere < 0.25  # maps have whole percents
    areas = pd.read_csv(made.folder / f"results/scores/{TUNED}/areas_scene.csv")
    assert 400 < areas["hectares"].iloc[-1] < 3000 and set(areas["basis"]) == {"reference mask"}


@pytest.mark.ci
@pytest.mark.parametrize("site", SITES)
def test_the_picture_of_a_site_is_neither_dark_nor_saturated(real_sample, tmp_path, site):
    """Also beside bright sand (282D), under snow (609U), and with the offset of 1,000 (433D)."""
    write_picture(scene_files(msi=Path(scene_of(real_sample, site)[0]["msi"])), CERRADATA, tmp_path / "i.tif", tags={})
    with rasterio.open(tmp_path / "i.tif") as file:
        colours = file.read((1, 2, 3))
    assert 55 < np.median(colours) < 160 or site.startswith("609U")
    assert (colours.max(axis=0) < 20).mean() < 0.02 and (colours == 255).mean() < 0.005


def test_a_scene_is_the_mosaic_of_its_patches(real_sample, tmp_path):
    """Sixteen abutting patches of a site that did not train, alone and in context: by either way the same map."""
    site = "Spain_7370579"
    trained = Project(tmp_path / "trained", configured(linked(real_sample, tmp_path / "others", site, other=True)))
    trained.run(model := f"results/models/{TUNED}/checkpoint.pt")
    config = configured(
        linked(real_sample, tmp_path / "own", site, other=False), scenes=scene_of(real_sample, site),
        predict={"batch_size": 4}, checkpoints={TUNED: str(trained.folder / model)},
    )  # fmt: skip
    made = Project(tmp_path / "project", config)
    layers = ("prediction", "classes"), ("confidence", "confidence")
    for (overlap, context), (mosaic, layer) in product(((0, False), (0.5, True)), layers):
        made.configure(config | {"maps": {"overlap": overlap}, "mosaic": {"context": context}})
        made.run(f"results/scenarios/{TUNED}/mosaic", f"results/scenes/scene/{TUNED}/map")
        with (
            rasterio.open(made.folder / f"results/scenarios/{TUNED}/mosaic/{mosaic}_epsg4326.tif") as patches,
            rasterio.open(made.folder / f"results/scenes/scene/{TUNED}/map/{layer}.tif") as tiles,
        ):
            # A share of n and a half percent may be rounded either way: other batches sum in another order.
            np.testing.assert_allclose(patches.read(1), tiles.read(1), rtol=0, atol=int(layer == "confidence"))
