"""Each kind of bad input is found, named and left out or refused."""

import numpy as np
import pandas as pd
import pytest
import rasterio
from conftest import IDS, PIXEL, arrays, opened, patch_file, write_patch, write_tif

from cerraseg.core import processes
from cerraseg.core.errors import DataError
from cerraseg.data import index as patches
from cerraseg.data import masks
from cerraseg.data import packed as store


def index(root, tmp_path, **options):
    patches.write_patch_table([root], tmp_path / "patches.parquet", tmp_path / "rejected.csv", **options)
    return pd.read_parquet(tmp_path / "patches.parquet")


def test_table_holds_place_counts_and_paths(root, tmp_path):
    table = index(root, tmp_path)
    assert table["id"].tolist() == sorted(IDS)
    row = table.set_index("id").loc["7"]
    with rasterio.open(patch_file(root, "l2", "7")) as source:
        mask = source.read(1)
        assert (row["crs"], row["left"], row["top"]) == ("EPSG:4326", source.bounds.left, source.bounds.top)
        assert tuple(row[list("abcdef")]) == source.transform[:6]
    assert [row[f"l2_{k}"] for k in range(14)] == np.bincount(mask.ravel(), minlength=14).tolist()
    assert row["l1_1"] == row["l2_1"] + row["l2_2"]
    assert row["msi"] == str(patch_file(root, "msi", "7"))
    assert pd.read_csv(tmp_path / "rejected.csv").empty


def test_processes_do_not_matter(root, tmp_path, monkeypatch):
    wrong_value(root, "901")
    (root / "msi_images" / "ms_42.tif").unlink()
    alone = index(root, tmp_path, max_rejected=0.2)
    rejected = (tmp_path / "rejected.csv").read_bytes()
    monkeypatch.setattr(patches, "_CHUNK", 1)  # so that nothing of a bad patch's chunk is left
    monkeypatch.setattr(processes, "_START", 0, raising=False)
    pd.testing.assert_frame_equal(index(root, tmp_path, max_rejected=0.2, threads=2), alone, check_exact=True)
    assert (tmp_path / "rejected.csv").read_bytes() == rejected
    assert len(alone) == len(IDS) - 2


def test_opt_images_is_another_name_for_msi_images(root, tmp_path):
    (root / "msi_images").rename(root / "opt_images")
    assert len(index(root, tmp_path)) == len(IDS)


def test_ignored_pixels_are_counted_and_allowed(root, tmp_path):
    mask = np.full((1, 128, 128), 255, np.int32)
    mask[0, 0, :5] = 3
    write_tif(patch_file(root, "l1", IDS[0]), mask)
    row = index(root, tmp_path).set_index("id").loc[IDS[0]]
    assert [row[f"l1_{k}"] for k in range(7)] == [0, 0, 0, 5, 0, 0, 0]


def ones(bands=1, size=128, dtype=np.int32):
    return np.ones((bands, size, size), dtype)


def east(id_):
    return IDS.index(id_) * 128 * PIXEL


def missing(root, id_):
    patch_file(root, "sar", id_).unlink()


def broken_link(root, id_):
    missing(root, id_)
    patch_file(root, "sar", id_).symlink_to("nowhere")


def broken_link_of_edges(root, id_):
    (root / "edge_7c").mkdir()
    (root / f"edge_7c/edge_{id_}.tif").symlink_to(f"edge_{id_}.tif")


def unreadable(root, id_):
    patch_file(root, "msi", id_).write_bytes(b"not a TIFF")


def truncated(root, id_):
    path = patch_file(root, "msi", id_)
    path.write_bytes(path.read_bytes()[:200_000])


def wrong_size(root, id_):
    write_tif(patch_file(root, "l1", id_), ones(size=64))


def wrong_bands(root, id_):
    write_tif(patch_file(root, "msi", id_), ones(11))


def wrong_crs(root, id_):
    write_tif(patch_file(root, "l2", id_), ones(), crs="EPSG:32722")


def no_crs(root, id_):
    write_tif(patch_file(root, "msi", id_), ones(12), crs=None)


def wrong_place(root, id_):
    write_tif(patch_file(root, "l2", id_), ones(), east=5.0)


def wrong_value(root, id_):
    write_tif(patch_file(root, "l1", id_), 7 * ones(), east=east(id_))


def not_finite(root, id_):
    image = ones(12, dtype=np.float32)
    image[3, 5, 5], image[0, 0, :2] = np.nan, np.inf
    write_tif(patch_file(root, "msi", id_), image, east=east(id_))


def wrong_edge(root, id_):
    write_tif(root / f"edge_7c/edge_{id_}.tif", 2 * ones(), east=east(id_))


def fraction(root, id_):
    write_tif(patch_file(root, "l1", id_), np.full((1, 128, 128), 1.5, np.float32), east=east(id_))


def beyond_a_byte(root, id_):
    write_tif(patch_file(root, "l2", id_), 256 * ones(), east=east(id_))


