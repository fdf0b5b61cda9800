"""Legends are read from CSV and QGIS styles with the ids, names and colours that stand there."""

import pytest

from cerraseg.config.legends import read_legend
from cerraseg.core.errors import ConfigError

RASTER = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.34.1-Prizren"><pipe><rasterrenderer type="paletted" band="1"><colorPalette>
<paletteEntry value="3" label="Woodland" color="#1a7d2f" alpha="255"/>
<paletteEntry value="15" label="" color="#ffd700" alpha="255"/>
</colorPalette></rasterrenderer></pipe></qgis>"""
VECTOR = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis><renderer-v2 type="categorizedSymbol" attr="code"><categories>
<category symbol="0" value="3" label="Woodland" type="integer" render="true"/>
<category symbol="1" value="24.0" label="Soy &amp; maize" type="double" render="true"/>
<category symbol="2" value="" label="" type="string" render="true"/>
</categories><symbols>
<symbol name="0" type="fill"><layer class="SimpleFill"><Option type="Map">
<Option name="outline_color" value="1,2,3,255" type="QString"/>
<Option name="color" value="26,125,47,255,rgb:0.1,0.49,0.18,1" type="QString"/></Option></layer></symbol>
<symbol name="1" type="fill"><layer class="SimpleFill"><prop k="color" v="255,215,0,255"/></layer></symbol>
<symbol name="2" type="fill"/>
</symbols></renderer-v2></qgis>"""
GROWING = "".join(f'<!ENTITY a{k + 1} "{f"&a{k};" * 10}">' for k in range(9))
BOMB = f'<!DOCTYPE qgis [<!ENTITY a0 "aaaa">{GROWING}]><qgis>&a9;</qgis>'
OUTSIDE = '<!DOCTYPE qgis [<!ENTITY a SYSTEM "file:///etc/passwd">]><qgis>&a;</qgis>'


@pytest.fixture
def legend(tmp_path):
    def write(name, text, **encoding):
        path = tmp_path / name
        path.write_text(text, **(encoding or {"encoding": "utf-8"}))
        return read_legend(path, "levels.l1.classes")

    return write


WOOD = {"id": 3, "name": "Woodland", "colour": "#1a7d2f"}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "a.csv",
            'id,name,abbreviation,colour,parent\n3,Woodland,,#1a7d2f,1\n15,"Soy, maize",SM,,2\n\n',
            [WOOD | {"parent": 1}, {"id": 15, "name": "Soy, maize", "abbreviation": "SM", "parent": 2}],
        ),
        ("a.csv", "\ufeffname;id\r\nÁgua;5\r\n", [{"id": 5, "name": "Água"}]),
        ("a.csv", "id,name\nsoy,Soy\n", [{"id": "soy", "name": "Soy"}]),
        ("a.qml", RASTER, [WOOD, {"id": 15, "name": "15", "colour": "#ffd700"}]),
        ("a.QML", VECTOR, [WOOD, {"id": 24, "name": "Soy & maize", "colour": "#ffd700"}]),
    ],
)
def test_each_format_gives_ids_names_and_colours(legend, name, text, expected):
    assert legend(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("a.csv", "id,name,color\n1,a,#000000\n", "did you mean 'colour'"),
        ("a.csv", "id,name\n1,a,b\n", "line 2: more cells"),
        ("a.qml", BOMB, "amplification"),
        ("a.qml", OUTSIDE, "undefined entity"),
        ("a.qml", "<qgis>", "cannot be read"),
        ("a.qml", '<qgis><renderer-v2 type="singleSymbol"/></qgis>', "neither a paletted"),
        ("a.txt", "3 26 125 47 255 Woodland\n", "neither CSV nor a style"),
        ("a.sld", "", "neither CSV nor a style"),
    ],
)
def test_what_is_no_legend_is_refused_with_the_file(legend, name, text, named):
    with pytest.raises(ConfigError, match=r"^levels\.l1\.classes: .*" + name) as caught:
        legend(name, text)
    assert named in str(caught.value)


def test_other_encodings_and_missing_files_are_refused(legend, tmp_path):
    with pytest.raises(ConfigError, match="UTF-8"):
        legend("a.csv", "id,name\n1,Água\n", encoding="latin-1")
    with pytest.raises(ConfigError, match="No such file"):
        read_legend(tmp_path / "none.csv", "x")
