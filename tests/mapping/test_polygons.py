import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio import Affine
from rasterio.warp import transform as reproject
from region import IDS, L3
from scenes import CERRADATA

from cerraseg.geo.cog import new_map
from cerraseg.mapping.polygons import polygons

L1 = CERRADATA.classes("l1")
UTM, DEGREES = "EPSG:32722", "EPSG:4326"
TRANSFORMS = {UTM: Affine(10, 0, 500_000, 0, -10, 8e6), DEGREES: Affine(1e-3, 0, -47, 0, -1e-3, -60)}
DRAWN = """
0 0 0 0 1 1 1 1
0 0 2 0 1 1 1 1
0 0 2 0 1 1 9 9
0 0 0 0 1 1 9 3
0 0 0 0 1 1 9 9
"""
"""Two pixels of Agriculture in Pasture, one of Mining behind no data (9)."""


def drawn(text=DRAWN):
    values = np.array([line.split() for line in text.strip().splitlines()], np.uint8)
    values[values == 9] = 255
    return values


def write(path, values, crs, classes):
    tags = {"SOURCE": "x"}
    with new_map(path, shape=values.shape, crs=crs, transform=TRANSFORMS[crs], classes=classes, tags=tags) as draft:
        draft.write(0, 0, values)
    return path


def run(folder, values, minimum, *, crs=UTM, confidence=None, classes=L1):
    """The sieved raster, the polygons and their fields."""
    raster, vector = folder / "out/areas.tif", folder / "out/areas.gpkg"
    class_map = write(folder / "classes.tif", values, crs, classes)
    percent = write(folder / "confidence.tif", np.minimum(values, 50) if confidence is None else confidence, crs, None)
    polygons(class_map, classes, minimum_hectares=minimum, confidence=percent, raster=raster, vector=vector)
    meta, _, wkb, fields = pyogrio.raw.read(vector, layer="land_cover")
    assert rasterio.CRS.from_user_input(meta["crs"]) == rasterio.CRS.from_user_input(crs)
    with rasterio.open(raster) as file:
        assert (file.crs, file.transform) == (rasterio.CRS.from_user_input(crs), TRANSFORMS[crs])
        return file.read(1), shapely.from_wkb(wkb), dict(zip(meta["fields"], fields, strict=True))


def test_small_areas_go_to_their_largest_neighbour_and_islands_are_left_out(tmp_path):
    sieved, found, fields = run(tmp_path, drawn(), 0.03)
    np.testing.assert_array_equal(sieved, drawn(DRAWN.replace("2", "0")))
    assert fields["class_id"].tolist() == [0, 1] and fields["class_name"].tolist() == ["Pasture", "Forest"]
    pasture = shapely.box(500_000, 8e6 - 50, 500_040, 8e6)
    forest = shapely.Polygon([(40, 0), (80, 0), (80, 20), (60, 20), (60, 50), (40, 50)])
    forest = shapely.transform(forest, lambda points: points * [1, -1] + [500_000, 8e6])
    assert found[0].normalize() == pasture.normalize() and found[1].normalize() == forest.normalize()
    # On the central meridian the ground is larger than the map by 0.9996 squared.
    np.testing.assert_allclose(fields["hectares"], np.array([0.20, 0.14]) / 0.9996**2, rtol=1e-5)


@pytest.mark.parametrize("crs", [UTM, DEGREES])
def test_raster_and_polygons_agree_on_random_ground(tmp_path, crs):
    random = np.random.default_rng(1)
    values = np.kron(random.integers(0, 4, (20, 25), np.uint8), np.ones((3, 3), np.uint8))
    values[random.random(values.shape) < 0.1] = 5
    values[random.random(values.shape) < 0.05] = 255
    confidence = random.integers(0, 101, values.shape, np.uint8)
    pixel = 0.01 if crs == UTM else 0.622  # hectares: 111.41 m by 55.80 m in 60 degrees south
    sieved, found, fields = run(tmp_path, values, 4 * pixel, crs=crs, confidence=confidence)
    np.testing.assert_array_equal(sieved == 255, values == 255)
    assert (sieved != values).sum() > 100 and len(found) > 30
    assert shapely.is_valid(found).all() and any(polygon.interiors for polygon in found)
    left = np.full(values.shape, 255, np.uint8)
    for polygon, class_id, mean in zip(found, fields["class_id"], fields["confidence"], strict=True):
        inside = rasterio.features.geometry_mask([polygon], values.shape, TRANSFORMS[crs], invert=True)
        assert inside.sum() >= 4 and (left[inside] == 255).all()
        assert mean == pytest.approx(confidence[inside].mean(), abs=0.00501)
        left[inside] = class_id
    missing = (left == 255) & (sieved != 255)
    np.testing.assert_array_equal(left[~missing], sieved[~missing])
    left_out = rasterio.features.shapes(sieved, mask=missing, connectivity=4)
    assert all(shapely.geometry.shape(area).area < 4 for area, _ in left_out)


