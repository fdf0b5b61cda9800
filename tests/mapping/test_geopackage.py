import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from cerraseg.core.taxonomy import LEVELS
from cerraseg.mapping.geopackage import write_geopackage

L1 = LEVELS["l1"]
UTM = rasterio.CRS.from_epsg(32722)


def batch(*ids: int):
    squares = np.array([shapely.box(i, 0, i + 1, 1) for i in ids], object)
    return squares, {"class_id": np.array(ids, np.int32)}


def rows(path: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_batches_become_one_layer_in_their_order(tmp_path: Path) -> None:
    write_geopackage(tmp_path / "a.gpkg", [batch(), batch(3, 1), batch(5)], crs=UTM, classes=L1)
    meta, _, wkb, (ids,) = pyogrio.raw.read(tmp_path / "a.gpkg", layer="land_cover")
    assert meta["crs"] == "EPSG:32722" and meta["geometry_type"] == "Polygon"
    assert ids.tolist() == [3, 1, 5]
    assert shapely.from_wkb(wkb).tolist() == [*batch(3, 1)[0], *batch(5)[0]]
    assert [path.name for path in tmp_path.iterdir()] == ["a.gpkg"]
    dates = rows(tmp_path / "a.gpkg", "SELECT last_change FROM gpkg_contents")
    assert dates == [("1970-01-01T00:00:00.000Z",)] * 2
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None


def test_default_style_has_the_class_colours(tmp_path: Path) -> None:
    write_geopackage(tmp_path / "a.gpkg", [batch(1)], crs=UTM, classes=L1)
    columns = "f_table_catalog, f_table_schema, f_table_name, f_geometry_column, useAsDefault, styleQML"
    ((*found, qml),) = rows(tmp_path / "a.gpkg", f"SELECT {columns} FROM layer_styles")
    (geometry,) = rows(tmp_path / "a.gpkg", "SELECT table_name, column_name FROM gpkg_geometry_columns")
    assert found == ["", "", *geometry, 1]
    renderer = ET.fromstring(qml).find("renderer-v2")
    assert renderer.attrib == {"type": "categorizedSymbol", "attr": "class_id"}
    for entry, category in zip(L1, renderer.iter("category"), strict=True):
        assert (category.get("value"), category.get("label")) == (str(entry.id), entry.name)
        colour = renderer.find(f"symbols/symbol[@name='{category.get('symbol')}']/layer/Option/Option[@name='color']")
        assert colour.get("value") == "{},{},{},255".format(*entry.colour)


def test_a_failure_leaves_the_older_file(tmp_path: Path) -> None:
    write_geopackage(tmp_path / "a.gpkg", [batch(1)], crs=UTM, classes=L1)
    before = (tmp_path / "a.gpkg").read_bytes()

    def failing():
        yield batch(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_geopackage(tmp_path / "a.gpkg", failing(), crs=UTM, classes=L1)
    assert (tmp_path / "a.gpkg").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.gpkg"]
