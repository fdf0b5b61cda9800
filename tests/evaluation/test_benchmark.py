"""The benchmark table: order, values, and the paper's scores beside comparable runs only."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from region import REGION
from scenes import CERRADATA

from cerraseg.config.scenario import known_names, parse
from cerraseg.core.errors import DataError
from cerraseg.evaluation import benchmark, bootstrap, calibration, metrics, score_files

REFERENCE = Path(__file__).parents[2] / "reference"
PAPER_SCORES = REFERENCE / "paper_scores.csv"
IDS = [
    "unet-sar-nw-l2-paper-1",
    "unet-concat-w-l1-tuned-1",
    "unet-concat-w-l1-paper-10",
    "unet-concat-w-l1-paper-9",
    "unet-msi-nw-l1-paper-1",
]
PAPER_F1, PAPER_MIOU = "paper_macro_f1 (CerraData-4MM)", "paper_miou (CerraData-4MM)"
PATCHES = 24
PARENTS = CERRADATA.ancestors("l2")["l1"]


def in_patches(matrix: np.ndarray, seed: int = 0) -> np.ndarray:
    """Counts of a confusion matrix, spread unevenly over patches."""
    random = np.random.default_rng(seed)
    counts = random.multinomial(matrix.ravel(), random.dirichlet(np.ones(PATCHES), matrix.size))
    return counts.T.reshape(PATCHES, *matrix.shape)


def published(name: str) -> np.ndarray:
    return score_files.read_confusion(REFERENCE / "confusion_matrices" / f"{name}.csv")


def evaluated(folder, name, source, counts=None, ids=None, dataset=CERRADATA, groups=None, **info):
    """Metrics of scenario ``name`` with ``counts``, else with those published for U-Net, concat, weighted."""
    scenario = parse(name, known_names(REGION, ["pixel"], ["mine", "w", "baseline"]))
    counts = in_patches(published(f"unet_concat_w_{scenario.level}")) if counts is None else counts
    ids = [f"{patch:02}" for patch in range(len(counts))] if ids is None else ids
    fields = {"scenario": {"id": name, **vars(scenario)}, "source": source, "patches": 3028}
    fields["calibration"] = calibrated(dataset.classes(scenario.level))
    score_files.write_scores(folder / name, counts, ids, dataset.classes(scenario.level), {**fields, **info}, groups)
    return folder / name / "metrics.json"


def calibrated(classes) -> dict[str, object]:
    """Measures of a pixel of each class with 80 % for it, after calibration 90 %."""
    count = len(classes)
    stages = [np.full((1, count, 1, count), (1 - p) / (count - 1), np.float32) for p in (0.8, 0.9)]
    truth = np.arange(count, dtype=np.uint8).reshape(1, 1, count)
    for shares, p in zip(stages, (0.8, 0.9), strict=True):
        shares[0, range(count), 0, range(count)] = p
    found = calibration.tally(stages, truth, [truth, truth], [0.5] * count)
    return calibration.measures(found | {"method": np.array(["vector"]), "temperature": np.array([2.0])}, classes)


def collected(folder: Path, source: str, comparable: bool, **info: object) -> pd.DataFrame:
    files = [evaluated(folder, name, source, **info) for name in IDS]
    return benchmark.collect(files, PAPER_SCORES, CERRADATA, comparable=comparable)


def test_rows_are_sorted_and_hold_percentages(tmp_path):
    table = collected(tmp_path, "simulated landscape", False, training={"epochs": 7})
    assert list(table["id"]) == [
        "unet-msi-nw-l1-paper-1",
        "unet-concat-w-l1-paper-9",
        "unet-concat-w-l1-paper-10",
        "unet-concat-w-l1-tuned-1",
        "unet-sar-nw-l2-paper-1",
    ]
    row = table.iloc[1]
    assert row["macro_f1"] == pytest.approx(45.24, abs=0.02)
    assert row["miou"] == pytest.approx(34.83, abs=0.02)
    assert row["macro_f1"] == round(row["macro_f1"], 2)
    expected = bootstrap.score_intervals(in_patches(published("unet_concat_w_l1")))
    for score in ("macro_f1", "miou"):
        ends = 100 * np.array(expected[score])
        assert (row[f"{score}_low"], row[f"{score}_high"]) == pytest.approx(ends, abs=0.0051)
    assert (row["modality"], row["seed"], row["patches"], row["epochs"]) == ("concat", 9, 3028, 7)
    assert not table["comparable"].any()  # the paper's scores are shown, but never a difference to other data
    assert list(table[PAPER_MIOU]) == [31.74, 34.83, 34.83, 34.83, 8.26]
    assert table[["macro_f1_difference", "miou_difference"]].isna().all(axis=None)


def test_recipes_come_in_the_order_of_the_files(tmp_path):
    recipes = ["tuned", "w", "mine", "paper"]
    names = [f"unet-{modality}-nw-l1-{recipe}-1" for recipe in recipes for modality in ("sar", "msi")]
    files = [evaluated(tmp_path, name, "x") for name in names]
    table = benchmark.collect(files, PAPER_SCORES, CERRADATA, comparable=False)
    assert list(table["recipe"]) == recipes * 2
    assert list(table["modality"]) == ["msi"] * 4 + ["sar"] * 4


def test_edges_are_shown_where_there_are_any(tmp_path):
    assert "edge_f1_0" not in collected(tmp_path / "none", "x", False)
    edges = {str(pixels): {"precision": 0.1, "recall": 0.9, "f1": 0.30001 + pixels / 10} for pixels in range(3)}
    files = [evaluated(tmp_path, IDS[0], "x"), evaluated(tmp_path, IDS[1], "x", edges=edges)]
    table = benchmark.collect(files, PAPER_SCORES, CERRADATA, comparable=False).set_index("id")
    assert table["epochs"].isna().all()  # of checkpoints that were not trained here
    columns = ["edge_f1_0", "edge_f1_1", "edge_f1_2"]
    assert benchmark.further_scores(table)[:3] == columns
    assert table.loc[IDS[1], columns].tolist() == [30.0, 40.0, 50.0]
    assert table.loc[IDS[0], columns].isna().all()


def test_rolling_up_equals_counting_rolled_masks(tmp_path):
    random = np.random.default_rng(5)
    truth, prediction = (random.integers(0, 14, (6, 32, 32), dtype=np.uint8) for _ in range(2))
    truth[random.random(truth.shape) < 0.1] = 255
    parents = np.full(256, 255, dtype=np.uint8)
    parents[:14] = PARENTS
    counts = metrics.patch_confusions(truth, prediction, 14)
    recounted = metrics.patch_confusions(parents[truth], parents[prediction], 7)
    assert np.array_equal(benchmark.roll_up(counts, PARENTS, 7), recounted)
    files = [evaluated(tmp_path, IDS[0], "x", counts), evaluated(tmp_path, IDS[1], "x")]
    table = benchmark.collect(files, PAPER_SCORES, CERRADATA, comparable=False).set_index("id")
    scores = metrics.compute_scores(recounted.sum(axis=0, dtype=np.int64))
    assert table.loc[IDS[0], "macro_f1_as_l1"] == round(100 * scores.macro_f1, 2)
    assert table.loc[IDS[0], "miou_as_l1"] == round(100 * scores.miou, 2)
    assert table.loc[IDS[1], ["macro_f1_as_l1", "miou_as_l1"]].isna().all()
    assert not benchmark.further_scores(benchmark.collect(files[1:], PAPER_SCORES, CERRADATA, comparable=False))


def test_the_five_published_matrices_give_the_papers_rows(tmp_path):
    names = sorted(path.stem for path in (REFERENCE / "confusion_matrices").glob("*.csv"))
    ids = {name: f"{name.replace('_', '-')}-paper-1" for name in names}
    files = [evaluated(tmp_path, ids[name], "CerraData-4MM", in_patches(published(name))) for name in names]
    table = benchmark.collect(files, PAPER_SCORES, CERRADATA, comparable=True)
    assert len(table) == 5 and table[[PAPER_F1, PAPER_MIOU]].notna().all(axis=None)
    for score, column in (("macro_f1", PAPER_F1), ("miou", PAPER_MIOU)):
        assert table[score].to_numpy() == pytest.approx(table[column].to_numpy(), abs=0.02)
        assert table[f"{score}_difference"].abs().max() <= 0.02


def test_each_scenario_is_compared_with_the_baseline_of_its_bands_and_level(tmp_path):
    """By paired draws of the split's groups; baselines come first, and others than the first are compared, too."""
    unet, transnuseg = (in_patches(published(f"{model}_concat_w_l1")) for model in ("unet", "transnuseg"))
    groups = [f"block {patch % 8}" for patch in range(PATCHES)]
    of = {
        "unet-msi-nw-l1-paper-1": transnuseg,
        "unet-concat-nw-l1-paper-1": unet,
        "pixel-concat-nw-l1-baseline-2": unet,
        "pixel-concat-nw-l1-baseline-1": transnuseg,
        "unet-concat-nw-l1-mine-1": transnuseg,
    }
    files = [evaluated(tmp_path, name, "x", counts, groups=groups) for name, counts in of.items()]
    table = benchmark.collect(files, PAPER_SCORES, CERRADATA, comparable=False).set_index("id")
    order = [3, 2, 0, 1, 4]
    assert table.index.tolist() == [list(of)[place] for place in order]
    assert (table["drawn"] == "groups").all() and (table["units"] == 8).all()
    unit = [bootstrap.by_group(counts, groups) for counts in (unet, transnuseg)]
    (expected,) = bootstrap.compare_all({"a": [unit[0]], "b": [unit[1]]}, [("a", "b")])
    columns = [benchmark.ABOVE_BASELINE + end for end in ("", "_low", "_high")]
    for name in ("unet-concat-nw-l1-paper-1", "pixel-concat-nw-l1-baseline-2"):
        assert table.loc[name, columns].tolist() == pytest.approx([100 * each for each in expected[:3]], abs=0.0051)
    assert table.loc["unet-concat-nw-l1-mine-1", columns].tolist() == [0, 0, 0]
    assert table.loc[["pixel-concat-nw-l1-baseline-1", "unet-msi-nw-l1-paper-1"], columns].isna().all(axis=None)
    marked = benchmark.not_above_baseline(table)
    assert marked.tolist() == [False, expected.low <= 0, False, expected.low <= 0, True]
    assert f", {marked.sum()} of 3: it does not lie above 0" in benchmark.beside_baseline(table)
    alone = benchmark.collect(files[:2], PAPER_SCORES, CERRADATA, comparable=False)
    assert benchmark.ABOVE_BASELINE not in alone and "No pixel-wise baseline" in benchmark.beside_baseline(alone)


