"""Class and percentage maps as Cloud-Optimized GeoTIFFs, written chunk by chunk, with colours and class names."""

import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.shutil import copy as raster_copy
from rasterio.windows import Window

from cerraseg.core.errors import DataError
from cerraseg.core.storage import explain_disk_errors
from cerraseg.core.taxonomy import LandCover, Legend, id_table
from cerraseg.geo import rasters
from cerraseg.geo.rasters import check_written, checksum

NO_DATA = 255
BLOCK = 512
"""Side of a stored block in pixels; a map that fits into one block has no overviews."""
CHUNK = 4 * BLOCK
"""Side in pixels of the piece that is held in memory at a time: 4 MB."""

Raster = NDArray[np.uint8]


class MapDraft:
    """A map under construction; :meth:`write` takes its chunks in any order, each one once."""

    def __init__(self, dataset: Any, classes: Sequence[LandCover] | None) -> None:
        self._dataset = dataset
        self._ids = id_table(classes) if classes else None
        self.checksums: dict[Window, int] = {}  # window of each chunk → checksum of its pixels
        self.counts = np.zeros(NO_DATA + 1, np.int64)  # of each value given for the first band, in the chunks so far

    def write(self, row: int, column: int, chunk: Raster) -> None:
        """Store a chunk (height, width) or (bands, height, width) with sides of at most :data:`CHUNK`; 255 is no data.

        Its ``row`` and ``column`` are counted in chunks from the upper-left corner. Of a class map, it holds positions
        in the legend; the file gets their ids.
        """
        height, width = chunk.shape[-2:]
        given = chunk.reshape(-1, height, width)
        layers = given if self._ids is None else self._ids[given]
        window = Window(column * CHUNK, row * CHUNK, width, height)
        self._dataset.write(layers, window=window)
        self.checksums[window] = checksum(layers)
        self.counts += np.bincount(given[0].ravel(), minlength=len(self.counts))


@contextmanager
def new_map(
    target: Path,
    *,
    shape: tuple[int, int],
    crs: Any,
    transform: Any,
    classes: Sequence[LandCover] | None,
    bands: Sequence[str] = ("confidence",),
    tags: Mapping[str, str] | None = None,
    threads: int | None = None,
    unit: str = "%",
) -> Iterator[MapDraft]:
    """Yield a draft to fill; when the block ends without an error, ``target`` is a complete Cloud-Optimized GeoTIFF.

    The file has bands of uint8, no-data 255, blocks of 512 pixels and deflate compression. Chunks that are never
    written take no room in it. A killed run leaves at most the hidden folder ``.<target name>.part``.

    Args:
        target: file to write.
        shape: (height, width) in pixels.
        crs: coordinate reference system.
        transform: affine transform of the pixels.
        classes: legend of a class map of one band, which gets a colour table, tags ``CLASS_<id>``, overviews by
            majority and a sidecar ``<target>.aux.xml`` with class names and pixel counts as GDAL and QGIS read them.
            None: the bands are numbers, with overviews by mean.
        bands: name of each band of a map of numbers.
        tags: further metadata of the file.
        threads: threads that compress; None: one per core.
        unit: of numbers.

    Raises:
        StorageError: if the disk is full, also where GDAL reports nothing.
    """
    work = target.with_name(f".{target.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    profile = {"driver": "GTiff", "count": 1 if classes else len(bands), "dtype": "uint8", "nodata": NO_DATA}
    profile |= {"height": shape[0], "width": shape[1], "crs": crs, "transform": transform}
    profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "sparse_ok": True, "bigtiff": "IF_SAFER"}
    base, result, sidecar = work / "base.tif", work / target.name, work / f"{target.name}.aux.xml"
    try:
        with explain_disk_errors(work), rasterio.Env(GDAL_CACHEMAX=64):
            work.mkdir(parents=True)
            with rasterio.open(base, "w", **profile) as dataset:
                _describe(dataset, classes, bands, tags or {}, unit)
                draft = MapDraft(dataset, classes)
                yield draft
            _copy_to_cog(base, result, of_classes=classes is not None, threads=threads)
            check_written(result, draft.checksums)
            final_sidecar = target.with_name(sidecar.name)
            if classes is None:
                final_sidecar.unlink(missing_ok=True)
            else:
                ET.ElementTree(_sidecar(classes, draft.counts[: len(classes)])).write(sidecar, encoding="utf-8")
                sidecar.replace(final_sidecar)
            result.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def read_legend(path: Path) -> Legend:
    """Return the legend of a class map that :func:`new_map` wrote: ids, names and colours; abbreviations are the ids.

    Raises:
        DataError: if the file cannot be read or has no legend.
    """
    with rasters.open_raster(path) as file:
        names = {
            int(key[6:]): name for key, name in file.tags().items() if key.startswith("CLASS_") and key[6:].isdigit()
        }
        colours = file.colormap(1) if names else {}
    if not names:
        raise DataError(f"{path}: no legend; expected a class map of CerraSeg, whose tags CLASS_<id> name its classes")
    return tuple(LandCover(id_, str(id_), names[id_], colours[id_][:3]) for id_ in sorted(names))


def _describe(
    dataset: Any, classes: Sequence[LandCover] | None, bands: Sequence[str], tags: Mapping[str, str], unit: str
) -> None:
    dataset.update_tags(**{**tags, "AREA_OR_POINT": "Area"})
    if classes is None:
        for place, name in enumerate(bands, 1):
            dataset.set_band_description(place, f"{name} ({unit})" if unit else name)
            dataset.set_band_unit(place, unit)
        return
    dataset.set_band_description(1, "land cover")
    dataset.write_colormap(1, {c.id: (*c.colour, 255) for c in classes})
    dataset.update_tags(**{f"CLASS_{c.id}": c.name for c in classes})


def _copy_to_cog(base: Path, target: Path, *, of_classes: bool, threads: int | None) -> None:
    raster_copy(
        base,
        target,
        driver="COG",
        COMPRESS="DEFLATE",
        # Differences of neighbours compress a smooth surface; between class ids they mean nothing.
        PREDICTOR="NO" if of_classes else "STANDARD",
        OVERVIEW_RESAMPLING="MODE" if of_classes else "AVERAGE",
        BLOCKSIZE=BLOCK,
        SPARSE_OK="TRUE",
        BIGTIFF="IF_SAFER",
        NUM_THREADS=threads or "ALL_CPUS",
    )


def _sidecar(classes: Sequence[LandCover], counts: NDArray[np.int64]) -> ET.Element:
    # GDAL's PAM format. Types: 0 integer, 1 real, 2 text. Usages: 1 pixel count, 2 name, 5 value, 6-8 red, green, blue.
    count_type = 0 if counts.max() < 2**31 else 1
    fields = [
        ("Value", 0, 5),
        ("Count", count_type, 1),
        ("Class", 2, 2),
        ("Red", 0, 6),
        ("Green", 0, 7),
        ("Blue", 0, 8),
    ]
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = ET.SubElement(band, "CategoryNames")
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(fields):
        field = ET.SubElement(table, "FieldDefn", index=str(index))
        for key, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(field, key).text = str(value)
    by_id = {land_cover.id: land_cover.name for land_cover in classes}
    for value in range(max(by_id) + 1):  # the place of a name in the list is the pixel value that it stands for
        ET.SubElement(names, "Category").text = by_id.get(value, "")
    for index, land_cover in enumerate(classes):
        row = ET.SubElement(table, "Row", index=str(index))
        for cell in (land_cover.id, counts[index], land_cover.name, *land_cover.colour):
            ET.SubElement(row, "F").text = str(cell)
    ET.indent(root)
    return root
