"""Labels of rasters, polygons and points come out as positions in the legend, pixel by pixel as rasterio has them."""

import logging
from collections import Counter

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.transform import Affine, from_origin
from rasterio.warp import Resampling, reproject, transform
from rasterio.windows import Window

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError, LegendError
from cerraseg.data.labels import open_labels
from cerraseg.geo.grids import Grid

LEVEL = Dataset.of(
    {
        "name": "My region",
        "patch_size": 64,
        "sensors": {"msi": {"bands": ["B02"]}},
        "levels": {
            "l1": {
                "classes": [
                    {"id": 3, "name": "Woodland", "abbreviation": "Wo"},
                    {"id": 15, "name": "Soy"},
                    {"id": 39, "name": "Water"},
                ],
                "ignore": [0],
            }
        },
    }
).levels["l1"]
UTM = CRS.from_epsg(32722)
GRID = Grid(UTM, from_origin(600000, 8300000, 10, 10), (80, 100))
WHOLE = Window(0, 0, 100, 80)


def box(left, top, right, bottom):
    """A rectangle in pixels of the grid."""
    return shapely.box(*(GRID.transform * (left, bottom)), *(GRID.transform * (right, top)))


def write(path, shapes, values, *, crs="EPSG:32722", field="crop", kind="Unknown", **options):
    shapes, values = np.array(shapes, object), np.array(values)
    columns = {"field_data": [values], "fields": [field]}
    pyogrio.raw.write(path, geometry=shapely.to_wkb(shapes), **columns, geometry_type=kind, crs=crs, **options)
    return path


def entry(path, field="crop", layer=None, **classes):
    return {"file": str(path), "layer": layer, "field": field, "classes": classes}


def read(labels, grid=GRID, window=WHOLE):
    with open_labels(labels, LEVEL, grid) as opened:
        return opened(window)