def test_classes_are_listed_by_scenario(tmp_path):
    files = [evaluated(tmp_path, name, "x") for name in IDS[:2]]
    classes = benchmark.per_class(files, CERRADATA)
    assert list(classes["id"]) == [IDS[1]] * 7 + [IDS[0]] * 14
    matrix = published("unet_concat_w_l1")
    water = classes.iloc[5]
    assert (water["level"], water["abbreviation"], water["name"], water["source"]) == ("l1", "Wt", "Water body", "x")
    assert water["support"] == matrix[5].sum()
    assert water["recall"] == pytest.approx(100 * matrix[5, 5] / matrix[5].sum(), abs=0.005)
    assert water["precision"] == pytest.approx(100 * matrix[5, 5] / matrix[:, 5].sum(), abs=0.005)
    expected = 100 * matrix[5, 5] / (matrix[5].sum() + matrix[:, 5].sum() - matrix[5, 5])
    assert water["iou"] == pytest.approx(expected, abs=0.005)
    assert classes["f1"][:7].mean() == pytest.approx(45.24, abs=0.02)


def test_pairs_are_compared_level_by_level(tmp_path):
    pairs = benchmark.pairs([evaluated(tmp_path, name, "x") for name in IDS[1:] + IDS[:1]], CERRADATA)
    assert pairs["level"].value_counts().to_dict() == {"l1": 3, "as_l1": 3}
    assert (pairs["source"] == "x").all()
    rolled = pairs[pairs["level"] == "as_l1"]
    assert {frozenset(("-l1-" in name) for name in row) for row in rolled[["first", "second"]].to_numpy()} == {
        frozenset((True, False))
    }
    same = pairs[pairs["level"] == "l1"]  # all have the same predictions
    assert (same[["difference", "low", "high"]] == 0).all(axis=None) and (same["p"] == 1).all()
    assert pairs["p_holm"].to_numpy() == pytest.approx(bootstrap.holm(pairs["p"]))


