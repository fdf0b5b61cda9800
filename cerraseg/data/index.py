"""The patch table: find the files of every patch, check them, read their headers and masks once.

Columns of the table, one row a patch, sorted by id as text:

===================  =============================================================================================
``id``               last ``_`` token of the file names
``row``              position in the packed arrays
``msi sar l1 l2``    paths of the files, for the layers that the data has
``edge_l1 edge_l2``  path of the edge mask of each level; empty: there is none, and edges are derived from the mask
``crs``              coordinate reference system, ``EPSG:n`` or WKT
``a b c d e f``      affine transform of the patch: x = a·column + b·row + c, y = d·column + e·row + f
``left … top``       bounds in units of the CRS
``l1_0 … l2_13``     labelled pixels of each class
``l1_ignored …``     pixels without a label (255)
``nonfinite``        NaN or infinite image values: 0, since a patch with any is rejected
``content``          :func:`checksum` of its files' pixels, by which packing knows that they are still those
===================  =============================================================================================
"""

import zlib
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.errors import CRSError, RasterioError

from cerraseg.core.layout import SIZE
from cerraseg.geo import rasters
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import LAYERS, available_layers, edge_layer, layer_folder, levels_of, patch_id
from cerraseg.core.logs import log, progress
from cerraseg.core.taxonomy import IGNORE, LEVELS, MODALITIES
from cerraseg.core.processes import process_map


