"""Patches of any coordinate system are where they are on the ground."""

import numpy as np
import pandas as pd
import pytest
from layouts import grid
from rasterio.crs import CRS
from rasterio.warp import transform

from cerraseg.core.errors import DataError
from cerraseg.geo.positions import geocentric, locate, utm_zone


def test_geocentric_coordinates_are_those_of_proj():
    degrees = np.array([[-48.1, -6.2], [9.0, 48.5], [179.9, 0.0], [20.0, 89.0]])
    height = np.zeros(len(degrees))
    expected = transform(CRS.from_epsg(4979), CRS.from_epsg(4978), *degrees.T, height)
    np.testing.assert_allclose(geocentric(degrees), np.stack(expected, axis=1), atol=1e-3)


def test_a_patch_has_its_pixels_on_the_ground():
    places = locate(pd.concat([grid("EPSG:32723", 1, 2), grid("EPSG:4326", 1, 1, first=200)], ignore_index=True))
    assert places.metric.tolist() == [True, True, False]
    np.testing.assert_allclose(places.pixel, 10, rtol=0.01)
    np.testing.assert_allclose(np.linalg.norm(np.subtract(*geocentric(places.degrees[:2]))), 1280, rtol=1e-3)


def test_metres_of_web_mercator_are_none():
    far = grid("EPSG:3857", 1, 1, south=6000)  # 62° south
    assert not locate(far).metric.any()
    np.testing.assert_allclose(locate(far).pixel / 10, np.cos(np.radians(locate(far).degrees[0, 1])), rtol=0.01)


@pytest.mark.parametrize(
    ("degrees", "zone"),
    [((-48.1, -6.0), 32722), ((-47.9, -6.0), 32723), ((9.0, 48.0), 32632), ((180.0, 1.0), 32601), ((-180, 1), 32601)],
)
def test_utm_zones(degrees, zone):
    assert utm_zone(np.array([degrees])).tolist() == [zone]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crs": "EPSG:1"}, "has no known place on Earth"),
        ({"crs": 'LOCAL_CS["site",UNIT["metre",1]]'}, "has no known place on Earth"),
        ({"crs": "EPSG:32723", "left": 9e9, "right": 9.1e9}, "'EPSG:32723' has no known place on Earth"),
    ],
)
def test_a_patch_without_place_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        locate(grid("EPSG:4326", 1, 1).assign(**change))
