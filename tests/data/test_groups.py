"""Blocks are cells of metric ground, sites are what lies apart."""

import numpy as np
import pandas as pd
import pytest
from layouts import grid
from rasterio.crs import CRS
from rasterio.warp import transform

from cerraseg.data.splits.spatial import blocks, outline, sites
from cerraseg.geo.positions import locate


@pytest.mark.parametrize(
    ("crs", "zones"), [("EPSG:32723", {"EPSG:32723"}), ("EPSG:4326", {"EPSG:32722", "EPSG:32723"})]
)
def test_blocks_are_cells_of_the_own_metric_system_or_of_the_utm_zone(crs, zones):
    table = grid(crs, 2, 40)  # those of degrees lie over the border of zones 22 and 23
    found = blocks(locate(table), 5)
    middle = (table["left"] + table["right"]) / 2
    for name, x, y in zip(found, middle, (table["bottom"] + table["top"]) / 2, strict=True):
        zone = "EPSG:32722" if x < -48 else "EPSG:32723"
        ((east,), (north,)) = transform(CRS.from_user_input(crs), CRS.from_user_input(zone), [x], [y])
        assert name == f"{zone}/{int(east // 5000)}/{int(north // 5000)}"
        system, cells = outline(name)
        assert system == zone and (cells[0] * 5000 <= (east, north)).all() and ((east, north) < cells[2] * 5000).all()
    assert {name.split("/")[0] for name in found} == zones


def test_a_system_without_a_code_has_a_short_name():
    system = CRS.from_proj4("+proj=tmerc +lat_0=0 +lon_0=-48.3 +k=1 +x_0=0 +y_0=0 +ellps=GRS80 +units=m").to_wkt()
    table = grid("EPSG:32723", 1, 2).assign(crs=system, left=[0, 1280], right=[1280, 2560])
    found = blocks(locate(table), 1)
    assert len(set(found)) == 2 and all(name.startswith("crs") and len(name) < 30 for name in found)


def test_sites_are_numbered_by_their_first_patches():
    near = grid("EPSG:4326", 2, 2, east=6.5, first=200)  # 4.5 sides, 5.7 km
    far = grid("EPSG:4326", 2, 2, east=60, first=300)
    table = pd.concat([grid("EPSG:4326", 2, 2), near, far], ignore_index=True)
    assert sites(locate(table), 5).tolist() == np.repeat(["site 1", "site 2", "site 3"], 4).tolist()
    assert sites(locate(table), 6).tolist() == np.repeat(["site 1", "site 2"], [8, 4]).tolist()
    assert sites(locate(table.iloc[::-1]), 5).tolist() == np.repeat(["site 1", "site 2", "site 3"], 4).tolist()
