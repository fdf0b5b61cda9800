import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from region import L3
from scenes import CERRADATA

from cerraseg.core.taxonomy import Legend
from cerraseg.mapping.geopackage import write_geopackage

L1 = CERRADATA.classes("l1")


def batch(*ids: int):
    squares = np.array([shapely.box(i, 0, i + 1, 1) for i in ids], object)
    return squares, {"class_id": np.array(ids, np.int32)}


@pytest.mark.parametrize("classes", [L1, L3])
def test_batches_become_one_layer_in_their_order_with_the_class_colours(tmp_path: Path, classes: Legend) -> None:
    path = tmp_path / "a.gpkg"
    write_geopackage(path, [batch(), batch(3, 1), batch(5)], crs=rasterio.CRS.from_epsg(32722), classes=classes)
    meta, _, wkb, (ids,) = pyogrio.raw.read(path, layer="land_cover")
    assert meta["crs"] == "EPSG:32722" and meta["geometry_type"] == "Polygon"
    assert ids.tolist() == [3, 1, 5]
    assert shapely.from_wkb(wkb).tolist() == [*batch(3, 1)[0], *batch(5)[0]]
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None
    with closing(sqlite3.connect(path)) as connection:
        dates = connection.execute("SELECT DISTINCT last_change FROM gpkg_contents").fetchall()
        layer = connection.execute("SELECT table_name, column_name FROM gpkg_geometry_columns").fetchone()
        columns = "f_table_catalog, f_table_schema, f_table_name, f_geometry_column, useAsDefault, styleQML"
        *style, qml = connection.execute(f"SELECT {columns} FROM layer_styles").fetchone()
    assert dates == [("1970-01-01T00:00:00.000Z",)] and style == ["", "", *layer, 1]
    renderer = ET.fromstring(qml).find("renderer-v2")
    assert renderer.attrib == {"type": "categorizedSymbol", "attr": "class_id"}
    for entry, category in zip(classes, renderer.iter("category"), strict=True):
        assert (category.get("value"), category.get("label")) == (str(entry.id), entry.name)
        colour = renderer.find(f"symbols/symbol[@name='{category.get('symbol')}']/layer/Option/Option[@name='color']")
        assert colour.get("value") == "{},{},{},255".format(*entry.colour)
