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
    """Write the patch table (Parquet) and the list of rejected patches (CSV: id, reason), this one in any case.

    Args:
        roots: folders in the CerraData-4MM layout; the layers that all of them have are used.
        on_bad_patch: ``exclude`` leaves faulty patches out, ``fail`` stops.
        max_rejected: with ``exclude``, the largest share (0-1) of faulty patches to accept.
        threads: processes to read with.

    Raises:
        DataError: if there is nothing to index or more patches are faulty than allowed.
    """
    files = find_patches(roots)
    layers = [layer for layer in LAYERS if any(layer in found for found in files.values())]
    patches = [(id_, {layer: str(path) for layer, path in found.items()}) for id_, found in files.items()]
    chunks = [patches[start : start + _CHUNK] for start in range(0, len(patches), _CHUNK)]
    inspected = process_map(partial(_inspect_chunk, layers), chunks, threads)
    rows, faults = [], []
    for good, bad in progress(inspected, "index", total=len(chunks)):
        rows += good
        faults += bad
    with atomic_write(rejected) as temporary:
        cells = [[f"'{cell}" if _is_formula(cell) else cell for cell in fault] for fault in faults]
        pd.DataFrame(cells, columns=["id", "reason"]).to_csv(temporary, index=False)
    if faults and (on_bad_patch == "fail" or not rows or len(faults) > max_rejected * len(patches)):
        (id_, reason), share = faults[0], len(faults) / len(patches)
        raise DataError(
            f"{len(faults)} of {len(patches)} patches are bad ({share:.2%}); index.on_bad_patch is {on_bad_patch}, "
            f"index.max_rejected {max_rejected:.2%}. The first is {id_}: {reason}. Mend the files, which {rejected} "
            "lists, or raise index.max_rejected"
        )
    frame = pd.DataFrame(rows)
    with atomic_write(table) as temporary:
        frame.to_parquet(temporary, index=False)
    log.info("%d patches with %s; %d coordinate systems", len(frame), ", ".join(layers), frame["crs"].nunique())
    for level in levels_of(layers):
        read = int((frame[edge_layer(level)] != "").sum())
        log.info("edges of %s: %d read, %d derived from the mask", level, read, len(frame) - read)
    if faults:
        log.warning("%d patches left out, listed with their reasons in %s", len(faults), rejected)


def find_patches(roots: Sequence[str | Path]) -> dict[str, dict[str, Path]]:
    """Join the files of each patch by id: id → layer → path, ids sorted as text.

    Raises:
        DataError: if the roots share no usable layers or two files of a layer have the same id.
    """
    layers, where = available_layers(roots), ", ".join(map(str, roots))
    if not layers & set(MODALITIES) or not layers & set(LEVELS):
        raise DataError(
            f"{where}: found {', '.join(sorted(layers)) or 'no known folder'}; expected at least one of msi_images (or "
            "opt_images) and sar_images, and one of semantic_7c and semantic_14c, in every root"
        )
    edges = [edge_layer(level) for level in levels_of(layers)]
    files: dict[str, dict[str, Path]] = {}
    for root in roots:
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
        raise DataError(f"{where}: the folders hold no .tif file; expected one per patch and layer")
    return dict(sorted(files.items()))


def _inspect_chunk(
    layers: Sequence[str], patches: Sequence[tuple[str, dict[str, str]]]
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """The rows of the good patches; ids and faults of the others."""
    rows, faults = [], []
    with rasterio.Env(**GDAL):
        for id_, files in patches:
            try:
                rows.append(_inspect(id_, files, layers))
            except DataError as error:
                faults.append((id_, str(error)))
    return rows, faults


def _is_formula(cell: str) -> bool:
    """Whether a spreadsheet would compute it."""
    return cell.startswith(("=", "+", "-", "@"))


def _inspect(id_: str, files: dict[str, str], layers: Sequence[str]) -> dict[str, Any]:
    """The row of a patch in the table; raise DataError with the first fault of its files."""
    if _is_formula(id_) or not id_.isprintable():
        raise DataError(f"its id {id_!r} would be a formula in a table; expected letters and digits: rename its files")
    if missing := [layer for layer in layers if layer not in files]:
        raise DataError(f"no {' and no '.join(missing)} file; expected one file per patch in every layer folder")
    edges = {layer: files.get(layer, "") for layer in map(edge_layer, levels_of(layers))}
    place: dict[str, Any] = {}
    counts: dict[str, int] = {}
    arrays = []
    for layer in [*layers, *(layer for layer, path in edges.items() if path)]:
        path = files[layer]
        with open_layer(path, layer) as source:
            array = source.read()
            place = _place(path, source, place)
        arrays.append(array)
        if layer in MODALITIES:
            _check_finite(path, array)
        else:
            found = _count(path, array, len(LEVELS.get(layer, "01")))
            counts |= {f"{layer}_{k}": count for k, count in enumerate(found)} if layer in LEVELS else {}
    paths = {layer: files[layer] for layer in layers}
    return {"id": id_, **paths, **place, **counts, **edges, "content": checksum(arrays)}


def _place(path: str, source: Any, first: dict[str, Any]) -> dict[str, Any]:
    """The columns of the table on where the first file of a patch lies; raise DataError where another one differs."""
    if source.crs is None:
        raise DataError(f"{path}: no coordinate reference system; expected a georeferenced file")
    transform, bounds = source.transform, source.bounds
    if not (rasters.is_sound(transform) and np.isfinite(bounds).all()):
        raise DataError(f"{path}: the transform {transform[:6]}; expected finite numbers that give each pixel an area")
    place = {"crs": source.crs.to_string(), **dict(zip("abcdef", transform[:6], strict=True)), **bounds._asdict()}
    first = first or place
    if place["crs"] != first["crs"]:
        raise DataError(f"{path}: CRS {place['crs']}; expected {first['crs']} as in the patch's first file")
    off = max(abs(place[side] - first[side]) for side in bounds._fields) / max(abs(first["a"]), abs(first["b"]))
    if off > 1:
        raise DataError(f"{path}: lies {off:.1f} pixels off the patch's first file; expected the same ground")
    return first


def _count(path: str, mask: NDArray[Any], classes: int) -> list[int]:
    with np.errstate(invalid="ignore"):
        ids = mask.astype(np.uint8)
    counts = np.bincount(ids.ravel(), minlength=IGNORE + 1)
    if counts[classes:IGNORE].any() or not np.array_equal(ids, mask):
        wrong = ", ".join(map(str, np.setdiff1d(mask, [*range(classes), IGNORE])[:5]))
        raise DataError(f"{path}: values {wrong}; expected 0 to {classes - 1}, or {IGNORE} to ignore")
    found: list[int] = counts[:classes].tolist()
    return found


def _check_finite(path: str, image: NDArray[Any]) -> None:
    with np.errstate(over="ignore"):
        bad = np.count_nonzero(~np.isfinite(image.astype(np.float32, copy=False)))
    if bad:
        raise DataError(f"{path}: {bad} NaN or infinite values; expected finite pixels only, as float32")
