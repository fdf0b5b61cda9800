"""Virtual rasters (VRT): the files below one, and those by which GDAL is told where a raster holds data."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, unescape

import numpy as np
from rasterio.windows import Window

from cerraseg.geo.grids import Grid

_TYPES = {"uint8": "Byte", "uint16": "UInt16", "float32": "Float32"}
_SOURCE = re.compile(r"<Source(?:Filename|Dataset)([^>]*)>([^<]+)<")


def files_below(path: Path) -> list[Path]:
    """Return a raster's file, the files that it leads to as a VRT, and the masks and headers beside them."""
    found, todo = {path.resolve(): path}, [path]
    while todo:
        file = todo.pop()
        beside = [file.with_name(file.name + ".msk"), file.with_name(file.name + ".hdr"), file.with_suffix(".hdr")]
        near = [*_sources(file), *(other for other in beside if other.is_file())]
        new = {other.resolve(): other for other in near if other.resolve() not in found}
        found |= new
        todo += new.values()
    return list(found.values())


def _sources(path: Path) -> list[Path]:
    if path.suffix.lower() != ".vrt" or not path.is_file():
        return []
    named = _SOURCE.findall(path.read_text(encoding="utf-8", errors="replace"))
    return [(path.parent if 'relativeToVRT="1"' in options else Path()) / unescape(name) for options, name in named]


def mosaic(grid: Grid, parts: Mapping[str, Window], like: Any, digest: str, offset: float = 0.0) -> str:
    """Return a VRT, as XML, that shows rasters of disjoint windows of a grid as one.

    Args:
        parts: path of each raster, relative to the VRT → its window.
        like: one of them, open: all have its bands, types and value without data.
        digest: of their pixels; it stands in the metadata, so that the VRT changes with them.
        offset: that the VRT declares.
    """
    height, width = grid.shape
    a, b, c, d, e, f = grid.transform[:6]
    bands = ""
    for number, (dtype, name) in enumerate(zip(like.dtypes, like.descriptions, strict=True), 1):
        places = "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{escape(file)}</SourceFilename><SourceBand>{number}'
            f'</SourceBand><SrcRect xOff="0" yOff="0" xSize="{part.width}" ySize="{part.height}"/><DstRect '
            f'xOff="{part.col_off}" yOff="{part.row_off}" xSize="{part.width}" ySize="{part.height}"/></SimpleSource>'
            for file, part in parts.items()
        )
        added = f"<Offset>{offset!r}</Offset>" if offset else ""
        nodata = "" if like.nodata is None else f"<NoDataValue>{like.nodata!r}</NoDataValue>"
        bands += (
            f'<VRTRasterBand dataType="{_TYPES[dtype]}" band="{number}"><Description>{escape(name or "")}</Description>'
            f"{nodata}{added}{places}</VRTRasterBand>"
        )
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{escape(grid.crs.to_wkt())}</SRS>'
        f"<GeoTransform>{', '.join(map(repr, (c, a, b, f, d, e)))}</GeoTransform>"
        f'<Metadata><MDI key="SHA256">{digest}</MDI></Metadata>{bands}</VRTDataset>'
    )


def cleaned(
    dataset: Any,
    indexes: Sequence[int],
    *,
    masked: bool,
    nodata: Sequence[float | None],
    extra: float | None,
    east: float,
) -> str:
    """Return a VRT, as XML, of bands of an open raster in floating-point numbers, NaN wherever they are no data.

    Args:
        indexes: numbers, from 1, of the bands.
        masked: whether its masks or alpha band count.
        nodata, extra: value without data of each of the bands, and a further one of all.
        east: by how much to move it.
    """
    exact = all(np.can_cast(dataset.dtypes[index - 1], "float32") for index in indexes)
    steps = [["<UseMaskBand>true</UseMaskBand>"] * len(indexes)] if masked else []
    steps.append(["" if value is None or np.isnan(value) else f"<NODATA>{value!r}</NODATA>" for value in nodata])
    steps += [] if extra is None else [[f"<NODATA>{float(extra)!r}</NODATA>"] * len(indexes)]
    inline = dataset.name.startswith("<VRTDataset")
    source, numbers = dataset.name if inline else str(Path(dataset.name).absolute()), list(indexes)
    for step in steps:
        source = _layer(dataset, source, numbers, step, "Float32" if exact else "Float64", east)
        numbers = list(range(1, len(indexes) + 1))
    return source


def _layer(dataset: Any, source: str, numbers: Sequence[int], options: Sequence[str], dtype: str, east: float) -> str:
    bands = "".join(
        f'<VRTRasterBand dataType="{dtype}" band="{place}"><NoDataValue>nan</NoDataValue><ComplexSource>'
        f'<SourceFilename relativeToVRT="0">{escape(source)}</SourceFilename><SourceBand>{number}</SourceBand>{option}'
        "</ComplexSource></VRTRasterBand>"
        for place, (number, option) in enumerate(zip(numbers, options, strict=True), 1)
    )
    a, b, c, d, e, f = dataset.transform[:6]
    transform = ", ".join(map(repr, (c + east, a, b, f, d, e)))
    return (
        f'<VRTDataset rasterXSize="{dataset.width}" rasterYSize="{dataset.height}">'
        f"<SRS>{escape(dataset.crs.to_wkt())}</SRS><GeoTransform>{transform}</GeoTransform>{bands}</VRTDataset>"
    )
