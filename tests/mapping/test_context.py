"""Patches predicted in the context of their neighbours: as a scene where they meet, as alone where they do not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from placed import read, table
from scenes import CERRADATA, TRAINED, pixels, scene_files, seams, write_model, write_raster

from cerraseg.data.packed import Header, Store
from cerraseg.mapping import context
from cerraseg.mapping.context import LAYERS, predict_in_context
from cerraseg.mapping.map_files import MapRows
from cerraseg.mapping.map_scene import Settings, map_scene
from cerraseg.mapping.predict import predict

SIDE, BANDS = 128, CERRADATA.bands("msi")


@pytest.fixture
def model_file(tmp_path):
    return write_model(tmp_path / "model.pt", "msi", "l1")


def cut(ground, corners):
    """A store of patches (bands, H, W) of the ground that start at these corners."""
    images = np.stack([ground[:, top : top + SIDE, left : left + SIDE] for top, left in corners])
    masks = np.zeros((len(images), 2, SIDE, SIDE), np.uint8)
    return Store(images, masks, Header(len(images), BANDS, ("l1", "edge_l1"), "ids", "pixels"))


def alone(model_file, store, folder):
    paths = {name: folder / f"alone_{name}.npy" for name in (*LAYERS, "edges")}
    predict(model_file, store, np.arange(len(store.images)), *paths.values())
    return {name: np.load(paths[name]) for name in LAYERS}


def same(found, expected):
    """But for ties, which may turn by rounding."""
    assert (found["prediction"] != expected["prediction"]).mean() < 1e-4
    assert np.abs(found["confidence"].astype(int) - expected["confidence"]).max() <= 1


def laid(found, corners, name):
    shape = np.max(corners, axis=0) + SIDE
    canvas = np.full(shape, 255, np.uint8)
    for (top, left), tile in zip(corners, found[name], strict=True):
        canvas[top : top + SIDE, left : left + SIDE] = tile
    return canvas


GRID = [(SIDE * row, SIDE * column) for row in range(3) for column in range(2)]


@pytest.mark.parametrize("region", [SIDE, 1024])
def test_patches_that_fill_a_rectangle_are_the_map_of_a_scene(model_file, tmp_path, monkeypatch, region):
    """In any order, whatever is predicted together; without the seams of patches that are predicted alone."""
    monkeypatch.setattr(context, "_REGION", region)
    ground = pixels("msi", 3 * SIDE, 2 * SIDE)
    ground[:, 100:140, 50:150] = np.nan
    scene = scene_files(msi=write_raster(tmp_path / "msi.tif", ground, BANDS, nodata=np.nan))
    map_scene(
        model_file, scene, tmp_path / "map", tmp_path / "rows", Settings(overlap=0.5, check_scale=False), CERRADATA, {}
    )
    corners = [GRID[k] for k in (4, 0, 5, 3, 1, 2)]
    store = cut(ground, corners)
    found = predict_in_context(model_file, store, table(corners), tmp_path / "unfinished", batch_size=5)
    positions = np.append(np.argsort([entry.id for entry in CERRADATA.classes("l1")]), [255] * 249)
    expected = {
        "prediction": positions[read(tmp_path / "map/classes.tif")],
        "confidence": read(tmp_path / "map/confidence.tif"),
    }
    mapped = {name: laid(found, corners, name) for name in LAYERS}
    same(mapped, expected)
    assert (mapped["prediction"][100:140, 50:150] == 255).all()
    before = laid(alone(model_file, store, tmp_path), corners, "confidence")
    assert seams(before[None, 140:], 0) > 1.2 > 1.05 > seams(mapped["confidence"][None, 140:], 0)


def test_a_patch_without_neighbours_is_predicted_as_alone(model_file, tmp_path):
    """Far apart, corner to corner, side by side by half, in another coordinate system, with no data of one band."""
    ground = pixels("msi", 900, 900)
    ground[3, 5:9, :40] = np.nan
    corners = [(0, 0), (SIDE, SIDE), (600, 0), (600 + SIDE // 2, 200)]
    store = cut(ground, [*corners, (700, 700)])
    patches = pd.concat([table(corners), table([(0, SIDE)], "EPSG:32723")], ignore_index=True)
    found = predict_in_context(model_file, store, patches, tmp_path / "unfinished")
    same(found, alone(model_file, store, tmp_path))
    assert (found["prediction"] == 255).sum() == 4 * 40


def test_tiles_lie_where_patches_cover_them(tmp_path):
    """Three of four patches, one of them a pixel off: no tile sees the hole; gaps are filled from the edges."""
    ground = np.arange(12 * 300 * 300, dtype=np.float32).reshape(12, 300, 300)
    corners = [(0, 0), (1, SIDE + 1), (SIDE + 1, 0)]
    (grid,) = context.grids(table(corners), (SIDE, SIDE))
    (region,) = context._regions(grid, SIDE)
    images = context._Images(cut(ground, corners), slice(0, 12), grid.members)
    pasted, covered = context._paste(region, images)
    half, (top, left) = SIDE // 2, region.corner
    found = np.add(context._tiles(region, covered, SIDE), (top, left))
    assert sorted(map(tuple, found.tolist())) == [(0, 0), (0, half), (1, SIDE + 1), (half, 0), (SIDE + 1, 0)]
    here = pasted[:, -top : -top + 2 * SIDE, -left : -left + 2 * SIDE]
    np.testing.assert_array_equal(here[:, 40, SIDE], ground[:, 40, SIDE - 1])  # the gap between the upper two
    np.testing.assert_array_equal(here[:, 40, SIDE + 1], ground[:, 40, SIDE + 1])
    np.testing.assert_array_equal(here[:, 0, SIDE + 9], ground[:, 1, SIDE + 9])  # above the patch that is off
    assert np.isnan(here[:, SIDE + 9, SIDE + 9]).all()


def test_a_killed_run_goes_on(model_file, tmp_path, monkeypatch):
    monkeypatch.setattr(context, "_REGION", SIDE)
    store, unfinished = cut(pixels("msi", 3 * SIDE, 2 * SIDE), GRID), tmp_path / "unfinished"
    whole = predict_in_context(model_file, store, table(GRID), tmp_path / "whole")
    append, calls = MapRows.append, []

    def count(self, layers):
        calls.append(len(layers["prediction"]))
        if len(calls) == 4:
            raise KeyboardInterrupt
        append(self, layers)

    monkeypatch.setattr(MapRows, "append", count)
    with pytest.raises(KeyboardInterrupt):
        predict_in_context(model_file, store, table(GRID), unfinished)
    found = predict_in_context(model_file, store, table(GRID), unfinished)
    assert len(calls) == 4 + 3
    for name in LAYERS:
        assert (unfinished / f"{name}.npy").read_bytes() == (tmp_path / f"whole/{name}.npy").read_bytes()
        np.testing.assert_array_equal(found[name], whole[name])
    other = replace(store, header=replace(store.header, pixels="others"))
    predict_in_context(model_file, other, table(GRID), unfinished)
    assert len(calls) == 4 + 3 + 6


def test_flips_and_rows_of_the_store(tmp_path):
    """The index of the table says which row of the store a patch has."""
    file = write_model(tmp_path / "model.pt", "sar", "l2", hierarchical=True)
    ground = np.concatenate([np.full((12, SIDE, 3 * SIDE), np.nan, np.float32), pixels("sar", SIDE, 3 * SIDE)])
    corners = [(0, 0), (0, 2 * SIDE), (0, SIDE)]
    images = np.stack([ground[:, :, left : left + SIDE] for _, left in corners])
    header = Header(3, (*BANDS, *CERRADATA.bands("sar")), ("l2", "edge_l2"), "ids", "pixels")
    store = Store(images, np.zeros((3, 2, SIDE, SIDE), np.uint8), header)
    assert set(TRAINED) == set(header.bands)
    patches = table(corners)
    expected = predict_in_context(file, store, patches, tmp_path / "all", augment=True)
    part = predict_in_context(file, store, patches.iloc[[2, 0]], tmp_path / "part", augment=True, batch_size=1)
    left = {name: expected[name][0][:, : SIDE // 2] for name in LAYERS}  # which no tile of the third patch reaches
    same({name: part[name][1][:, : SIDE // 2] for name in LAYERS}, left)
    assert (part["prediction"][0] != expected["prediction"][2]).any()
