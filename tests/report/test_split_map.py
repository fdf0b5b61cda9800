"""The map shows each patch in the colour of its part, area by area, and says what it leaves out."""

import numpy as np
import pandas as pd
from layouts import SHARES, grid, scattered, written
from PIL import Image
from scenes import CERRADATA

from cerraseg.data.splits.assign import write_split
from cerraseg.report import split_map

LABELS = {"title": "Split: blocks", "source": "simulated landscape"}


def drawn(folder, table, split, **options):
    split.to_csv(folder / "split.csv", index=False)
    for name in ("a.svg", "a.png"):
        split_map.draw_split_map(written(table, folder), folder / "split.csv", folder / name, **LABELS, **options)
    return (folder / "a.svg").read_text()


def test_parts_areas_and_blocks(tmp_path):
    table = scattered(3)
    settings = {"scheme": "blocks", "shares": SHARES, "seed": 1, "validation_seed": 2, "block_km": 3.0}
    write_split(written(table, tmp_path), tmp_path / "split.csv", CERRADATA, **settings, buffer_km=1.0, tolerance=0.15)
    split = pd.read_csv(tmp_path / "split.csv", dtype=str)
    text = drawn(tmp_path, table, split, block_km=3.0)
    for part, count in split["split"].value_counts().items():
        assert f"{part}: {count:,} patches" in text
    assert ">Data: simulated landscape<" in text and " km<" in text
    without = drawn(tmp_path, table, split)
    assert text.count("<path") - without.count("<path") >= split["group"].nunique() / 2


def test_the_picture_has_the_colours_of_the_parts_at_their_places(tmp_path):
    table = grid("EPSG:32723", 8, 8)
    split = pd.DataFrame({"id": table["id"], "split": np.repeat(["train", "test"], 32)})
    drawn(tmp_path, table, split)
    with Image.open(tmp_path / "a.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    train, test = (np.argwhere(abs(pixels - colour).max(axis=2) < 12)[:, 0] for colour in ((0, 114, 178), (213, 94, 0)))
    assert min(len(train), len(test)) > 5000
    assert np.median(train) < np.median(test)  # north is up


def test_folds_have_colours_of_their_own(tmp_path):
    table = grid("EPSG:4326", 4, 5)
    folds = pd.DataFrame({"id": table["id"], "split": "test", "group": "g", "fold": np.arange(20) % 10 + 1})
    text = drawn(tmp_path, table, folds)
    assert all(f"fold {fold}: 2 patches" in text for fold in range(1, 11))
    assert len({split_map._fold_colour(rank) for rank in range(14)}) == 14


def test_what_is_left_out_is_said(tmp_path):
    parts = [grid("EPSG:4326", 1, 3 if k else 2, first=100 * (k + 1), east=40 * k) for k in range(8)]
    table = pd.concat(parts, ignore_index=True)
    text = drawn(tmp_path, table, pd.DataFrame({"id": table["id"], "split": "train"}))
    assert "the 6 largest of 8 areas; 5 patches of the others are not shown" in text
