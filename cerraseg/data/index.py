"""The patch table: find the files of each patch, check them, and count the pixels of each class.

Columns of the table, one row per patch, sorted by id as text, which is the order of the packed arrays:

===================  =============================================================================================
``id``               last ``_`` token of the file names
``msi sar l1 l2``    paths of the files, for the layers that the data has
``edge_l1 edge_l2``  path of the edge mask of each level; empty: there is none, and edges are derived from the mask
``crs``              coordinate reference system, ``EPSG:n`` or WKT
``a b c d e f``      affine transform of the patch: x = a·column + b·row + c, y = d·column + e·row + f
``left … top``       bounds in units of the CRS
``l1_0 … l2_13``     labelled pixels of each class
``content``          :func:`cerraseg.data.reader.checksum` of the files' pixels, which packing compares
===================  =============================================================================================
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import LAYERS, available_layers, edge_layer, layer_folder, levels_of, patch_id
from cerraseg.core.logs import log, progress
from cerraseg.core.processes import process_map
from cerraseg.core.taxonomy import IGNORE, LEVELS, MODALITIES
from cerraseg.data.reader import GDAL, checksum, open_layer
from cerraseg.geo import rasters

_FORMULA = ("=", "+", "-", "@")
_CHUNK = 64  # patches that a worker inspects at a time


def write_patch_table(
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
    files = find_patches(roots)
    layers = [layer for layer in LAYERS if any(layer in found for found in files.values())]
    named = [(id_, {layer: str(path) for layer, path in found.items()}) for id_, found in files.items()]
    chunks = [named[start : start + _CHUNK] for start in range(0, len(named), _CHUNK)]
    tables, faults = [], []
    inspected = process_map(partial(_inspect_chunk, layers), chunks, threads)
    for table_of_chunk, faults_of_chunk in progress(inspected, "index", total=len(chunks)):
        tables.append(table_of_chunk)
        faults += faults_of_chunk
    with atomic_write(rejected) as temporary:
        cells = [[_escape_formula(cell) for cell in fault] for fault in faults]
        pd.DataFrame(cells, columns=["id", "reason"]).to_csv(temporary, index=False)
    _check_share(faults, len(files), str(rejected), on_bad_patch, max_rejected)
    frame = pd.concat(tables, ignore_index=True)
    with atomic_write(table) as temporary:
        frame.to_parquet(temporary, index=False)
    log.info("%d patches with %s; %d coordinate systems", len(frame), ", ".join(layers), frame["crs"].nunique())
    for level in levels_of(layers):
        read = int((frame[edge_layer(level)] != "").sum())
        log.info("edges of %s: %d read, %d derived from the mask", level, read, len(frame) - read)
    for id_, reason in faults[:20]:
        log.warning("left out patch %s: %s", id_, reason)
    if faults:
        log.warning("%d patches left out, listed with their reasons in %s", len(faults), rejected)


def find_patches(roots: Sequence[str | Path]) -> dict[str, dict[str, Path]]:
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
        raise DataError(f"{', '.join(map(str, roots))}: the folders hold no .tif file; expected one per patch and layer")
    return dict(sorted(files.items()))


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


def _escape_formula(cell: str) -> str:
    """A cell that a spreadsheet does not take for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _inspect(id_: str, files: dict[str, str], layers: Sequence[str]) -> dict[str, Any]:
    """The row of a patch in the table; raise DataError with the first fault of its files."""
    if _escape_formula(id_) != id_ or not id_.isprintable():
        raise DataError(f"its id {id_!r} would be a formula in a table; expected letters and digits: rename its files")
    if missing := [layer for layer in layers if layer not in files]:
        raise DataError(f"no {' and no '.join(missing)} file; expected one file per patch in every layer folder")
    edges = {layer: files.get(layer, "") for layer in map(edge_layer, levels_of(layers))}
    row: dict[str, Any] = {"id": id_, **{layer: files[layer] for layer in layers}}
    arrays: list[NDArray[Any]] = []
    for layer in [*layers, *(layer for layer, path in edges.items() if path)]:
        path = files[layer]
        with open_layer(path, layer) as source:
            array, place = source.read(), _place(path, source)
        if not arrays:
            row |= place
        _check_place(path, place, row)
        arrays.append(array)
        if layer in MODALITIES:
            _check_finite(path, array)
        else:
            counts = _count(path, array, len(LEVELS.get(layer, "01")))
            row |= {f"{layer}_{k}": count for k, count in enumerate(counts)} if layer in LEVELS else {}
    return row | edges | {"content": checksum(arrays)}


def _place(path: str, source: Any) -> dict[str, Any]:
    """The columns of the table on where an open file lies."""
    if source.crs is None:
        raise DataError(f"{path}: no coordinate reference system; expected a georeferenced file")
    transform, bounds = source.transform, source.bounds
    if not (rasters.is_sound(transform) and np.isfinite(bounds).all()):
        raise DataError(f"{path}: the transform {transform[:6]}; expected finite numbers that give each pixel an area")
    return {"crs": source.crs.to_string(), **dict(zip("abcdef", transform[:6], strict=True)), **bounds._asdict()}


def _check_place(path: str, place: dict[str, Any], first: dict[str, Any]) -> None:
    if place["crs"] != first["crs"]:
        raise DataError(f"{path}: CRS {place['crs']}; expected {first['crs']} as in the patch's first file")
    pixel = max(abs(first["a"]), abs(first["b"]))
    off = max(abs(place[side] - first[side]) for side in ("left", "bottom", "right", "top")) / pixel
    if off > 1:
        raise DataError(f"{path}: lies {off:.1f} pixels off the patch's first file; expected the same ground")


def _count(path: str, mask: NDArray[Any], classes: int) -> list[int]:
    """Pixels of each class of a mask, or of each value of an edge mask."""
    with np.errstate(invalid="ignore"):
        ids = mask.astype(np.uint8)
    counts = np.bincount(ids.ravel(), minlength=IGNORE + 1)
    if counts[classes:IGNORE].any() or not np.array_equal(ids, mask):
        wrong = np.setdiff1d(mask, [*range(classes), IGNORE])
        raise DataError(
            f"{path}: values {', '.join(map(str, wrong[:5]))}; expected 0 to {classes - 1}, or {IGNORE} to ignore"
        )
    found: list[int] = counts[:classes].tolist()
    return found


def _check_finite(path: str, image: NDArray[Any]) -> None:
    with np.errstate(over="ignore"):
        packed = image.astype(np.float32, copy=False)
    if bad := image.size - int(np.count_nonzero(np.isfinite(packed))):
        raise DataError(f"{path}: {bad} NaN or infinite values; expected finite pixels only, as float32")


def _check_share(faults: Sequence[tuple[str, str]], total: int, listing: str, on_bad: str, allowed: float) -> None:
    share = len(faults) / total
    if faults and (on_bad == "fail" or share > allowed or share == 1):
        limit = "none is allowed (on_bad_patch: fail)" if on_bad == "fail" else f"max_rejected is {allowed:.2%}"
        raise DataError(
            f"{len(faults)} of {total} patches are bad ({share:.2%}), {limit}. All are listed in {listing}; "
            f"the first: {faults[0][0]}: {faults[0][1]}. Mend the files, or raise index.max_rejected"
        )