def test_patches_are_paired_by_id_whatever_their_order(tmp_path):
    counts = [in_patches(published(f"{model}_concat_w_l1")) for model in ("unet", "transnuseg")]
    ids, order = [str(patch) for patch in range(PATCHES)], np.random.default_rng(1).permutation(PATCHES)
    first = evaluated(tmp_path, "unet-msi-w-l1-paper-1", "x", counts[0], ids)
    second = evaluated(tmp_path / "a", "unet-sar-w-l1-paper-1", "x", counts[1], ids)
    turned = evaluated(tmp_path / "b", "unet-sar-w-l1-paper-1", "x", counts[1][order], [ids[place] for place in order])
    assert benchmark.pairs([first, turned], CERRADATA).equals(benchmark.pairs([first, second], CERRADATA))
    other = evaluated(tmp_path / "c", "unet-sar-w-l1-paper-1", "x", counts[1], [*ids[1:], "other"])
    assert benchmark.pairs([first, other], CERRADATA).empty


def test_seeds_are_one_entrant(tmp_path):
    matrix, other = published("unet_concat_w_l1"), published("transnuseg_concat_w_l1")
    counts = [in_patches(matrix), in_patches(matrix + 10**5), in_patches(other)]
    names = ["unet-msi-w-l1-paper-1", "unet-msi-w-l1-paper-2", "transnuseg-msi-w-l1-released-0"]
    files = [evaluated(tmp_path, name, "x", each) for name, each in zip(names, counts, strict=True)]
    (pair,) = benchmark.pairs(files, CERRADATA).itertuples()
    assert (pair.first, pair.second, pair.level) == ("transnuseg-msi-w-l1-released-0", "unet-msi-w-l1-paper", "l1")
    scores = [100 * metrics.compute_scores(each.sum(axis=0)).macro_f1 for each in counts]
    assert pair.difference == pytest.approx(scores[2] - (scores[0] + scores[1]) / 2, abs=0.0051)
    (expected,) = bootstrap.compare_all({"a": counts[2:], "b": counts[:2]}, [("a", "b")])
    assert (pair.low, pair.high) == pytest.approx((100 * expected.low, 100 * expected.high), abs=0.0051)
    assert pair.p == pytest.approx(expected.p, abs=1e-6) and pair.draws == 1000


