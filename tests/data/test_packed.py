"""The packed arrays hold exactly the files' pixels, in the table's order, or nothing."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import rasterio
from conftest import IDS, PIXEL, arrays, opened, patch_file, write_tif
from scenes import CERRADATA

from cerraseg.core import storage
from cerraseg.core.errors import DataError, StorageError
from cerraseg.data import index
from cerraseg.data import pack as packing
from cerraseg.data.masks import derive_edges
from cerraseg.data.pack import pack
from cerraseg.data.packed import Header, open_store
from cerraseg.data.tables import digest, rows_of


@pytest.mark.parametrize(("lost", "bands"), [("sar_images", 12), ("msi_images", 2)])
def test_packs_what_exists(lost, bands, root, tmp_path):
    for folder in (lost, "semantic_14c"):
        (root / folder).rename(tmp_path / folder)
    index.write_patch_table([root], CERRADATA, tmp_path / "t.parquet", tmp_path / "r.csv")
    pack(tmp_path / "t.parquet", CERRADATA, *arrays(tmp_path))
    packs = opened(tmp_path)
    assert packs.images.shape == (12, bands, 128, 128)
    assert packs.masks.shape == (12, 2, 128, 128)
    present, lacking = (CERRADATA.bands("sar" if layer == (lost == "sar_images") else "msi") for layer in (False, True))
    assert packs.channels(present[::-1]) == [*range(bands)][::-1] and packs.channels(present) == slice(0, bands)
    with pytest.raises(DataError, match=lacking[0]):
        packs.channels(CERRADATA.bands())
    with pytest.raises(DataError, match="l2"):
        packs.layer("l2")


def naive(table):
    """The arrays, file by file through rasterio."""
    images, masks = [], []
    for row in table.itertuples():
        layers = {}
        for layer in ("msi", "sar", "l1", "l2"):
            with rasterio.open(getattr(row, layer)) as source:
                layers[layer] = source.read()
        images.append(np.concatenate([layers["msi"], layers["sar"]]))
        classes = np.concatenate([layers["l1"], layers["l2"]]).astype(np.uint8)
        masks.append(np.concatenate([classes, derive_edges(classes)]))
    return np.stack(images), np.stack(masks)


def test_files_are_those_of_numpy_and_the_digest_that_of_the_pixels(packed, tmp_path):
    images, masks = naive(pd.read_parquet(packed / "patches.parquet"))
    for name, array in (("images.npy", images), ("masks.npy", masks)):
        np.save(tmp_path / name, array)
        assert (packed / name).read_bytes() == (tmp_path / name).read_bytes()
    pixels = [hashlib.sha256(i.tobytes() + m.tobytes()).hexdigest() for i, m in zip(images, masks, strict=True)]
    assert opened(packed).header == Header(
        12, CERRADATA.bands(), ("l1", "l2", "edge_l1", "edge_l2"), digest(sorted(IDS)), digest(pixels)
    )


def test_better_masks_are_packed_where_a_patch_has_one(root, tmp_path):
    write_tif(
        root / "truth_7c/any_name_42.tif", np.full((1, 128, 128), 3, np.int32), east=IDS.index("42") * 128 * PIXEL
    )
    index.write_patch_table([root], CERRADATA, tmp_path / "t.parquet", tmp_path / "r.csv")
    pack(tmp_path / "t.parquet", CERRADATA, *arrays(tmp_path))
    packs = opened(tmp_path)
    assert packs.header.layers == ("l1", "l2", "edge_l1", "edge_l2", "truth_l1")
    truth, own = (packs.masks[:, packs.layer(layer)] for layer in (packs.truth("l1"), "l1"))
    np.testing.assert_array_equal((truth != own).any(axis=(1, 2)), [id_ == "42" for id_ in sorted(IDS)])
    assert (truth[sorted(IDS).index("42")] == 3).all()
    assert packs.truth("l2") == "l2" and packs.truth("edge_l1") == "edge_l1"


@pytest.mark.parametrize("workers", [1, 2])
def test_many_chunks_and_workers_give_the_same(workers, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "CHUNK", 1)
    pack(packed / "patches.parquet", CERRADATA, *arrays(tmp_path), workers=workers)
    for old, new in zip(arrays(packed), arrays(tmp_path), strict=True):
        assert old.read_bytes() == new.read_bytes()


@pytest.mark.parametrize("change", ["gone", "bands", "size", "pixels", "classes"])
def test_file_changed_since_index_leaves_nothing(change, root, tmp_path):
    index.write_patch_table([root], CERRADATA, tmp_path / "t.parquet", tmp_path / "r.csv")
    path = patch_file(root, "l1" if change == "classes" else "sar", "42")
    path.unlink()
    if change != "gone":
        shape = {"bands": (1, 128, 128), "size": (2, 64, 64), "pixels": (2, 128, 128), "classes": (1, 128, 128)}[change]
        write_tif(path, np.ones(shape, np.float32))
    with pytest.raises(DataError, match="patch 42" if change in ("pixels", "classes") else path.name):
        pack(tmp_path / "t.parquet", CERRADATA, *arrays(tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_small_disk_is_refused_before_work(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**6}))
    with pytest.raises(StorageError, match=r"packing needs 11\.8 MB"):
        pack(packed / "patches.parquet", CERRADATA, *arrays(tmp_path))


def test_foreign_header_is_refused(packed, tmp_path):
    header = json.loads((packed / "header.json").read_text()) | {"patches": 5}
    (tmp_path / "header.json").write_text(json.dumps(header))
    with pytest.raises(DataError, match="do not belong together"):
        open_store(packed / "images.npy", packed / "masks.npy", tmp_path / "header.json")


def test_rows_are_those_of_parts_or_all_and_of_a_split_table_in_the_same_order(packed, tmp_path):
    parts = [rows_of(packed / "split.csv", part) for part in ("train", "validation", "test")]
    assert sorted(np.concatenate(parts)) == list(range(12))
    assert rows_of(packed / "split.csv", "all").tolist() == list(range(12))
    pd.read_csv(packed / "split.csv", dtype=str)[::-1].to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(DataError, match=r"split\.csv: expected the ids of the patch table in its order"):
        rows_of(tmp_path / "split.csv", "test", opened(packed).header.ids)
