"""Exported patches have the published names and type, and lie where the patch lies."""

import numpy as np
import pandas as pd
import pytest
import rasterio
from placed import read, table
from region import IDS, L3, REGION
from scenes import CERRADATA, NAMES

from cerraseg.config.scenario import parse
from cerraseg.mapping.patch_geotiffs import export_geotiffs, file_stem


@pytest.mark.parametrize("names", [["seg"], ["seg", "edg"]])
def test_geotiffs_have_published_folders_names_type_and_place(packed, tmp_path, names):
    patches = pd.read_parquet(packed / "patches.parquet").iloc[[2, 5]]
    random, values = np.random.default_rng(0), {"seg": 7, "edg": 2}
    tiles = {name: random.integers(0, values[name], (2, 128, 128), np.uint8) for name in names}
    classes = CERRADATA.classes("l1")
    export_geotiffs(patches, tiles, tmp_path / "out", classes=classes, stem="a_nw")
    for name in names:
        folder = tmp_path / "out" / (name if len(names) > 1 else "")
        assert len(list(folder.iterdir())) == 2
        for expected, patch in zip(tiles[name], patches.itertuples(), strict=True):
            with rasterio.open(folder / f"a_nw_{patch.id}.tif") as file, rasterio.open(patch.l1) as mask:
                np.testing.assert_array_equal(file.read(1), expected)
                assert (file.dtypes, file.crs, file.transform) == (("int32",), mask.crs, mask.transform)


def test_classes_go_by_their_ids_and_no_data_stays(tmp_path):
    tiles = np.random.default_rng(0).integers(0, 5, (1, 24, 40), np.uint8)
    tiles[0, :3] = 255
    edges = np.where(tiles == 255, 255, tiles % 2).astype(np.uint8)
    options = {"classes": L3, "stem": "a"}
    export_geotiffs(table([(0, 0)]), {"seg": tiles, "edg": edges}, tmp_path / "out", **options)
    found = {name: read(tmp_path / "out" / name / "a_p0.tif") for name in ("seg", "edg")}
    np.testing.assert_array_equal(found["seg"], np.append(IDS, [255] * 251)[tiles[0]])
    np.testing.assert_array_equal(found["edg"], edges[0])


def test_names_are_the_published_ones_or_the_datasets():
    unet, transnuseg = (parse(f"{model}-msi-w-l1-paper-1", NAMES) for model in ("unet", "transnuseg"))
    assert [file_stem(CERRADATA, one) for one in (unet, transnuseg)] == ["parrot_beak_unet_w", "parrot_beak_transnuseg"]
    assert file_stem(REGION, unet) == "my-region_unet_w"