def test_unusable_collections_are_refused(tmp_path):
    file = evaluated(tmp_path / "a", IDS[0], "simulated landscape")
    other = evaluated(tmp_path / "b", IDS[1], "CerraData-4MM")
    with pytest.raises(DataError, match="comes twice"):
        benchmark.collect([file, file], PAPER_SCORES, CERRADATA, comparable=False)
    with pytest.raises(DataError, match="data sources are"):
        benchmark.collect([file, other], PAPER_SCORES, CERRADATA, comparable=False)
    with pytest.raises(DataError, match="'simulated landscape'; expected CerraData-4MM"):
        benchmark.collect([file], PAPER_SCORES, CERRADATA, comparable=True)


def of_region(folder):
    """Metrics of a scenario of each of three linked levels, by level, and the masks that they count."""
    random = np.random.default_rng(8)
    masks = random.integers(0, 5, (2, PATCHES, 8, 8), dtype=np.uint8)
    masks[1] = np.where(random.random(masks[0].shape) < 0.6, masks[0], masks[1])
    files, ancestors = {}, {"l3": range(5), **REGION.ancestors("l3")}
    for level in ("l3", "l2", "l1"):
        truth, prediction = np.array(ancestors[level], np.uint8)[masks]
        counts = metrics.patch_confusions(truth, prediction, len(REGION.classes(level)))
        modality = {"l1": "msi+dem", "l2": "concat", "l3": "dem"}[level]
        files[level] = evaluated(folder, f"unet-{modality}-nw-{level}-paper-1", "x", counts, dataset=REGION)
    return files


def test_three_linked_levels_are_scored_as_each_coarser_one(tmp_path):
    files = of_region(tmp_path)
    table = benchmark.collect(list(files.values()), PAPER_SCORES, REGION, comparable=False).set_index("level")
    assert list(table.index) == ["l1", "l2", "l3"]
    columns = ["macro_f1_as_l1", "macro_f1_as_l2", "miou_as_l1", "miou_as_l2"]
    assert sorted(benchmark.further_scores(table)) == columns
    assert table.loc["l3", columns].tolist() == [
        table[score][level] for score in ("macro_f1", "miou") for level in ("l1", "l2")
    ]
    assert table.loc["l2", "macro_f1_as_l1"] == table.loc["l1", "macro_f1"] and np.isnan(table.loc["l2", "miou_as_l2"])
    assert table.loc["l1", columns].isna().all()
    assert table[[PAPER_F1, PAPER_MIOU]].isna().all(axis=None)  # the paper tells nothing of other data
    pairs = benchmark.pairs(list(files.values()), REGION)
    assert set(pairs[["level", "first", "second"]].itertuples(index=False, name=None)) == {
        ("as_l1", "unet-msi+dem-nw-l1-paper-1", "unet-concat-nw-l2-paper-1"),
        ("as_l1", "unet-msi+dem-nw-l1-paper-1", "unet-dem-nw-l3-paper-1"),
        ("as_l2", "unet-concat-nw-l2-paper-1", "unet-dem-nw-l3-paper-1"),
    }
    assert (pairs["difference"] == 0).all()


def test_modalities_and_levels_come_in_the_order_of_the_dataset(tmp_path):
    random = np.random.default_rng(2)
    names = [f"unet-{modality}-nw-l3-paper-1" for modality in ("msi+dem", "concat", "dem", "sar", "msi")]
    counts = random.integers(1, 9, (PATCHES, 5, 5))
    files = [evaluated(tmp_path, name, "x", counts, dataset=REGION) for name in names]
    table = benchmark.collect(files, PAPER_SCORES, REGION, comparable=False)
    assert table["modality"].tolist() == ["msi", "sar", "dem", "msi+dem", "concat"]
