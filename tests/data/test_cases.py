"""Inputs that once came out wrong: what patches' files say of themselves is honoured, or refused by name."""

import logging

import numpy as np
import pandas as pd
import pytest
import rasterio
from conftest import arrays, opened
from rasterio.transform import Affine
from scenes import CERRADATA, write_raster

from cerraseg.core.errors import DataError
from cerraseg.data.index import write_patch_table
from cerraseg.data.masks import derive_edges
from cerraseg.data.pack import pack

BANDS = CERRADATA.bands("msi")
GRID = Affine(10, 0, 600000, 0, -10, 8200000)
SOUTH_UP = Affine(10, 0, 600000, 0, 10, 8200000 - 1280)
IMAGE = np.stack([np.full((128, 128), 100 * (band + 1), np.int16) for band in range(12)])  # band k holds 100 (k + 1)
MASK = np.arange(128 * 128, dtype=np.uint8).reshape(128, 128) % 7


def write(root, image=IMAGE, mask=MASK, *, of_image=None, of_mask=None, name="x_1.tif", place=0):
    """Write a patch of layers msi and l1, ``place`` patches east."""
    grid = {"transform": GRID * Affine.translation(128 * place, 0)}
    write_raster(root / "msi_images" / name, image, **grid | (of_image or {}))
    write_raster(root / "semantic_7c" / name, mask[None], **grid | (of_mask or {}))


def index(root, folder, **options):
    write_patch_table([root], CERRADATA, folder / "patches.parquet", folder / "rejected.csv", **options)
    return pd.read_parquet(folder / "patches.parquet")


def packed(root, folder, **options):
    """The table, images and masks (patches, l1 and its edges, H, W) of a root."""
    table = index(root, folder, **options)
    pack(folder / "patches.parquet", CERRADATA, *arrays(folder))
    return table, np.array(opened(folder).images), np.array(opened(folder).masks)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def test_bands_are_found_by_their_descriptions(root, tmp_path):
    write(root, IMAGE[::-1], of_image={"bands": BANDS[::-1]})
    write(root, np.vstack([IMAGE[:1] * 0, IMAGE]), of_image={"bands": ("SCL", *BANDS)}, name="x_2.tif", place=1)
    _, images, _ = packed(root, tmp_path)
    assert (images == IMAGE).all()


def test_a_description_that_names_no_band_of_the_sensor_is_refused(root, tmp_path):
    write(root, of_image={"bands": ("VV", *BANDS[1:])})
    with pytest.raises(DataError, match=r"msi: .*x_1\.tif: it has the bands VV, .*B01 is missing"):
        index(root, tmp_path)


@pytest.mark.parametrize(
    ("gap", "options"), [(-9999, {"nodata": -9999}), (np.nan, {}), (np.inf, {}), (np.nan, {"nodata": np.nan})]
)
def test_pixels_without_data_are_nan_and_ignored(gap, options, root, tmp_path):
    image = IMAGE.astype(np.float32)
    image[:, :20] = gap
    image[3, 100, 7] = gap  # of one band
    write(root, image, of_image=options)
    table, images, masks = packed(root, tmp_path)
    gaps = np.zeros((128, 128), bool)
    gaps[:20], gaps[100, 7] = True, True
    assert np.isnan(images[0, :, :20]).all() and np.isnan(images[0]).sum() == 12 * 20 * 128 + 1
    assert (images[0][~np.isnan(images[0])] == IMAGE[~np.isnan(images[0])]).all()
    expected = np.where(gaps, 255, MASK)
    assert (masks[0] == np.stack([expected, derive_edges(expected)])).all()
    assert [table[f"l1_{k}"][0] for k in range(7)] == np.bincount(expected.ravel())[:7].tolist()


def test_a_patch_with_too_few_data_is_rejected(root, tmp_path):
    image = IMAGE.copy()
    image[:, :80] = -1
    write(root, image, of_image={"nodata": -1})
    write(root, name="x_2.tif", place=1)
    assert index(root, tmp_path, max_rejected=0.5)["id"].tolist() == ["2"]
    assert pd.read_csv(tmp_path / "rejected.csv", dtype=str)["id"].tolist() == ["1"]
    assert index(root, tmp_path, max_nodata=0.7)["id"].tolist() == ["1", "2"]


@pytest.mark.parametrize("gap", [0, -1])
def test_no_data_of_masks_is_ignored(gap, root, tmp_path):
    mask = MASK.astype(np.int16)
    mask[:20] = gap
    write(root, mask=mask, of_mask={"nodata": gap})
    _, images, masks = packed(root, tmp_path)
    expected = np.where(mask == gap, 255, mask)
    assert (masks[0, 0] == expected).all() and (expected == 255).sum() >= 20 * 128 and (images == IMAGE).all()