FAULTS = {
    missing: "no sar file; expected one file a patch in every layer folder",
    broken_link: "cannot be read .*no such file",
    broken_link_of_edges: "cannot be read .*no such file",
    unreadable: "cannot be read .*fetch or write the file again",
    truncated: "cannot be read .*fetch or write the file again",
    wrong_size: "1 bands of 64 x 64 pixels; expected 1 of 128 x 128",
    wrong_bands: "11 bands of 128 x 128 pixels; expected 12 of 128 x 128",
    wrong_crs: "CRS EPSG:32722; expected EPSG:4326 as in the patch's first file",
    no_crs: "no coordinate reference system; expected a georeferenced file",
    wrong_place: "pixels off the patch's first file; expected the same ground",
    wrong_value: "values 7; expected 0 to 6, or 255 to ignore",
    fraction: "values 1.5; expected 0 to 6, or 255 to ignore",
    beyond_a_byte: "values 256; expected 0 to 13, or 255 to ignore",
    wrong_edge: "values 2; expected 0 to 1, or 255 to ignore",
    not_finite: "3 NaN or infinite values; expected finite pixels only",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda fault: fault.__name__)
def test_bad_patch_is_listed_and_left_out(spoil, root, tmp_path, caplog):
    caplog.set_level("INFO", "cerraseg")
    spoil(root, "901")
    table = index(root, tmp_path, max_rejected=0.1)
    assert table["id"].tolist() == sorted(set(IDS) - {"901"})
    rejected = pd.read_csv(tmp_path / "rejected.csv", dtype=str)
    assert rejected["id"].tolist() == ["901"]
    assert rejected["reason"].str.contains(FAULTS[spoil]).all(), rejected["reason"][0]
    assert caplog.messages[-1] == f"1 patches left out, listed with their reasons in {tmp_path / 'rejected.csv'}"
    assert "901" in caplog.messages[-2]


@pytest.mark.parametrize(
    ("bad", "options", "words"),
    [
        (IDS[:1], {"on_bad_patch": "fail"}, r"1 of 12 patches .*\(8.33%\).*on_bad_patch: fail.*values 7"),
        (IDS[:1], {}, r"max_rejected is 1.00%.*index.max_rejected"),
        (IDS, {"max_rejected": 1.0}, "12 of 12 patches are bad"),
    ],
)
def test_too_many_bad_patches_fail_and_are_listed(root, tmp_path, bad, options, words):
    for id_ in bad:
        wrong_value(root, id_)
    with pytest.raises(DataError, match=words):
        index(root, tmp_path, **options)
    assert not (tmp_path / "patches.parquet").exists()
    assert len(pd.read_csv(tmp_path / "rejected.csv")) == len(bad)


def test_only_layers_of_every_root_are_used(root, tmp_path):
    second = tmp_path / "second"
    write_patch(second, "5", place=20)
    for file in (second / "semantic_14c").iterdir():
        file.unlink()
    (second / "semantic_14c").rmdir()
    patches.write_patch_table([root, second], tmp_path / "t.parquet", tmp_path / "r.csv")
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert "l2" not in table
    assert set(table["id"]) == {*IDS, "5"}


def test_same_id_twice_is_refused(root, tmp_path):
    write_patch(tmp_path / "second", IDS[0])
    with pytest.raises(DataError, match=f"have the same id '{IDS[0]}'; rename or move one of them"):
        patches.find_patches([root, tmp_path / "second"])


@pytest.mark.parametrize(
    ("folders", "found"), [(["images"], "no known folder"), (["msi_images", "semantic_7c"], "no .tif file")]
)
def test_nothing_to_index_is_refused(tmp_path, folders, found):
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=found):
        patches.find_patches([tmp_path])


def test_table_says_where_edges_come_from(root, tmp_path, caplog):
    caplog.set_level("INFO", "cerraseg")
    drawn = np.random.default_rng(0).integers(0, 2, (1, 128, 128), np.uint8)
    write_tif(root / "edge_7c/any_name_42.tif", drawn, east=east("42"))
    write_tif(root / "edge_7c/of_no_patch_777.tif", drawn)
    table = index(root, tmp_path)
    row = table["id"].tolist().index("42")
    table = table.set_index("id")
    assert table["edge_l1"].loc["42"] == str(root / "edge_7c/any_name_42.tif")
    assert (table["edge_l1"].drop("42") == "").all() and (table["edge_l2"] == "").all()
    assert "edges of l1: 1 read, 11 derived from the mask" in caplog.messages
    store.pack(tmp_path / "patches.parquet", *arrays(tmp_path))
    packed = opened(tmp_path)
    np.testing.assert_array_equal(packed.masks[row, packed.layer("edge_l1")], drawn[0])
    np.testing.assert_array_equal(packed.masks[row, packed.layer("edge_l2")], masks.derive_edges(packed.masks[row, 1]))