GDAL = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""Options under which GDAL opens one of many files twice as fast: it would list the folder first."""

_FORMULA = ("=", "+", "-", "@")
_CHUNK = 64  # patches that a worker inspects at a time


def index(
    roots: Sequence[str | Path],
    table: str | Path,
    rejected: str | Path,
    *,
    on_bad_patch: Literal["exclude", "fail"] = "exclude",
    max_rejected: float = 0.01,
    threads: int = 4,
) -> None:
    """Write the patch table (Parquet) and the list of rejected patches (CSV: id, reason).

    Args:
        roots: folders in the CerraData-4MM layout; the layers that all of them have are used.
        table: patch table to write.
        rejected: CSV to write; it is written before an error about its content is raised.
        on_bad_patch: ``exclude`` leaves faulty patches out, ``fail`` stops.
        max_rejected: with ``exclude``, the largest share (0-1) of faulty patches to accept.
        threads: processes to read with, where there are patches enough.

    Raises:
        DataError: if there is nothing to index or more patches are faulty than allowed.
    """
    files = find(roots)
    layers = [layer for layer in LAYERS if any(layer in found for found in files.values())]
    chunks = _chunks(files)
    tables, faults = [], []
    for table_of_chunk, faults_of_chunk in progress(
        process_map(partial(_inspect_chunk, layers), chunks, threads), "index", total=len(chunks)
    ):
        tables.append(table_of_chunk)
        faults += faults_of_chunk
    with atomic_write(rejected) as temporary:
        cells = [[_harmless(cell) for cell in fault] for fault in faults]
        pd.DataFrame(cells, columns=["id", "reason"]).to_csv(temporary, index=False)
    _judge(faults, len(files), str(rejected), on_bad_patch, max_rejected)
    frame = pd.concat(tables, ignore_index=True)
    frame.insert(1, "row", np.arange(len(frame)))
    with atomic_write(table) as temporary:
        frame.to_parquet(temporary, index=False)
    log.info("%d patches with %s; %d coordinate systems", len(frame), ", ".join(layers), frame["crs"].nunique())
    for level in levels_of(layers):
        read = int((frame[edge_layer(level)] != "").sum())
        log.info("edges of %s: %d read, %d derived from the mask", level, read, len(frame) - read)
    _log_rejected(faults, str(rejected))


def find(roots: Sequence[str | Path]) -> dict[str, dict[str, Path]]:
    """Join the files of each patch by id: id → layer → path, ids sorted as text.

    Raises:
        DataError: if the roots share no usable layers or two files of a layer have the same id.
    """
    layers = available_layers(roots)
    if not layers & set(MODALITIES) or not layers & set(LEVELS):
        raise DataError(
            f"{', '.join(map(str, roots))}: found {', '.join(sorted(layers)) or 'no known folder'}; expected at least "
            "one of msi_images (or opt_images) and sar_images, and one of semantic_7c and semantic_14c, in every root"
        )
    files: dict[str, dict[str, Path]] = {}
    for root in roots:
        edges = [edge_layer(level) for level in levels_of(layers)]
        for layer in [*sorted(layers), *edges]:
            folder = layer_folder(root, layer)
            for path in sorted(folder.glob("*.tif"), key=str) if folder else []:
                if not path.name.isprintable():  # bytes that are not UTF-8 among them
                    raise DataError(f"{str(path)!r}: a name that is no text; expected letters and digits: rename it")
                id_ = patch_id(path)
                if layer in edges and id_ not in files:  # an edge mask alone makes no patch
                    continue
                known = files.setdefault(id_, {}).setdefault(layer, path)
                if known != path:
                    raise DataError(f"{known} and {path} have the same id {id_!r}; rename or move one of them")
    if not files:
        raise DataError(f"{', '.join(map(str, roots))}: the folders hold no .tif file; expected one a patch and layer")
    return dict(sorted(files.items()))


def _chunks(files: dict[str, dict[str, Path]]) -> list[list[tuple[str, dict[str, str]]]]:
    named = [(id_, {layer: str(path) for layer, path in found.items()}) for id_, found in files.items()]
    return [named[start : start + _CHUNK] for start in range(0, len(named), _CHUNK)]


def _inspect_chunk(
    layers: Sequence[str], patches: Sequence[tuple[str, dict[str, str]]]
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """The rows of the good patches; ids and faults of the others."""
    rows, faults = [], []
    with rasterio.Env(**GDAL):
        for id_, files in patches:
            try:
                rows.append(_inspect(id_, files, layers))
            except DataError as error:
                faults.append((id_, str(error)))
    return pd.DataFrame(rows), faults


def _harmless(cell: str) -> str:
    """A cell that a spreadsheet shows, and does not take for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _inspect(id_: str, files: dict[str, str], layers: Sequence[str]) -> dict[str, Any]:
    if _harmless(id_) != id_ or not id_.isprintable():
        raise DataError(f"its id {id_!r} would be a formula in a table; expected letters and digits: rename its files")
    if missing := [layer for layer in layers if layer not in files]:
        raise DataError(f"no {' and no '.join(missing)} file; expected one file a patch in every layer folder")
    row: dict[str, Any] = {"id": id_, **{layer: files[layer] for layer in layers}}
    first: dict[str, Any] = {}
    arrays = []
    for layer in layers:
        array, place = _read(files[layer], layer)
        arrays.append(array)
        if not first:
            first = place
            row |= place
        _check_place(files[layer], place, first)
        row |= _count(files[layer], layer, array) if layer in LEVELS else _finite(files[layer], array)
    for layer in map(edge_layer, levels_of(layers)):
        row[layer] = files.get(layer, "")
        arrays += [_edges(row[layer], layer, first)] if row[layer] else []
    return row | {"content": checksum(arrays)}


def checksum(arrays: Iterable[NDArray[Any]]) -> int:
    """CRC-32 of the pixels of a patch's files, as they were read: MSI, SAR, levels, edges, as far as there are any."""
    content = 0
    for array in arrays:
        content = zlib.crc32(array.data, content)
    return content


def _edges(path: str, layer: str, first: dict[str, Any]) -> NDArray[Any]:
    edges, place = _read(path, layer)
    _check_place(path, place, first)
    if _tally(edges, 2) is None:
        wrong = np.setdiff1d(edges, [0, 1, IGNORE])
        raise DataError(
            f"{path}: edge values {', '.join(map(str, wrong[:5]))}; expected 0 and 1, or {IGNORE} to ignore"
        )
    return edges


