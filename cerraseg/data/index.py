"""The patch table: find the patches, check them, and count the pixels of each class.

Columns of the table, one row per patch, sorted by id as text, which is the order of the packed arrays:

=========================  =======================================================================================
``id``                     last ``_`` token of the file names; of a window, area and place
``area window_row …``      of windows: the area's name, and first row and column on its grid
sensors and levels         paths of the files, for the layers that the data has
``crs``                    coordinate reference system, ``EPSG:n`` or WKT
``a b c d e f``            affine transform of the patch: x = a·column + b·row + c, y = d·column + e·row + f
``left … top``             bounds in units of the CRS
``<level>_<class id>``     labelled pixels of each class
``gaps``                   pixels without data in a band
``truth_<level>``          where there are any: path of a better mask; empty: the mask itself is it
``edge_<level>``           path of the edge mask; empty: there is none, and edges are derived from the mask
``polygons``               of windows with labels from polygons: numbers of those that it shows
``content``                checksum of the pixels, which packing compares
=========================  =======================================================================================

Its ``attrs["rejected"]`` has id, finite and whole of each rejected patch: whether its pixels are numbers, as far as
they were read, and whether it has a file in every layer. The published split counts such patches.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError, LegendError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress
from cerraseg.core.processes import process_map
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.area_windows import CHUNK, Source, area_rows
from cerraseg.data.patch_files import Patch, find_patches
from cerraseg.data.splits.conflicts import report_contradictions
from cerraseg.geo.patch_grids import grids

Rows = list[dict[str, Any]]


class Fault(NamedTuple):
    """What is wrong with a patch; of a mask with foreign values, its level and value → pixels of all that it holds."""

    id: str
    reason: str
    level: str = ""
    values: Counter[float] = Counter()  # noqa: RUF012 - never changed
    finite: bool = True


def write_patch_table(
    roots: Sequence[str | Path],
    dataset: Dataset,
    table: str | Path,
    rejected: str | Path,
    *,
    areas: Mapping[str, Mapping[str, Any]] | None = None,
    tiling: Mapping[str, Any] | None = None,
    on_bad_patch: Literal["exclude", "fail"] = "exclude",
    max_rejected: float = 0.01,
    max_nodata: float = 0.5,
    threads: int = 4,
) -> None:
    """Write the patch table (Parquet) and the list of rejected patches (CSV: id, reason), this one in any case.

    Args:
        roots: folders with the layer folders of the dataset; the layers that all of them have are used.
        dataset: what the patches are.
        table, rejected: files to write.
        areas: name → entry of each area, whose windows are the patches; then there are no roots.
        tiling: ``stride`` in pixels and ``minimum_labelled`` share (0-1) of the windows.
        on_bad_patch: ``exclude`` leaves faulty patches out, ``fail`` stops.
        max_rejected: with ``exclude``, the largest share (0-1) of faulty patches to accept.
        max_nodata: largest share (0-1) of pixels without data in a patch; a file with more is faulty, a window with
            more is left out.
        threads: processes to read with.

    Raises:
        DataError: if there is nothing to index, more patches are faulty than allowed, or no mosaic can hold them.
    """
    if areas is None:
        rows, sensors, levels = _file_rows(roots, dataset)
    else:
        rows, sensors, levels = area_rows(areas, dataset, int((tiling or {})["stride"]))
    least = float((tiling or {}).get("minimum_labelled", 0))
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    job = partial(_inspect_chunk, Source(dataset, sensors, levels, areas), max_nodata, least)
    good: Rows = []
    faults: list[Fault] = []
    for found, bad in progress(process_map(job, chunks, threads), "index", total=len(chunks)):
        good += found
        faults += bad
    with atomic_write(rejected) as temporary:
        cells = [[f"'{cell}" if _is_formula(cell) else cell for cell in fault[:2]] for fault in faults]
        pd.DataFrame(cells, columns=["id", "reason"]).to_csv(temporary, index=False)
    _list_foreign(faults, dataset)
    tried = len(good) + len(faults)
    if faults and (on_bad_patch == "fail" or not good or len(faults) > max_rejected * tried):
        first, share = faults[0], len(faults) / tried
        raise DataError(
            f"{len(faults)} of {tried} patches are bad ({share:.2%}); index.on_bad_patch is {on_bad_patch}, "
            f"index.max_rejected {max_rejected:.2%}. The first is {first.id}: {first.reason}. Mend the files, which "
            f"{rejected} lists, or raise index.max_rejected"
        )
    if not good:
        raise DataError(
            f"none of {len(rows)} windows is used: each has more than {max_nodata:.0%} of its pixels without data "
            f"(index.max_nodata) or less than {least:.2%} labelled (tiling.minimum_labelled); lower or raise these, or "
            "look whether images and labels lie on the same ground"
        )
    frame, layers = pd.DataFrame(good), {layer for row in rows for layer in row}
    whole = {row["id"]: row.keys() >= layers for row in rows}
    frame.attrs["rejected"] = [{"id": one.id, "finite": one.finite, "whole": whole[one.id]} for one in faults]
    grids(frame, (dataset.patch_size, dataset.patch_size))  # which the mosaic lays them on
    if areas is None:
        report_contradictions(frame, dataset, levels, threads)
    with atomic_write(table) as temporary:
        frame.to_parquet(temporary, index=False)
    _log_result(frame, dataset, sensors, levels)
    if faults:
        log.warning("%d patches left out, listed with their reasons in %s", len(faults), rejected)


def _file_rows(roots: Sequence[str | Path], dataset: Dataset) -> tuple[Rows, list[str], list[str]]:
    """Rows of patches that are files, with the paths of their layers, and the sensors and levels that there are."""
    files = find_patches(roots, dataset)
    present = {layer for found in files.values() for layer in found}
    sensors, levels = ([name for name in part if name in present] for part in (dataset.sensors, dataset.levels))
    truths = dict.fromkeys((level.truth for level in dataset.levels.values() if level.truth in present), "")
    rows = [{"id": id_, **truths, **{key: str(path) for key, path in found.items()}} for id_, found in files.items()]
    return rows, sensors, levels


def _inspect_chunk(source: Source, max_nodata: float, least: float, rows: Rows) -> tuple[Rows, list[Fault]]:
    """Rows of the good patches, and the faults of others."""
    good: Rows = []
    faults: list[Fault] = []
    for row, patch in zip(rows, source.read(rows), strict=True):
        try:
            if _is_formula(row["id"]) or not row["id"].isprintable():
                raise DataError(
                    f"its id {row['id']!r} would be a formula in a table; expected letters and digits: rename its files"
                )
            if isinstance(patch, DataError):
                raise patch
            if source.areas is not None and (patch.classes[-1] != IGNORE).mean() < least:
                continue
            share = np.isnan(patch.image).any(0).mean()
            if share > max_nodata and source.areas is None:
                reason = f"{share:.0%} of its pixels have no data; expected at most {max_nodata:.0%}"
                faults.append(Fault(row["id"], reason, finite=False))
            if share <= max_nodata:
                good.append(_described(row, patch, source))
        except DataError as error:
            values = (error.level, error.values) if isinstance(error, LegendError) else ()
            faults.append(Fault(row["id"], str(error), *values))
    return good, faults


def _described(row: Mapping[str, Any], patch: Patch, source: Source) -> dict[str, Any]:
    """The row of a patch in the table."""
    levels = [source.dataset.levels[level] for level in source.levels]
    counts: dict[str, int] = {}
    for level, mask in zip(levels, patch.classes, strict=True):
        found = np.bincount(mask.ravel(), minlength=IGNORE + 1)[: len(level.classes)]
        counts |= dict(zip(level.count_columns(), found.tolist(), strict=True))
    kept = {key: value for key, value in row.items() if not key.startswith("edge_")}
    order = [*(key for key in kept if key not in (*source.sensors, *source.levels)), *source.sensors, *source.levels]
    edges = {level.edges: row.get(level.edges, "") for level in levels}
    further: dict[str, Any] = {"polygons": list(patch.polygons)} if source.areas is not None else {}
    further |= {"gaps": int(np.isnan(patch.image).any(0).sum()), "content": patch.content}
    return {key: kept[key] for key in order} | patch.place | counts | edges | further


def _is_formula(cell: str) -> bool:
    """Whether a spreadsheet would compute it."""
    return cell.startswith(("=", "+", "-", "@"))


def _list_foreign(faults: list[Fault], dataset: Dataset) -> None:
    """List all values of masks that hold foreign ones, so that a wrong legend shows."""
    foreign: dict[str, Counter[float]] = defaultdict(Counter)
    for fault in faults:
        foreign[fault.level] += fault.values
    for level in (level for level in dataset.levels.values() if level.name in foreign):
        listed = ", ".join(f"{value:g}: {count:,}" for value, count in sorted(foreign[level.name].items()))
        known = ", ".join(map(str, level.ids))
        log.error("%s: the masks that do not fit the legend %s hold these ids (pixels): %s", level.name, known, listed)


def _log_result(frame: pd.DataFrame, dataset: Dataset, sensors: Sequence[str], levels: Sequence[str]) -> None:
    layers = ", ".join((*sensors, *levels))
    log.info("%d patches with %s; %d coordinate systems", len(frame), layers, frame["crs"].nunique())
    for level in (dataset.levels[name] for name in levels):
        read = int((frame[level.edges] != "").sum())
        log.info("edges of %s: %d read, %d derived from the mask", level.name, read, len(frame) - read)
        totals = frame[level.count_columns()].sum()
        empty = [entry.name for entry, count in zip(level.classes, totals, strict=True) if not count]
        if empty:
            log.warning("%s: no pixel of %s", level.name, ", ".join(empty))