def raster(path, values, transform=GRID.transform, crs=UTM, **options):
    height, width = values.shape[-2:]
    size = {"height": height, "width": width, "count": values.size // (height * width)}
    with rasterio.open(path, "w", dtype=values.dtype, crs=crs, transform=transform, **size, **options) as file:
        file.write(values.reshape(-1, height, width))
    return entry(path, field=None)


def test_polygons_are_those_of_rasterio_in_every_window(tmp_path, caplog):
    rng = np.random.default_rng(1)
    centres = [GRID.transform * (x + 5.3, y + 5.7) for y in range(0, 80, 20) for x in range(0, 100, 20)]
    shapes = [shapely.Point(centre).buffer(rng.uniform(30, 95)) for centre in centres]
    shapes[3] = shapely.Point(centres[3]).buffer(90, quad_segs=400)  # large: it is cut to each window
    shapes[4] = shapely.MultiPolygon([shapes[4], shapely.Point(GRID.transform * (70.3, 70.2)).buffer(20)])
    positions = rng.integers(0, 3, len(shapes))
    path = write(tmp_path / "a.gpkg", shapes, [["soy", "wood", "lake"][k] for k in positions], layer="fields")
    expected = rasterize(zip(shapes, positions, strict=True), (80, 100), fill=255, transform=GRID.transform)
    owners = rasterize(zip(shapes, range(1, 1 + len(shapes)), strict=True), (80, 100), transform=GRID.transform)
    found = {"soy": 3, "wood": 15, "lake": 39}
    with open_labels(entry(path, layer="fields", **found), LEVEL, GRID) as labels:
        assert (labels(WHOLE)[0] == expected).all() and (expected != 255).sum() > 2000
        for window in (Window(column, row, 25, 16) for row in range(0, 80, 16) for column in range(0, 100, 25)):
            rows, columns = window.toslices()
            positions, features = labels(window)
            assert (positions == expected[rows, columns]).all()
            assert features == sorted({*owners[rows, columns].flat} - {0})  # ids of a GeoPackage: from 1
    assert "polygons of different classes" not in caplog.text


def test_layer_on_another_system_is_brought_to_the_grid(tmp_path):
    shape = box(10, 20, 40, 50)
    degrees = shapely.transform(shape, lambda xy: np.stack(transform(UTM, "EPSG:4326", *xy.T), axis=1))
    for name in ("a.geojson", "a.fgb"):
        positions, features = read(entry(write(tmp_path / name, [degrees], ["Soy"], crs="EPSG:4326", kind="Polygon")))
        assert (positions[20:50, 10:40] == 1).all() and (positions != 255).sum() == 900 and len(features) == 1


@pytest.mark.parametrize(
    ("values", "positions"),
    [
        ([3, 15, 39, 0], [0, 1, 2, 255]),
        ([15.0, 39.0, np.nan, 3.0], [1, 2, 255, 0]),
        (["Soy", "Wo", "39", " Water "], [1, 0, 2, 2]),
        (np.array(["Soy", None, "", "255"], object), [1, 255, 255, 255]),
    ],
)
def test_values_are_ids_names_or_abbreviations(tmp_path, values, positions):
    shapes = [box(10 * k, 0, 10 * k + 10, 10) for k in range(4)]
    found, _ = read(entry(write(tmp_path / "a.gpkg", shapes, values)))
    assert found[5, 5:40:10].tolist() == positions


def test_classes_alone_count_where_they_are_given(tmp_path):
    path = write(tmp_path / "a.gpkg", [box(0, 0, 9, 9), box(10, 0, 19, 9), box(20, 0, 29, 9)], [1, 2, 3])
    assert read(entry(path, **{"1": 39, "2": 255, "3": 0}))[0][5, [5, 15, 25]].tolist() == [2, 255, 255]
    with pytest.raises(DataError, match=r"'1' \(1\), '2' \(1\)"):
        read(entry(path, **{"3": 3}))


def test_unknown_values_are_listed_with_counts_and_the_remedy(tmp_path):
    shapes = [box(k, 0, k + 1, 1) for k in range(6)]
    path = write(tmp_path / "a.gpkg", shapes, ["maize", "rice", "maize", "Soy", "maize", "soy"])
    with pytest.raises(DataError, match=r"field crop .* 'maize' \(3\), 'rice' \(1\), 'soy' \(1\); .*classes") as caught:
        read(entry(path))
    assert "15 Soy" in str(caught.value)


def test_points_label_their_pixel(tmp_path):
    places = [GRID.transform * place for place in ((3.2, 4.9), (3.7, 4.1), (50.5, 60.5))]
    shapes = [*map(shapely.Point, places), shapely.MultiPoint([GRID.transform * (99.9, 79.9)])]
    positions, features = read(entry(write(tmp_path / "a.gpkg", shapes, [3, 3, 15, 39])))
    assert (positions[4, 3], positions[60, 50], positions[79, 99]) == (0, 1, 2)
    assert (positions != 255).sum() == 3 and features == [1, 2, 3, 4]


def test_pixels_of_contradicting_polygons_have_no_label_and_are_counted(tmp_path, caplog):
    shapes = [box(0, 0, 20, 20), box(10, 10, 30, 30), box(15, 0, 20, 5)]
    path = write(tmp_path / "a.gpkg", shapes, [3, 15, 3])
    with caplog.at_level(logging.WARNING, "cerraseg"), open_labels(entry(path), LEVEL, GRID) as labels:
        positions, features = labels(WHOLE)
    assert (positions[10:20, 10:20] == 255).all() and (positions[:5, 15:20] == 0).all()
    assert (positions == 0).sum() == (positions == 1).sum() == 300 and features == [1, 2, 3]
    assert "100 pixels lie in polygons of different classes" in caplog.text


def test_polygons_on_both_sides_of_the_antimeridian_are_labelled(tmp_path):
    grid = Grid(CRS.from_epsg(32701), from_origin(165000, 8000000, 100, 100), (200, 400))
    west = shapely.box(179.7, -18.2, 180, -18.1)
    east = shapely.box(-180, -18.2, -179.9, -18.1)
    path = write(tmp_path / "a.gpkg", [west, east], [3, 15], crs="EPSG:4326")
    positions, features = read(entry(path), grid, Window(0, 0, 400, 200))
    x, y = transform("EPSG:4326", grid.crs, [179.9, -179.95], [-18.15, -18.15])
    pixels = [~grid.transform * place for place in zip(x, y, strict=True)]
    assert [positions[int(row), int(column)] for column, row in pixels] == [0, 1] and features == [1, 2]
    degrees = Grid(CRS.from_epsg(4326), from_origin(179.6, -18, 0.01, 0.01), (40, 60))
    positions, _ = read(entry(path), degrees, Window(0, 0, 60, 40))
    assert (positions[10:20, 10:40] == 0).all() and (positions[10:20, 40:50] == 1).all()
    assert (positions != 255).sum() == 400


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"field": "crp"}, "did you mean 'crop'"),
        ({"layer": "feelds"}, "no layer 'feelds'; did you mean 'fields'"),
        ({"file": "none.gpkg"}, "cannot be read"),
    ],
)
def test_missing_fields_layers_and_files_are_refused(tmp_path, change, named):
    path = write(tmp_path / "a.gpkg", [box(0, 0, 1, 1)], [3], layer="fields")
    with pytest.raises(DataError) as caught:
        read(entry(path) | change)
    assert named in str(caught.value)


