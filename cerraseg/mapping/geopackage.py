"""GeoPackages of mapped polygons: written in batches, equal bytes for equal input, class colours in QGIS."""

import sqlite3
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely

from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import LandCover
from cerraseg.geo.rasters import crs_text

LAYER = "land_cover"
_CHANGED = "1970-01-01T00:00:00.000Z"  # a required field; the true time would give different bytes for equal input


def write_geopackage(
    path: Path,
    batches: Iterable[tuple[npt.NDArray[np.object_], Mapping[str, npt.NDArray[Any]]]],
    *,
    crs: Any,
    classes: Sequence[LandCover],
) -> None:
    """Write polygons to the layer :data:`LAYER`, with the class colours as its default style in QGIS.

    Args:
        batches: polygons (shapely) and their fields, equally long; at least one, which may be empty.
        classes: legend of the field ``class_id``.
    """
    options = {
        "layer": LAYER,
        "driver": "GPKG",
        "geometry_type": "Polygon",
        "crs": crs_text(crs),
        "dataset_options": {"VERSION": "1.2"},  # GDAL before 3.7 warns of later ones
    }
    with atomic_write(path) as unfinished:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _CHANGED})
        try:
            for geometry, fields in batches:
                data = {"field_data": list(fields.values()), "fields": list(fields)}
                wkb = shapely.to_wkb(geometry)
                pyogrio.raw.write(unfinished, geometry=wkb, **data, append=unfinished.exists(), **options)
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
        with closing(sqlite3.connect(unfinished)) as connection, connection:
            _add_style(connection, classes)


def _add_style(connection: sqlite3.Connection, classes: Sequence[LandCover]) -> None:
    connection.execute(
        'CREATE TABLE layer_styles ("id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "f_table_catalog" TEXT(256), '
        '"f_table_schema" TEXT(256), "f_table_name" TEXT(256), "f_geometry_column" TEXT(256), "styleName" TEXT(30), '
        '"styleQML" TEXT, "styleSLD" TEXT, "useAsDefault" BOOLEAN, "description" TEXT, "owner" TEXT(30), '
        '"ui" TEXT(30), "update_time" DATETIME)'
    )
    connection.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change) "
        "VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?)",
        (_CHANGED,),
    )
    connection.execute(
        "INSERT INTO layer_styles VALUES (1, '', '', ?, 'geom', ?, ?, '', 1, 'Classes by colour', '', NULL, ?)",
        (LAYER, LAYER, _qml(classes), _CHANGED),
    )


def _qml(classes: Sequence[LandCover]) -> str:
    """QGIS's style: one category per class, filled, without an outline."""
    root = ET.Element("qgis", styleCategories="Symbology")
    renderer = ET.SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class_id")
    categories, symbols = ET.SubElement(renderer, "categories"), ET.SubElement(renderer, "symbols")
    for entry in classes:
        key = str(entry.id)
        ET.SubElement(categories, "category", symbol=key, value=key, type="integer", label=entry.name, render="true")
        symbol = ET.SubElement(symbols, "symbol", name=key, type="fill", alpha="1")
        layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1"})
        looks = ET.SubElement(layer, "Option", type="Map")
        red, green, blue = entry.colour
        for name, value in (("color", f"{red},{green},{blue},255"), ("style", "solid"), ("outline_style", "no")):
            ET.SubElement(looks, "Option", name=name, type="QString", value=value)
    return ET.tostring(root, encoding="unicode")
