"""Zones and tiles of an area of interest: all of it once, and the same tiles for the same place."""

import json

import numpy as np
import pytest
import shapely
from pyproj import Transformer
from rasterio.windows import Window
from sky import hectares

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import LandCover
from cerraseg.evaluation.areas import mapped_areas
from cerraseg.geo.zones import footprint, parts_of, read_area, zone_at, zones_of
from cerraseg.mapping.map_files import write_map

BORDER = shapely.Polygon([(-48.2, -6.1), (-47.85, -6.15), (-47.8, -5.9), (-48.0, -5.8), (-48.22, -5.9)])
GRID = {"resolution": 10.0, "tile_km": 5.0}


def test_all_ground_lies_in_one_zone_and_one_tile(tmp_path):
    """Over a border of zones: the hectares of the maps are those of the area to 0.1 %, and no place is left out."""
    zones, maps = zones_of(BORDER, **GRID, margin=64), []
    assert list(zones) == [32722, 32723]
    for epsg, zone in zones.items():
        counted = np.zeros(zone.grid.shape, np.uint8)
        for window in zone.tiles.values():
            counted[window.toslices()] += 1
        whole = Window(0, 0, *zone.grid.shape[::-1])
        assert counted.max() == 1 and counted[~zone.outside(whole)].min() == 1
        maps.append(tmp_path / f"{epsg}.tif")
        read = lambda window, zone=zone: np.where(zone.outside(window), 255, 0).astype(np.uint8)  # noqa: E731
        write_map(maps[-1], zone.grid, read, classes=[LandCover(0, "x", "x", (0, 0, 0))])
    assert mapped_areas(maps, [LandCover(0, "x", "x", (0, 0, 0))])[1][0] == pytest.approx(hectares(BORDER), rel=1e-3)
    # From each place on the border of the zones, a mapped pixel's centre is no farther than a pixel's corners apart.
    for north in np.linspace(-6.1, -5.85, 50):
        near = [_distance(zone, -48.0, north) for zone in zones.values()]
        assert min(near) <= 10 * 2**0.5


def _distance(zone, east, north):
    """Metres from a place to the nearest mapped pixel's centre around it, infinite where none is near."""
    column, row = ~zone.grid.transform * Transformer.from_crs(4326, zone.epsg, always_xy=True).transform(east, north)
    window = Window(int(column) - 2, int(row) - 2, 5, 5)
    rows, columns = np.nonzero(~zone.outside(window))
    centres = np.hypot(columns + window.col_off + 0.5 - column, rows + window.row_off + 0.5 - row)
    return 10 * centres.min() if centres.size else np.inf


def test_tiles_are_those_of_the_place_whatever_the_area():
    """A larger area has the same inner tiles, on the same pixels."""
    small, large = (zones_of(area, **GRID, margin=64)[32722] for area in (BORDER, BORDER.buffer(0.2)))
    shared = set(small.tiles) & set(large.tiles)
    assert shared == set(small.tiles)
    whole = [name for name in shared if (small.tiles[name].width, small.tiles[name].height) == (500, 500)]
    assert whole and all(small.tile_grid(name).same_as(large.tile_grid(name)) for name in whole)
    assert zone_at(area=BORDER.wkt, epsg=32722, grid=GRID, margin=64).tiles == small.tiles


def test_zones_north_and_south_of_the_equator_and_at_the_antimeridian():
    assert list(parts_of(shapely.box(-50.5, -0.1, -50.4, 0.1))) == [32622, 32722]
    fiji = shapely.union_all([shapely.box(179.9, -17, 180, -16.9), shapely.box(-180, -17, -179.9, -16.9)])
    assert {32701, 32760} == set(parts_of(fiji))
    with pytest.raises(DataError, match="latitudes"):
        zones_of(shapely.box(0, 83, 1, 85), **GRID, margin=0)


def test_footprint_holds_the_tile():
    zone = zones_of(BORDER, **GRID, margin=64)[32722]
    middle = shapely.box(-48.02, -6.0, -48.01, -5.99)
    assert any(footprint(zone.tile_grid(name)).contains(middle.centroid) for name in zone.tiles)


def test_area_is_read_from_any_vector_file_and_system(tmp_path):
    file, point = tmp_path / "aoi.geojson", tmp_path / "point.geojson"
    file.write_text(json.dumps(shapely.geometry.mapping(BORDER)))
    assert read_area(file).equals_exact(BORDER, 1e-9)
    point.write_text(json.dumps(shapely.geometry.mapping(shapely.Point(0, 0))))
    for bad in (point, tmp_path / "none.gpkg"):
        with pytest.raises(DataError, match=bad.name):
            read_area(bad)