@pytest.mark.parametrize("crs", [UTM, DEGREES])
def test_hectares_are_those_on_the_ellipsoid(tmp_path, crs):
    """Also by another equal-area projection of the map's outline, in pieces of a pixel."""
    values = np.zeros((700, 2000), np.uint8)
    values[:, 1500:] = 1
    _, _, fields = run(tmp_path, values, 1, crs=crs)
    corners = shapely.get_coordinates(shapely.segmentize(shapely.box(0, 0, 2000, 700), 1)).T
    outline = shapely.Polygon(np.column_stack(reproject(crs, "EPSG:6933", *(TRANSFORMS[crs] * corners))))
    assert fields["hectares"].sum() == pytest.approx(outline.area / 1e4, rel=1e-5)


def test_the_unit_is_counted_in_pixels_at_the_map_s_centre(tmp_path):
    values = np.zeros((9, 9), np.uint8)
    values[4, 2:7] = 1
    # 111.41 m by 55.80 m: 0.6217 hectares at 60 degrees south, whatever the map's units.
    for minimum, classes in ((0.62 * 5, {0, 1}), (0.63 * 5, {0})):
        sieved, _, fields = run(tmp_path, values, minimum, crs=DEGREES)
        assert set(np.unique(sieved)) == classes == set(fields["class_id"])


def test_what_one_pass_cannot_merge_the_next_one_does(tmp_path):
    """A and B are each other's largest neighbour; only when C has gone to the background do they touch it."""
    values = drawn("0 0 0 0 0 0 0 0\n" * 4 + "9 9 9 9 9 9 3 9\n9 9 9 1 1 1 2 2\n9 9 9 1 1 9 2 2\n")
    sieved, found, fields = run(tmp_path, values, 0.08)
    assert set(np.unique(sieved)) == {0, 255}
    assert fields["class_id"].tolist() == [0] and len(found) == 1
    sieved, found, fields = run(tmp_path, values, 5)
    assert len(found) == 0 and list(fields) == ["class_id", "class_name", "hectares", "confidence"]
    np.testing.assert_array_equal(sieved == 255, values == 255)


def test_equal_input_gives_equal_bytes_and_looks_stay(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run(tmp_path / name, drawn(), 0.03)
    for name in ("areas.tif", "areas.tif.aux.xml", "areas.gpkg"):
        assert (tmp_path / "one/out" / name).read_bytes() == (tmp_path / "two/out" / name).read_bytes()
    assert len(list((tmp_path / "one/out").iterdir())) == 3
    with rasterio.open(tmp_path / "one/out/areas.tif") as file:
        assert file.tags()["SOURCE"] == "x" and file.tags()["MINIMUM_HECTARES"] == "0.03"
        assert file.tags()["CLASS_1"] == "Forest" and file.colormap(1)[1] == (*L1[1].colour, 255)


def test_ids_with_gaps(tmp_path):
    sieved, found, fields = run(tmp_path, drawn(), 0.03, classes=L3)
    np.testing.assert_array_equal(sieved, np.append(IDS, [255] * 251)[drawn(DRAWN.replace("2", "0"))])
    assert fields["class_id"].tolist() == [3, 15] and fields["class_name"].tolist() == ["Woodland", "Grassland"]
    assert len(found) == 2
    with rasterio.open(tmp_path / "out/areas.tif") as file:
        assert file.tags()["CLASS_15"] == "Grassland" and file.colormap(1)[39] == (*L3[4].colour, 255)
