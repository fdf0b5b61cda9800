"""A raster that was written is read back: one that lacks any of its end or holds other pixels is an error."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

from cerraseg.geo.rasters import check_written, checksum

PIXELS = np.random.default_rng(0).integers(0, 100, (2, 300, 280), np.uint8)
CHECKSUMS = {Window(0, row, 280, 100): checksum(PIXELS[:, row : row + 100]) for row in (0, 100, 200)}


@pytest.mark.parametrize("storage", [{"tiled": True}, {"tiled": False}, {"tiled": True, "bigtiff": "YES"}])
def test_a_cut_file_is_an_error(storage, tmp_path):
    place = {"crs": "EPSG:32722", "transform": from_origin(600000, 8300000, 10, 10)}
    size = {"height": 300, "width": 280, "count": 2, "dtype": "uint8"}
    path = tmp_path / "whole.tif"
    with rasterio.open(path, "w", driver="GTiff", **size, **place, **storage, compress="deflate") as file:
        file.write(PIXELS)
        file.build_overviews([2])
    check_written(path, CHECKSUMS)
    content = path.read_bytes()
    for end in [0, 3, 8, 20, 200, *range(1000, len(content), len(content) // 30), len(content) - 1]:
        (tmp_path / "cut.tif").write_bytes(content[:end])
        with pytest.raises(OSError, match="could not write all"):
            check_written(tmp_path / "cut.tif", CHECKSUMS)
    with pytest.raises(OSError, match="other pixels"):
        check_written(path, CHECKSUMS | {Window(0, 0, 280, 100): 1})
