"""The L1 map is that of L2 with each class's parent, on the same grid, also where chunks are missing."""

import numpy as np
import rasterio
from rasterio import Affine

from cerraseg.core.taxonomy import LEVELS
from cerraseg.geo.cog import CHUNK, new_map
from cerraseg.mapping.parent_maps import write_parents


def test_each_pixel_is_the_parent_of_its_class(tmp_path):
    shape, place = (CHUNK + 30, 40), {"crs": "EPSG:32722", "transform": Affine(10, 0, 5e5, 0, -10, 9e6)}
    lower = np.random.default_rng(0).choice([*range(14), 255], (30, 40)).astype(np.uint8)
    with new_map(tmp_path / "l2.tif", shape=shape, classes=LEVELS["l2"], **place) as draft:
        draft.write(1, 0, lower)  # the upper chunk stays a hole
    write_parents(tmp_path / "l2.tif", tmp_path / "l1.tif", {"SCENARIO": "both"})
    with rasterio.open(tmp_path / "l1.tif") as file:
        found = file.read(1)
        assert (file.shape, file.crs, file.transform, file.nodata) == (shape, *place.values(), 255)
        assert (file.tags()["SCENARIO"], file.tags()["CLASS_5"]) == ("both", "Water body")
        assert "CLASS_7" not in file.tags() and file.overviews(1)
    assert (found[:CHUNK] == 255).all()
    for value, entry in [(255, None), *((entry.id, entry) for entry in LEVELS["l2"])]:
        assert (found[CHUNK:][lower == value] == (entry.parent if entry else 255)).all()
