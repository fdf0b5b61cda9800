"""Exported patches have the published names and type, and lie where the patch lies."""

import numpy as np
import pandas as pd
import pytest
import rasterio

from cerraseg.mapping.patch_geotiffs import export_geotiffs


@pytest.mark.parametrize("names", [["seg"], ["seg", "edg"]])
def test_geotiffs_have_published_folders_names_type_and_place(packed, tmp_path, names):
    table = pd.read_parquet(packed / "patches.parquet").iloc[[2, 5]]
    tiles = {name: np.random.default_rng(0).integers(0, 7, (2, 128, 128), np.uint8) for name in names}
    export_geotiffs(table, tiles, tmp_path / "out", model="unet", weighting="nw")
    for name in names:
        folder = tmp_path / "out" / (name if len(names) > 1 else "")
        assert len(list(folder.iterdir())) == 2
        for expected, patch in zip(tiles[name], table.itertuples(), strict=True):
            with rasterio.open(folder / f"parrot_beak_unet_nw_{patch.id}.tif") as file, rasterio.open(patch.l1) as mask:
                np.testing.assert_array_equal(file.read(1), expected)
                assert (file.dtypes, file.crs, file.transform) == (("int32",), mask.crs, mask.transform)