def test_lines_other_places_and_no_system_are_refused(tmp_path):
    with pytest.raises(DataError, match="1 features are no polygons"):
        read(entry(write(tmp_path / "a.gpkg", [box(0, 0, 1, 1).exterior], [3])))
    with pytest.raises(DataError, match=r"lies on it"):
        read(entry(write(tmp_path / "b.gpkg", [box(500, 0, 510, 10)], [3])))
    with pytest.raises(DataError, match=r"coordinate reference system"), pytest.warns(UserWarning):
        read(entry(write(tmp_path / "c.shp", [box(0, 0, 1, 1)], [3], crs=None, kind="Polygon")))


IDS = np.random.default_rng(2).choice(np.array([0, 3, 15, 39, 255], np.uint8), (80, 100))
POSITIONS = LEVEL.positions(IDS)


def test_raster_of_ids_on_the_grid(tmp_path):
    positions, features = read(raster(tmp_path / "a.tif", IDS), window=Window(10, 20, 30, 40))
    assert (positions == POSITIONS[20:60, 10:40]).all() and features == []
    assert np.bincount(positions.ravel(), minlength=256)[[0, 1, 2, 255]].min() > 100


def test_nodata_and_alpha_of_a_raster_are_no_labels(tmp_path):
    without = np.where(IDS == 15, np.uint8(255), POSITIONS)
    assert (read(raster(tmp_path / "a.tif", IDS, nodata=15))[0] == without).all()
    values = np.where(IDS == 15, np.nan, IDS).astype(np.float32)
    assert (read(raster(tmp_path / "b.tif", values, nodata=np.nan))[0] == without).all()
    with_alpha = np.stack([IDS, np.where(IDS == 15, 0, 255).astype(np.uint8)])
    assert (read(raster(tmp_path / "c.tif", with_alpha, alpha="yes"))[0] == without).all()


def test_raster_on_another_grid_gives_the_nearest_value_and_nothing_beside_it(tmp_path):
    turned = Affine(20, 0, 600105, 0, 20, 8299305)  # south-up
    values = IDS[:30, :40]
    expected = np.full((80, 100), 255, np.uint8)
    reproject(
        values,
        expected,
        src_transform=turned,
        src_crs=UTM,
        dst_transform=GRID.transform,
        dst_crs=UTM,
        resampling=Resampling.nearest,
        init_dest_nodata=False,
    )
    positions, _ = read(raster(tmp_path / "a.tif", values, turned))
    assert (positions == LEVEL.positions(expected)).all()
    assert (positions[:, :9] == 255).all() and (positions[:, 95:] == 255).all() and (positions == 2).sum() > 100


def test_values_of_a_raster_beyond_8_bit_are_recoded(tmp_path):
    values = np.where(IDS == 3, 1003, np.where(IDS == 15, -5, 77)).astype(np.int16)
    labels = raster(tmp_path / "a.tif", values)
    positions, _ = read(labels | {"classes": {"1003": 39, "-5": 255, "77": 3}})
    assert (positions == np.where(IDS == 3, 2, np.where(IDS == 15, 255, 0))).all()
    for classes, named in (({}, "those of l1, 3, 15, 39, or 0, 255"), ({"1003": 39}, "those of l1, 1003, or 0, 255")):
        with pytest.raises(LegendError, match=named) as caught:
            read(labels | {"classes": classes})
        assert caught.value.level == "l1" and caught.value.values == Counter(values.ravel().tolist())


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (np.zeros((7, 80, 100), np.uint8), {}),
        (np.zeros((80, 100), np.complex64), {}),
        (IDS, {"crs": None}),
    ],
)
def test_rasters_that_are_no_masks_are_refused(tmp_path, values, options):
    with pytest.raises(DataError, match=r"a\.tif"):
        read(raster(tmp_path / "a.tif", values, **options))
