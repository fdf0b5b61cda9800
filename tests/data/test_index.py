"""Each kind of bad input is found, named and left out or refused."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
import rasterio
from conftest import IDS, PIXEL, arrays, opened, patch_file, sent, write_patch, write_tif
from scenes import CERRADATA

from cerraseg.core.errors import DataError
from cerraseg.data import index as patches
from cerraseg.data import masks
from cerraseg.data.pack import pack


def index(root, tmp_path, **options):
    patches.write_patch_table([root], CERRADATA, tmp_path / "patches.parquet", tmp_path / "rejected.csv", **options)
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


def test_chunks_and_processes_do_not_matter(root, tmp_path, monkeypatch):
    spoil(root, "l1", 7 * ones())
    (root / "msi_images" / "ms_42.tif").unlink()
    alone = index(root, tmp_path, max_rejected=0.2)
    rejected = (tmp_path / "rejected.csv").read_bytes()
    monkeypatch.setattr(patches, "CHUNK", 1)  # so that nothing of a bad patch's chunk is left
    monkeypatch.setattr(patches, "process_map", sent)
    pd.testing.assert_frame_equal(index(root, tmp_path, max_rejected=0.2), alone, check_exact=True)
    assert (tmp_path / "rejected.csv").read_bytes() == rejected
    assert len(alone) == len(IDS) - 2


def test_rejected_patches_are_known_for_the_published_split(root, tmp_path):
    patch_file(root, "sar", "7").unlink()
    for id_, gaps in (("42", 0.6), ("88", 0.1)):
        with rasterio.open(patch_file(root, "msi", id_), "r+") as file:
            image = file.read()
            image[3, : int(gaps * 128)] = np.nan
            file.write(image)
    table = index(root, tmp_path, max_rejected=0.2)
    found = {one["id"]: (one["finite"], one["whole"]) for one in table.attrs["rejected"]}
    assert found == {"7": (True, False), "42": (False, True)}
    assert table.set_index("id")["gaps"][["88", "100"]].tolist() == [12 * 128, 0]


def test_ignored_pixels_and_a_folder_opt_images_are_allowed(root, tmp_path):
    (root / "msi_images").rename(root / "opt_images")
    mask = np.full((1, 128, 128), 255, np.int32)
    mask[0, 0, :5] = 3
    write_tif(patch_file(root, "l1", IDS[0]), mask)
    row = index(root, tmp_path).set_index("id").loc[IDS[0]]
    assert [row[f"l1_{k}"] for k in range(7)] == [0, 0, 0, 5, 0, 0, 0]


def spoil(root, layer, array=None, **place):
    """Write another file of patch 901; without an array, none."""
    path = root / "edge_7c/edge_901.tif" if layer == "edge" else patch_file(root, layer, "901")
    path.unlink(missing_ok=True)
    if array is not None:
        write_tif(path, array, **{"east": IDS.index("901") * 128 * PIXEL} | place)
    return path


def ones(bands=1, size=128, dtype=np.int32):
    return np.ones((bands, size, size), dtype)


def link_to_nowhere(root, layer):
    path = spoil(root, layer)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(path.name)


FAULTS = {
    "missing": (lambda root: spoil(root, "sar"), "no sar file"),
    "broken link": (lambda root: link_to_nowhere(root, "sar"), "cannot be opened .*no such file"),
    "broken link of edges": (lambda root: link_to_nowhere(root, "edge"), "cannot be opened .*no such file"),
    "no TIFF": (lambda root: spoil(root, "msi").write_bytes(b"not a TIFF"), "cannot be opened"),
    "cut": (lambda root: os.truncate(patch_file(root, "msi", "901"), 200_000), "ms_901.tif is damaged"),
    "size": (lambda root: spoil(root, "l1", ones(size=64)), "64 x 64 pixels; expected 128 x 128"),
    "bands": (lambda root: spoil(root, "msi", ones(11)), "11 bands without descriptions, not 12"),
    "complex": (lambda root: spoil(root, "sar", ones(2, dtype=np.complex64)), "complex64 pixels"),
    "crs": (lambda root: spoil(root, "l2", ones(), crs="EPSG:32722"), "CRS EPSG:32722; expected EPSG:4326"),
    "no crs": (
        lambda root: spoil(root, "msi", ones(12), crs=None),
        "has the coordinate reference system None",
    ),
    "place": (lambda root: spoil(root, "l2", ones(), east=5.0), "pixels off the patch's first file"),
    "class": (
        lambda root: spoil(root, "l1", 7 * ones()),
        r"values 7 \(16384 pixels\); expected those of l1, 0, 1, 2, 3",
    ),
    "fraction": (lambda root: spoil(root, "l1", ones(dtype=np.float32) * 1.5), r"values 1\.5 "),
    "beyond a byte": (lambda root: spoil(root, "l2", 256 * ones()), "values 256 "),
    "edge": (lambda root: spoil(root, "edge", 2 * ones()), "edge_901.tif: values 2 "),
    "no data": (lambda root: spoil(root, "sar", np.nan * ones(2)), "100% of its pixels have no data"),
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_bad_patch_is_listed_and_left_out(fault, reason, root, tmp_path, caplog):
    fault(root)
    table = index(root, tmp_path, max_rejected=0.1)
    assert table["id"].tolist() == sorted(set(IDS) - {"901"})
    rejected = pd.read_csv(tmp_path / "rejected.csv", dtype=str)
    assert rejected["id"].tolist() == ["901"]
    assert rejected["reason"].str.contains(reason).all(), rejected["reason"][0]
    assert str(tmp_path / "rejected.csv") in caplog.messages[-1]


@pytest.mark.parametrize(
    ("bad", "options", "words"),
    [
        (IDS[:1], {"on_bad_patch": "fail", "max_rejected": 1.0}, r"1 of 12 .*on_bad_patch is fail.*values 7"),
        (IDS[:1], {}, r"8\.33%.*index\.max_rejected 1\.00%"),
        (IDS, {"max_rejected": 1.0}, "12 of 12 patches are bad"),
    ],
)
def test_too_many_bad_patches_fail_and_are_listed(root, tmp_path, bad, options, words):
    for id_ in bad:
        write_tif(patch_file(root, "l1", id_), 7 * ones(), east=IDS.index(id_) * 128 * PIXEL)
    with pytest.raises(DataError, match=words):
        index(root, tmp_path, **options)
    assert not (tmp_path / "patches.parquet").exists()
    assert len(pd.read_csv(tmp_path / "rejected.csv")) == len(bad)


def test_only_layers_of_every_root_are_used(root, tmp_path):
    write_patch(tmp_path / "second", "5", place=20)
    shutil.rmtree(tmp_path / "second/semantic_14c")
    patches.write_patch_table([root, tmp_path / "second"], CERRADATA, tmp_path / "t.parquet", tmp_path / "r.csv")
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert "l2" not in table and set(table["id"]) == {*IDS, "5"}


def test_same_id_twice_and_nothing_to_index_are_refused(root, tmp_path):
    write_patch(tmp_path / "second", IDS[0])
    (tmp_path / "third/images").mkdir(parents=True)
    for name in ("msi_images", "semantic_7c"):
        (tmp_path / "fourth" / name).mkdir(parents=True)
    for folder, found in (
        ("second", f"same id '{IDS[0]}'"),
        ("third", "no known folder"),
        ("fourth", f"semantic_7c in {tmp_path}/fourth: no file"),
    ):
        with pytest.raises(DataError, match=found):
            patches.find_patches([root, tmp_path / folder] if folder == "second" else [tmp_path / folder], CERRADATA)


def test_table_says_where_edges_come_from(root, tmp_path, caplog):
    caplog.set_level("INFO", "cerraseg")
    drawn = np.random.default_rng(0).integers(0, 2, (1, 128, 128), np.uint8)
    write_tif(root / "edge_7c/any_name_42.tif", drawn, east=IDS.index("42") * 128 * PIXEL)
    write_tif(root / "edge_7c/of_no_patch_777.tif", drawn)
    table = index(root, tmp_path)
    row = table["id"].tolist().index("42")
    table = table.set_index("id")
    assert table["edge_l1"].loc["42"] == str(root / "edge_7c/any_name_42.tif")
    assert (table["edge_l1"].drop("42") == "").all() and (table["edge_l2"] == "").all()
    assert "edges of l1: 1 read, 11 derived from the mask" in caplog.messages
    pack(tmp_path / "patches.parquet", CERRADATA, *arrays(tmp_path))
    packed = opened(tmp_path)
    np.testing.assert_array_equal(packed.masks[row, packed.layer("edge_l1")], drawn[0])
    np.testing.assert_array_equal(packed.masks[row, packed.layer("edge_l2")], masks.derive_edges(packed.masks[row, 1]))
