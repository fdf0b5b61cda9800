"""The overview page: its values, that nothing of a user's becomes markup, its size, and equal bytes."""

import base64
import gzip
import json
import re
import shutil
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from bs4 import BeautifulSoup
from overview_run import HEIGHT, L1, L2, SIMULATED, WIDTH, class_map, raster, results, scored
from PIL import Image
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform
from region import IDS, REGION
from scenes import CERRADATA
from test_benchmark import PAPER_SCORES, evaluated

from cerraseg.core.errors import DataError
from cerraseg.evaluation import benchmark, bootstrap, score_files
from cerraseg.report.benchmark import tables
from cerraseg.report.map_figures import Grid
from cerraseg.report.overview.basemap import HOST, fit_tiles
from cerraseg.report.overview.figures import figure_document
from cerraseg.report.overview.maps import SIDES, View, find_views, pack_maps
from cerraseg.report.overview.names import explain, split_id
from cerraseg.report.overview.page import ASSETS, write_overview
from cerraseg.report.overview.scores import Scored, benchmark_columns, benchmark_rows, headlines, rank


@pytest.fixture(scope="module")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results(tmp_path_factory.mktemp("results"))


@pytest.fixture
def run(_template: Path, tmp_path: Path) -> Path:
    """:func:`results`, free to be spoilt."""
    return Path(shutil.copytree(_template, tmp_path / "run"))


def written(folder: Path, **changes: Any) -> BeautifulSoup:
    """The page of :func:`results`, already made in ``folder``."""
    arguments: dict[str, Any] = {"title": "A run", "source": SIMULATED, "dataset": CERRADATA}
    arguments["benchmark"] = folder / "benchmark.csv"
    arguments |= {"scenarios": scored(folder), "views": find_views(folder, {L1: "l1", L2: "l2"})}
    write_overview(folder / "overview.html", **arguments | changes)
    return BeautifulSoup((folder / "overview.html").read_bytes(), "html.parser")


def data_of(page: BeautifulSoup) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(page.find(id="data").string)
    return content


def layer(data: dict[str, Any], place: int, shape: list[int]) -> np.ndarray:
    raw = gzip.decompress(base64.b64decode(data["maps"]["texts"][place]))
    return np.flipud(np.frombuffer(raw, dtype=np.uint8).reshape(shape))


def test_the_page_holds_the_values_of_the_files(run):
    facts = {"Patches": {"train": 43}, "Configuration": "a: 1\nb: 2"}
    page = written(run, facts=facts)
    data, content = data_of(page), (run / "overview.html").read_bytes()
    assert data["benchmark"]["ids"] == [L1, L2] and data["benchmark"]["baselines"] == [None, None]
    assert f"scores/{L1}/metrics.json" in data["scenarios"][L1]["files"]
    macro = data["benchmark"]["scores"]["macro_f1"]
    assert macro["value"][0] == pytest.approx(45.24, abs=0.02) and macro["low"][0] < 45 < macro["high"][0]
    history = data["scenarios"][L1]["history"]
    assert history["columns"]["val_macro_f1"] == [25, 50, 40] and history["columns"]["val_loss"] == [2.25, 1.75, None]
    assert history["selected"] == [2] and data["scenarios"][L2]["history"] is None
    matrix = score_files.read_confusion(run / "scores" / L1 / "confusion.csv")
    assert data["scenarios"][L1]["confusion"] == matrix.tolist()
    f1, iou = bootstrap.class_intervals(score_files.read_units(run / "scores" / L1 / "patches.npz")[1])
    for score, ends in {"f1": f1, "iou": iou}.items():
        for row, pair in zip(data["scenarios"][L1]["classes"], ends.T, strict=True):
            assert row[f"{score}_interval"] == pytest.approx(100 * pair, abs=0.0051)
    assert "No pixel-wise baseline was run" in page.text and bootstrap.note("patches", 24) in page.text
    assert "43" in page.text and "a: 1\nb: 2" in page.text
    assert page.text.count(SIMULATED) >= 10
    assert len(content) < 1_700_000
    written(run, facts=facts)
    assert content == (run / "overview.html").read_bytes()


def test_the_baseline_is_a_line_across_the_bars_of_its_bands_and_level(run):
    table = pd.read_csv(run / "benchmark.csv")
    assert benchmark_columns(table, {"concat": "", "sar": ""})["scores"]["macro_f1"]["baseline"] == [None, None]
    table.loc[0, ["model", "recipe"]] = benchmark.BASELINE
    again = pd.concat([table, table[:1].assign(model="unet", macro_f1=99.0)])
    found = benchmark_columns(again, {"concat": "", "sar": ""})["scores"]["macro_f1"]
    assert found["baseline"] == [found["value"][0], None, found["value"][0]] and found["value"][2] == 99


