"""Exported patches have the published names and type, and lie where the patch lies."""

import numpy as np
import pandas as pd
import rasterio

from cerraseg.mapping.patch_geotiffs import export_geotiffs


def test_geotiffs_have_published_names_type_and_place(packed, tmp_path):
    table = pd.read_parquet(packed / "patches.parquet").iloc[[2, 5]]
    classes = np.random.default_rng(0).integers(0, 7, (2, 128, 128), np.uint8)
    export_geotiffs(table, {"seg": classes}, tmp_path / "out", model="unet", weighting="nw")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        f"parrot_beak_unet_nw_{id_}.tif" for id_ in table["id"]
    )
    for expected, patch in zip(classes, table.itertuples(), strict=True):
        with (
            rasterio.open(tmp_path / "out" / f"parrot_beak_unet_nw_{patch.id}.tif") as found,
            rasterio.open(patch.l1) as source,
        ):
            np.testing.assert_array_equal(found.read(1), expected)
            assert (found.dtypes, found.crs, found.transform) == (("int32",), source.crs, source.transform)


def test_classes_and_edges_have_a_folder_each(packed, tmp_path):
    table = pd.read_parquet(packed / "patches.parquet").iloc[[3]]
    tiles = {"seg": np.full((1, 128, 128), 5, np.uint8), "edg": np.ones((1, 128, 128), np.uint8)}
    export_geotiffs(table, tiles, tmp_path / "out", model="transnuseg", weighting="w")
    name = f"parrot_beak_transnuseg_w_{table['id'].item()}.tif"
    for folder, value in (("seg", 5), ("edg", 1)):
        with rasterio.open(tmp_path / "out" / folder / name) as file:
            assert (file.read() == value).all()