def test_scale_and_offset_are_applied(root, tmp_path):
    stored = np.round((IMAGE + 1000) / 0.125).astype(np.uint16)
    write(root, stored)
    path = root / "msi_images/x_1.tif"
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = [0.125] * 12, [-1000.0] * 12
    _, images, _ = packed(root, tmp_path)
    assert stored[0, 0, 0] == 8800 and (images == IMAGE).all()


def test_south_up_patches_are_packed_north_up(root, tmp_path):
    image = (IMAGE + np.arange(128)[:, None]).astype(np.int16)
    write(root, image[:, ::-1], MASK[::-1], of_image={"transform": SOUTH_UP}, of_mask={"transform": SOUTH_UP})
    write(root, image, of_image={"transform": GRID}, of_mask={"transform": GRID}, name="x_2.tif")
    table, images, masks = packed(root, tmp_path)
    assert (images == image).all() and (masks[:, 0] == MASK).all()
    assert table[list("abcdef")].to_numpy().tolist() == [list(GRID[:6])] * 2


def test_a_turned_patch_is_refused(root, tmp_path):
    turned = {"transform": GRID * Affine.rotation(20)}
    write(root, of_image=turned, of_mask=turned)
    with pytest.raises(DataError, match=r"x_1\.tif: a turned grid"):
        index(root, tmp_path)


def test_endings_in_capitals_are_patches_and_all_that_is_passed_over_is_named(root, tmp_path, caplog):
    write(root)
    write(root, name="x_2.TIF", place=1)
    (root / "msi_images/._x_1.tif").write_bytes(b"\0\5\26\7")  # of macOS
    (root / "msi_images/notes.txt").touch()
    (root / "msi_images/x_1.tif.aux.xml").touch()  # of GDAL
    (root / "semantic_7c/legend.qml").touch()
    with caplog.at_level(logging.WARNING, "cerraseg"):
        assert index(root, tmp_path)["id"].tolist() == ["1", "2"]
    assert sorted(message for message in caplog.messages if "passed over" in message) == [
        f"{root}/msi_images: 1 files that are no patches passed over: notes.txt",
        f"{root}/semantic_7c: 1 files that are no patches passed over: legend.qml",
    ]


def test_masks_of_another_format_are_named(root, tmp_path, caplog):
    for number in range(1, 8):
        write(root, name=f"x_{number}.tif", place=number)
        (root / f"semantic_7c/x_{number}.tif").rename(root / f"semantic_7c/x_{number}.png")
    with (
        caplog.at_level(logging.WARNING, "cerraseg"),
        pytest.raises(DataError, match=f"semantic_7c in {root}: no file"),
    ):
        index(root, tmp_path)
    assert f"{root}/semantic_7c: 7 files that are no patches passed over: x_1.png, x_2.png, x_3.png" in caplog.text


def test_ids_that_are_not_at_the_end_are_told(root, tmp_path):
    write(root, name="roi_9001_msi.tif")
    (root / "semantic_7c/roi_9001_msi.tif").rename(root / "semantic_7c/roi_9001_l1.tif")
    with pytest.raises(DataError, match=r"2 of 2 patches are bad .*l1: no msi file.*roi_9001_l1\.tif.*in _<id> before"):
        index(root, tmp_path)


def test_ids_of_masks_beyond_the_legend_are_listed_with_their_pixels(root, tmp_path, caplog):
    for number, values in ((1, [1, 2, 40]), (2, [40, 7, 3]), (3, [0, 1, 2])):
        mask = np.repeat(np.array(values, np.uint8), [100, 28, 128 * 127]).reshape(128, 128)
        write(root, mask=mask, name=f"x_{number}.tif", place=number)
    assert index(root, tmp_path, max_rejected=0.7)["id"].tolist() == ["3"]
    (told,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert told.endswith("(pixels): 1: 100, 2: 28, 3: 16,256, 7: 28, 40: 16,356") and "0, 1, 2, 3, 4, 5, 6" in told


def test_contradicting_patches_on_one_ground_are_told(root, tmp_path, caplog):
    write(root)
    write(root, mask=(MASK + 1) % 7, name="x_2.tif")
    write(root, name="x_3.tif", place=1)
    with caplog.at_level(logging.WARNING, "cerraseg"):
        index(root, tmp_path)
    (told,) = [message for message in caplog.messages if "contradict" in message]
    assert "l1: 1 of 1 pairs" in told and "patches 1 and 2 on 100 %" in told
    write(root, name="x_2.tif")
    caplog.clear()
    index(root, tmp_path)
    assert "contradict" not in caplog.text
