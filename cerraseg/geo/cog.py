"""The map file: a Cloud-Optimized GeoTIFF written chunk by chunk, with colours, class names and overviews.

Empty ground costs next to nothing: a chunk that is never written is a hole in the file at every overview level.
GDAL's own overview builder visits holes too (six seconds per 10^9 pixels), so the levels are reduced here.
"""

import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.shutil import copy as raster_copy
from rasterio.windows import Window

from cerraseg.core.storage import explain_disk_errors
from cerraseg.core.taxonomy import LandCover
from cerraseg.geo.tiff_integrity import written

NO_DATA = 255
BLOCK = 512
"""Side of a stored block in pixels; a map that fits into one block has no overviews."""
CHUNK = 4 * BLOCK
"""Side of the piece that is held in memory at a time: 4 MB."""

Raster = NDArray[np.uint8]


class MapDraft:
    """A map under construction; :meth:`write` takes its chunks in any order, each one once."""

    def __init__(self, dataset: Any, class_count: int) -> None:
        self._dataset = dataset
        self.occupied: set[tuple[int, int]] = set()
        self.counts = np.zeros(class_count, np.int64)
        self.valid_pixels = 0

    def write(self, row: int, column: int, chunk: Raster) -> None:
        """Store ``chunk``, (height, width) or (bands, height, width) uint8 with sides of at most :data:`CHUNK`, as the
        ``row``-th and ``column``-th chunk counted from the upper-left corner; 255 is no data, in every band alike."""
        height, width = chunk.shape[-2:]
        layers = chunk.reshape(-1, height, width)
        self._dataset.write(layers, window=Window(column * CHUNK, row * CHUNK, width, height))
        self.occupied.add((row, column))
        self.valid_pixels += int(np.count_nonzero(layers[0] != NO_DATA))
        for value in range(len(self.counts)):
            self.counts[value] += np.count_nonzero(chunk == value)


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
) -> Iterator[MapDraft]:
    """Yield a draft to fill; when the block ends well, ``target`` is a complete Cloud-Optimized GeoTIFF.

    Bands of uint8 and ``shape`` (height, width) in pixels, no-data 255, blocks of 512 pixels, deflate. With ``classes``
    it is a class map of one band: colour table, ``CLASS_<id>`` tags, overviews by majority, and a sidecar
    ``<target>.aux.xml`` with the class names and pixel counts as GDAL and QGIS read them. Without, its ``bands`` are
    percentages, a name each: overviews by mean. ``tags`` are added to the file's metadata. ``threads`` compress (None:
    one a core).

    Everything is made in the hidden folder ``.<target name>.part`` and renamed, the map last: a killed run leaves at
    most that folder, which the next run clears. On an exception nothing is left. Raises :class:`StorageError` if the
    disk is full, also where GDAL says nothing of it.
    """
    work = target.with_name(f".{target.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    base, result, sidecar = work / "levels.tif", work / target.name, work / f"{target.name}.aux.xml"
    # The overviews lie in files beside the base level: a user's own READDIR setting must not hide them from GDAL.
    options = {"GDAL_CACHEMAX": 64, "GDAL_DISABLE_READDIR_ON_OPEN": "FALSE"}
    try:
        with explain_disk_errors(work), rasterio.Env(**options):
            work.mkdir(parents=True)
            count = 1 if classes else len(bands)
            with written(base), _create(base, shape, count, crs=crs, transform=transform) as dataset:
                _describe(dataset, classes, bands, tags or {})
                draft = MapDraft(dataset, len(classes or ()))
                yield draft
            _add_overviews(base, shape, draft.occupied, mean_of_four if classes is None else majority_of_four)
            with written(result):
                _copy_to_cog(base, result, predictor=classes is None, threads=threads)
            final_sidecar = target.with_name(sidecar.name)
            if classes is None:
                final_sidecar.unlink(missing_ok=True)
            else:
                ET.ElementTree(_sidecar(classes, draft.counts)).write(sidecar, encoding="utf-8")
                sidecar.replace(final_sidecar)
            result.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def majority_of_four(level: Raster) -> Raster:
    """Halve a class map: (H, W) → (⌈H/2⌉, ⌈W/2⌉), each pixel the most common valid value of the four below it.

    255 has no vote; a tie goes to the value that comes first in reading order."""
    a, b, c, d = _quarters(level)
    out = a.copy()
    for later in (b, c, d):
        _put(out, later, out == NO_DATA)
    _put(out, c, (c == d) & (c != NO_DATA))
    _put(out, b, ((b == c) | (b == d)) & (b != NO_DATA))
    _put(out, a, ((a == b) | (a == c) | (a == d)) & (a != NO_DATA))
    return out


def mean_of_four(level: Raster) -> Raster:
    """Halve a continuous map: (H, W) → (⌈H/2⌉, ⌈W/2⌉), each pixel the rounded mean of the valid ones below it."""
    total: NDArray[np.uint16] | int = 0
    count: NDArray[np.uint16] | int = 0
    for quarter in _quarters(level):
        valid = quarter != NO_DATA
        total = total + np.where(valid, quarter, 0).astype(np.uint16)
        count = count + valid.astype(np.uint16)
    mean = (total + count // 2) // np.maximum(count, 1)
    return np.where(count == 0, NO_DATA, mean).astype(np.uint8)


def _put(out: Raster, values: Raster, where: NDArray[np.bool_]) -> None:
    # out[where] = values[where], in whole-array operations: three times as fast as numpy.copyto with a mask.
    out ^= (out ^ values) & np.negative(where.view(np.uint8))


def _quarters(level: Raster) -> list[Raster]:
    height, width = level.shape
    if height % 2 or width % 2:
        level = np.pad(level, ((0, height % 2), (0, width % 2)), constant_values=NO_DATA)
    return [np.ascontiguousarray(level[row::2, column::2]) for row in (0, 1) for column in (0, 1)]


def _create(path: Path, shape: tuple[int, int], count: int, **georeference: Any) -> Any:
    options = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "sparse_ok": True, "bigtiff": "IF_SAFER"}
    size = {"height": shape[0], "width": shape[1], "count": count, "dtype": "uint8", "nodata": NO_DATA}
    return rasterio.open(path, "w", driver="GTiff", **size, **options, **georeference)


def _describe(dataset: Any, classes: Sequence[LandCover] | None, bands: Sequence[str], tags: Mapping[str, str]) -> None:
    dataset.update_tags(**{**tags, "AREA_OR_POINT": "Area"})
    if classes is None:
        for place, name in enumerate(bands, 1):
            dataset.set_band_description(place, f"{name} (%)")
            dataset.set_band_unit(place, "%")
        return
    dataset.set_band_description(1, "land cover")
    dataset.write_colormap(1, {c.id: (*c.colour, 255) for c in classes})
    dataset.update_tags(**{f"CLASS_{c.id}": c.name for c in classes})


def _add_overviews(
    base: Path, shape: tuple[int, int], occupied: set[tuple[int, int]], reduce: Callable[[Raster], Raster]
) -> None:
    # GDAL takes `x.ovr` as the half-size level of `x`, and so on down the chain.
    source = base
    while max(shape) > BLOCK:
        shape = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
        target = source.with_name(f"{source.name}.ovr")
        with (
            written(target),
            rasterio.open(source) as finer,
            _create(target, shape, finer.count, **_half_as_fine(finer)) as coarser,
        ):
            for row, column in sorted(occupied):
                top, left = row * CHUNK, column * CHUNK
                window = Window(left, top, min(CHUNK, finer.width - left), min(CHUNK, finer.height - top))
                half = np.stack([reduce(band) for band in finer.read(window=window)])
                coarser.write(half, window=Window(left // 2, top // 2, half.shape[2], half.shape[1]))
        occupied = {(row // 2, column // 2) for row, column in occupied}
        source = target


def _half_as_fine(dataset: Any) -> dict[str, Any]:
    a, b, c, d, e, f = dataset.transform[:6]
    return {"crs": dataset.crs, "transform": Affine(2 * a, 2 * b, c, 2 * d, 2 * e, f)}


def _copy_to_cog(base: Path, target: Path, *, predictor: bool, threads: int | None) -> None:
    raster_copy(
        base,
        target,
        driver="COG",
        COMPRESS="DEFLATE",
        # Differences of neighbours compress a smooth surface; between class ids they mean nothing.
        PREDICTOR="STANDARD" if predictor else "NO",
        BLOCKSIZE=BLOCK,
        OVERVIEWS="FORCE_USE_EXISTING",
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
    for index, land_cover in enumerate(classes):
        ET.SubElement(names, "Category").text = land_cover.name
        row = ET.SubElement(table, "Row", index=str(index))
        for cell in (land_cover.id, counts[index], land_cover.name, *land_cover.colour):
            ET.SubElement(row, "F").text = str(cell)
    ET.indent(root)
    return root