def test_the_headline_is_the_best_scenario_of_each_level_beside_its_baseline(run):
    table = pd.read_csv(run / "benchmark.csv")
    best, further = headlines(table)
    assert (best["id"], best["apart"], best["above"], len(best["bars"])) == (L1, None, False, 1) and further["id"] == L2
    page = written(run)
    assert data_of(page)["first"] == L1
    assert f"Best of 2 scenarios · {SIMULATED}" in page.find(id="best").text
    assert "No pixel-wise baseline was run beside it" in page.find(id="best").text
    for low, verdict in ((1.5, "+5.0 points [1.5, 9.0] above"), (-1, "not shown to be above")):
        ends = {"baseline_difference": 5.0, "baseline_difference_low": low, "baseline_difference_high": 9.0}
        simple = table[:1].assign(id="simple", macro_f1=table["macro_f1"][0] - 5, model="pixel", recipe="baseline")
        rows = pd.concat([simple, table.assign(**ends)], ignore_index=True)
        best, further = headlines(rows)
        assert (best["id"], best["apart"], best["above"]) == (L1, 5, low > 0)
        assert [(bar["name"], bar["id"]) for bar in best["bars"]] == [("best", L1), ("pixel-wise baseline", "simple")]
        assert len(further["bars"]) == 1  # of other bands and level
        rows[1:].to_csv(run / "benchmark.csv", index=False)
        assert verdict in " ".join(written(run).find(id="best").text.split())
    (only,) = headlines(simple)
    assert only["id"] == "simple" and len(only["bars"]) == 1


def test_scenarios_are_sorted_within_their_level():
    rows = [("a", "l1", 1.0), ("b", "l1", 9.0), ("c", "l2", 2.0), ("d", "l1", 9.0)]
    ranked = rank(pd.DataFrame(rows, columns=["id", "level", "macro_f1"]))
    assert ranked["id"].tolist() == ["b", "d", "a", "c"] and ranked["macro_f1"].tolist() == [9, 9, 1, 2]


def test_the_parts_of_ids_are_explained(run):
    table = pd.read_csv(run / "benchmark.csv")
    meanings = explain(table.assign(recipe=["tuned", "mine"]), CERRADATA)
    assert list(meanings) == ["model", "modality", "weighting", "level", "recipe", "seed"]
    assert meanings["modality"] == {"concat": "Sentinel-2 and Sentinel-1", "sar": "Sentinel-1"}
    assert meanings["level"] == {"l1": "legend of 7 classes", "l2": "legend of 14 classes"}
    assert meanings["weighting"]["nw"] == "class weighting: none" and "configuration" in meanings["recipe"]["mine"]
    meanings = explain(table, CERRADATA)
    first, second = (split_id(row, meanings) for _, row in table.assign(id=[L1, "other"]).iterrows())
    assert "-".join(part for part, _ in first) == L1 and second == [("other", "")]
    page = written(run)
    assert page.find("abbr", string="sar")["title"] == "Sentinel-1"
    assert "unet U-Net" in " ".join(page.find(class_="meanings").text.split())


def test_tiles_of_the_basemap_lie_where_they_belong():
    grid = Grid((11000, 11000), CRS.from_epsg(32722), (600000.0, 8200000.0, 710000.0, 8310000.0))
    fitted = fit_tiles(grid)
    for east, north in ((600000, 8200000), (655000, 8255000), (710000, 8300000)):
        (longitude,), (latitude,) = transform(grid.crs, "EPSG:4326", [east], [north])
        wanted = (180 + longitude) / 360, 0.5 - np.arctanh(np.sin(np.radians(latitude))) / (2 * np.pi)
        for given, found, precision in (((east, north), wanted, 2e-7), (wanted, (east, north), 8.0)):
            fit = fitted["there" if precision < 1 else "back"]
            u, v = (np.array(given) - fit["centre"]) / fit["half"]
            assert np.array(fit["weights"]) @ [1, u, v, u * u, u * v, v * v] == pytest.approx(found, abs=precision)


def test_scores_that_do_not_beat_the_baseline_are_marked(run):
    table = pd.read_csv(run / "benchmark.csv")
    table[["baseline_difference", "baseline_difference_low", "baseline_difference_high"]] = [[5, 1, 9], [2, -1, 5]]
    headings, rows = benchmark_rows(table)
    place = headings.index("Above baseline") - 1
    assert [cells[place] for _, cells in rows] == [("+5.00", "[1.0, 9.0] "), ("+2.00", "[-1.0, 5.0] †")]
    table.to_csv(run / "benchmark.csv", index=False)
    assert "†, 1 of 2: it does not lie above 0" in written(run).text


