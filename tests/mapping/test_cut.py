"""Parts of a scene, mapped alone and joined: the map of the whole, whatever the parts."""

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window
from scenes import CERRADATA, pixels, scene_files, write_model, write_raster

from cerraseg.geo.grids import Grid
from cerraseg.mapping.cut import Cut
from cerraseg.mapping.join import join_maps
from cerraseg.mapping.map_scene import Settings, map_scene


@pytest.mark.parametrize("overlap", [0.375, 0.5])
def test_parts_are_mapped_as_the_whole(tmp_path, overlap):
    height, width = 300, 420
    write_model(model := tmp_path / "model.pt", hierarchical=True, level="l2")
    files = scene_files(
        msi=write_raster(tmp_path / "msi.tif", pixels("msi", height, width)),
        sar=write_raster(tmp_path / "sar.tif", pixels("sar", height, width)),
    )
    settings = Settings(overlap=overlap, layers=("probabilities",), check_scale=False)

    def mapped(name, cut=None):
        map_scene(model, files, tmp_path / name, tmp_path / f"{name}.rows", settings, CERRADATA, {}, cut=cut)
        return tmp_path / name

    whole = mapped("whole")

    def corner(window):
        rows, columns = np.arange(window.height) + window.row_off, np.arange(window.width) + window.col_off
        return np.add.outer(rows, columns) < 100

    edges = ((0, 90, 300), (0, 200, 215, 420))
    windows = [
        Window(left, top, right - left, bottom - top)
        for top, bottom in zip(edges[0], edges[0][1:], strict=False)
        for left, right in zip(edges[1], edges[1][1:], strict=False)
    ]
    parts = {mapped(f"part{k}", Cut(window, corner)): window for k, window in enumerate(windows)}
    with rasterio.open(tmp_path / "msi.tif") as scene:
        join_maps(Grid.of(scene), parts, tmp_path / "joined", CERRADATA, "l2", threads=1)
    outside = corner(Window(0, 0, width, height))
    for name in ("classes", "classes_l1", "confidence", "probabilities"):
        with rasterio.open(whole / f"{name}.tif") as one, rasterio.open(tmp_path / f"joined/{name}.tif") as other:
            expected = one.read()
            expected[:, outside] = 255
            np.testing.assert_array_equal(other.read(), expected)
            assert (one.transform, one.descriptions, one.tags()) == (other.transform, other.descriptions, other.tags())