def _read(path: str, layer: str) -> tuple[NDArray[Any], dict[str, Any]]:
    bands = len(MODALITIES[layer]) if layer in MODALITIES else 1
    try:
        with rasters.open_raster(path) as source:
            if unlike := unlike_patch(source, bands):
                raise DataError(f"{path}: {unlike[0]} pixels; expected {unlike[1]}")
            array = source.read()
            crs, transform, bounds = source.crs and source.crs.to_string(), source.transform, source.bounds
    except (RasterioError, CRSError) as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch or write the file again") from None
    if crs is None:
        raise DataError(f"{path}: no coordinate reference system; expected a georeferenced file")
    place = {"crs": crs, **dict(zip("abcdef", transform[:6], strict=True)), **bounds._asdict()}
    if not (rasters.is_sound(transform) and np.isfinite(bounds).all()):
        raise DataError(f"{path}: the transform {transform[:6]}; expected finite numbers that give each pixel an area")
    return array, place


def unlike_patch(source: Any, bands: int) -> tuple[str, str] | None:
    """What pixels an open file declares, and what was expected, where it is no patch. No pixel is read."""
    if source.shape != (SIZE, SIZE) or source.count != bands:
        return f"{source.count} bands of {source.height} x {source.width}", f"{bands} of {SIZE} x {SIZE}"
    odd = next((dtype for dtype in source.dtypes if "complex" in dtype), None)
    return (odd, "real numbers") if odd else None


def _check_place(path: str, place: dict[str, Any], first: dict[str, Any]) -> None:
    if place["crs"] != first["crs"]:
        raise DataError(f"{path}: CRS {place['crs']}; expected {first['crs']} as in the patch's first file")
    pixel = max(abs(first["a"]), abs(first["b"]))
    off = max(abs(place[side] - first[side]) for side in ("left", "bottom", "right", "top")) / pixel
    if off > 1:
        raise DataError(f"{path}: lies {off:.1f} pixels off the patch's first file; expected the same ground")


def _count(path: str, level: str, mask: NDArray[Any]) -> dict[str, int]:
    classes = len(LEVELS[level])
    counts = _tally(mask, classes)
    if counts is None:
        wrong = np.setdiff1d(mask, [*range(classes), IGNORE])
        raise DataError(
            f"{path}: mask values {', '.join(map(str, wrong[:5]))}; expected 0 to {classes - 1}, or {IGNORE} to ignore"
        )
    return {**{f"{level}_{k}": int(counts[k]) for k in range(classes)}, f"{level}_ignored": int(counts[IGNORE])}


def _tally(mask: NDArray[Any], classes: int) -> NDArray[np.int64] | None:
    """Pixels of each value 0-255; None if there is a value that is neither a class nor 255."""
    with np.errstate(invalid="ignore"):
        ids = mask.astype(np.uint8)
    counts = np.bincount(ids.ravel(), minlength=IGNORE + 1)
    return None if counts[classes:IGNORE].any() or not np.array_equal(ids, mask) else counts


def _finite(path: str, image: NDArray[Any]) -> dict[str, int]:
    with np.errstate(over="ignore"):
        packed = image.astype(np.float32, copy=False)
    bad = image.size - int(np.count_nonzero(np.isfinite(packed)))
    if bad:
        raise DataError(f"{path}: {bad} NaN or infinite values; expected finite pixels only, as float32")
    return {"nonfinite": bad}


def _judge(faults: Sequence[tuple[str, str]], total: int, listing: str, on_bad_patch: str, allowed: float) -> None:
    share = len(faults) / total
    if faults and (on_bad_patch == "fail" or share > allowed or share == 1):
        limit = "none is allowed (on_bad_patch: fail)" if on_bad_patch == "fail" else f"max_rejected is {allowed:.2%}"
        raise DataError(
            f"{len(faults)} of {total} patches are bad ({share:.2%}), {limit}. All are listed in {listing}; "
            f"the first: {faults[0][0]}: {faults[0][1]}. Mend the files, or raise index.max_rejected"
        )


def _log_rejected(faults: Sequence[tuple[str, str]], listing: str) -> None:
    for id_, reason in faults[:20]:
        log.warning("left out patch %s: %s", id_, reason)
    if faults:
        log.warning("%d patches left out, listed with their reasons in %s", len(faults), listing)