def test_maps_are_unpacked_as_they_were(run):
    data = data_of(written(run))
    first, second = data["maps"]["views"]
    assert data["maps"]["side"] == SIDES[0]
    assert (first["scenario"], first["place"], first["level"]) == (L1, "mosaic epsg32722", "l1")
    assert first["extent"] == [6e5, 8e6 - 400, 6e5 + 600, 8e6] and first["stretch"] == 1
    assert first["axes"] == ["easting (metre)", "northing (metre)"] and first["decimals"] == 0
    assert first["metres"] == pytest.approx(1, abs=1e-3)
    assert np.array_equal(layer(data, first["classes"], first["shape"]), class_map(7, 0))
    assert np.array_equal(layer(data, first["truth"], first["shape"]), class_map(7, 9))
    steps, classes = layer(data, first["confidence"], first["shape"]), class_map(7, 0)
    assert (steps[classes == 3] == 10).all() and (steps[classes == 2] == 10).all()  # 52 % and 48 % in steps of 5 %
    assert (steps[classes == 255] == 255).all()
    assert first["files"]["classes"] == f"scenarios/{L1}/mosaic/prediction_epsg32722.tif"
    assert [row["adjusted_low"] for row in first["areas"]] == [1.2, None, None]
    kind, _, content = data["maps"]["texts"][first["image"]["text"]].partition(",")
    assert kind == "data:image/webp;base64" and first["image"]["extent"] == first["extent"]
    with Image.open(BytesIO(base64.b64decode(content))) as picture:
        assert picture.size == (WIDTH // 2, HEIGHT // 2) and picture.getpixel((2, 2))[3] == 0
        assert np.allclose(picture.getpixel((10, 10)), [90, 120, 60, 255], atol=3)
    assert second["truth"] is None and second["areas"] is None
    assert second["image"] == first["image"]  # held once


def test_degrees_are_drawn_with_the_grounds_aspect(run):
    degrees = {"crs": "EPSG:4326", "pixel": 1e-4}
    classes = raster(run / "d.tif", class_map(), **degrees)
    view = View("scene", L1, "l1", classes, raster(run / "c.tif", class_map(), **degrees))
    entry = data_of(written(run, views=[view]))["maps"]["views"][0]
    assert entry["axes"] == ["longitude (degree)", "latitude (degree)"]
    assert entry["stretch"] == pytest.approx(np.cos(np.radians(6.002)))
    assert entry["decimals"] == 5 and entry["image"] is None


@pytest.mark.parametrize(("budget", "side"), [(4_000_000, 1024), (1_000_000, 512), (1000, 256)])
def test_many_views_are_reduced_for_the_budget(tmp_path, budget, side):
    random = np.random.default_rng(1)
    files = [raster(tmp_path / f"{k}.tif", random.integers(0, 7, (900, 700), dtype=np.uint8)) for k in range(4)]
    packed = pack_maps([View("scene", L1, "l1", file, file) for file in files], tmp_path, CERRADATA, budget)
    assert packed["side"] == side and max(packed["views"][0]["shape"]) == min(900, side)
    assert sum(map(len, packed["texts"])) <= budget or side == SIDES[-1]
    assert packed["views"][0]["full"] == (900, 700)


def test_nothing_is_loaded_from_outside_and_controls_have_labels(run):
    page = written(run)
    assert not page.find_all(src=True)
    assert {tag["href"] for tag in page.find_all(href=re.compile("^[^#]"))} == {"./benchmark.csv"}
    assert not page.find_all(["link", "iframe", "object", "embed", "base", "img"])
    assert not re.search(r"https?:|@import|url\(", "".join(path.read_text() for path in ASSETS.iterdir()))
    policy = page.find("meta", attrs={"http-equiv": True})["content"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert re.findall(r"[^;]*http[^;]*", policy) == [f" img-src data: {HOST}"]  # of the basemap alone
    levels = [int(tag.name[1]) for tag in page.find_all(re.compile(r"^h\d$"))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert {tag["for"] for tag in page.find_all("label")} == {tag["id"] for tag in page.find_all(["select", "input"])}
    assert page.html["lang"] == "en"
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(ids) == len(set(ids)) and set(figure_document()["roots"].values()) <= set(ids)


EVIL = "</script><b onclick=alert(1)>&amp;\"'$title"


def test_texts_of_users_never_become_markup(tmp_path):
    folder = results(tmp_path, EVIL)
    table = pd.read_csv(folder / "benchmark.csv")
    table.loc[0, "id"] = EVIL
    table.to_csv(folder / "benchmark.csv", index=False)
    files = scored(folder)
    views = [replace(view, place=EVIL, scenario=EVIL) for view in find_views(folder, {L1: "l1"})]
    evil = {"title": EVIL, "source": EVIL, "areas_note": EVIL, "facts": {EVIL: {EVIL: [EVIL, f"{EVIL}\n{EVIL}"]}}}
    page = written(folder, scenarios={EVIL: files[L1], L2: files[L2]}, views=views, **evil)
    assert not page.find_all("b") and not page.find_all(onclick=True) and len(page.find_all("script")) == 4
    data = data_of(page)
    assert data["source"] == data["benchmark"]["ids"][0] == data["maps"]["views"][0]["place"] == EVIL
    assert page.text.count(EVIL) > 10


def test_papers_values_stand_beside_comparable_runs_only(run, tmp_path):
    apart = written(run, views=[])
    assert data_of(apart)["maps"]["views"] == [] and "This run has no maps." in apart.text
    assert "paper" not in data_of(apart)["benchmark"]["scores"]["macro_f1"] and "CerraData" not in apart.text
    beside = written(results(tmp_path, "CerraData-4MM", comparable=True), source="CerraData-4MM")
    scores = data_of(beside)["benchmark"]["scores"]
    assert scores["macro_f1"]["paper"] == [45.24, 10.45] and "paper" not in scores["accuracy"]
    assert "Paper's Macro F1" in beside.text and "paper45.2" in beside.find(id="best").text.replace("\n", "")
    assert "paper (CerraData-4MM)" in beside.text


def test_maps_of_scenes_are_found_with_what_lies_beside(run):
    scene = run / "scenes" / "north"
    for name in ("classes", "confidence"):
        raster(scene / L2 / "map" / f"{name}.tif", class_map(14))
    raster(scene / "truth" / "l2" / "truth.tif", class_map(14))
    view, *_ = views = find_views(run, {L1: "l1", L2: "l2"}, ["north", "south"])
    assert len(views) == 3 and (view.place, view.scenario) == ("north", L2)
    assert view.truth == scene / "truth" / "l2" / "truth.tif" and view.image is view.areas is None


def turn(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        file.transform = Affine(10, 1, 6e5, 0, -10, 8e6)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f, t: t.write_text("no"), "truth_epsg32722.tif cannot be read"),
        (lambda f, t: raster(t, class_map(), pixel=20.0), "expected one grid"),
        (lambda f, t: raster(t, class_map().astype(np.int16)), "holds int16; expected uint8"),
        (lambda f, t: turn(t), "north-up"),
    ],
)
def test_bad_files_are_named(run, spoil, message):
    spoil(run, run / "truth" / "l1" / "truth_epsg32722.tif")
    with pytest.raises(DataError, match=message):
        written(run)
    assert not (run / "overview.html").exists()


def test_classes_of_a_map_are_places_in_the_legend(tmp_path):
    """The page's script looks classes up by place."""
    name = "unet-dem-nw-l3-paper-1"
    counts = np.random.default_rng(3).integers(1, 9, (6, 5, 5))
    file = evaluated(tmp_path / "scores", name, SIMULATED, counts, dataset=REGION)
    table = benchmark.collect([file], PAPER_SCORES, REGION, comparable=False)
    tables.write_csv(table, tmp_path / "benchmark.csv")
    places = class_map(5)
    classes = raster(tmp_path / "classes.tif", np.append(IDS, [255] * 251).astype(np.uint8)[places])
    view = View("scene", name, "l3", classes, raster(tmp_path / "c.tif", places), truth=classes)
    page = written(tmp_path, dataset=REGION, scenarios={name: Scored(file.parent)}, views=[view])
    data = data_of(page)
    assert [entry["name"] for entry in data["levels"]["l3"]] == ["Woodland", "Grassland", "Soy", "Maize", "Water"]
    (packed,) = data["maps"]["views"]
    for key in ("classes", "truth"):
        assert np.array_equal(layer(data, packed[key], packed["shape"]), places)
    assert data["scenarios"][name]["confusion"] == counts.sum(axis=0).tolist()
    assert data["benchmark"]["colours"] == ["#CC79A7"] and list(data["benchmark"]["scores"])[-1] == "miou_as_l2"
