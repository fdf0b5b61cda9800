"""Patches that are files in layer folders: found by id, read by what they say of themselves, checked."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cerraseg.config.dataset import Dataset, Level
from cerraseg.core.errors import DataError
from cerraseg.core.layout import ENDINGS, available_layers, is_patch, layer_folder, patch_id
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import EDGES, IGNORE
from cerraseg.data.masks import derive_edges, read_positions
from cerraseg.geo.grids import Grid
from cerraseg.geo.images import ImageFiles, open_image, open_mask
from cerraseg.geo.rasters import crs_text

_EDGES = Level("edge", EDGES)
_SIDES = ("left", "bottom", "right", "top")
_SHOWN = 5  # names or values in a message


class Patch(NamedTuple):
    """A patch as it goes into the packed store."""

    image: NDArray[np.float32]  # (bands, H, W), NaN where a band has no data
    classes: NDArray[np.uint8]  # (levels, H, W), positions, 255 where ignored or any band has no data
    edges: NDArray[np.uint8]  # (levels, H, W), 0, 1 and 255
    content: int  # CRC-32 of the pixels that were read
    place: dict[str, Any]  # the columns of the patch table on where it lies
    truths: tuple[NDArray[np.uint8], ...] = ()  # of the levels with better masks, (H, W), as classes
    polygons: tuple[int, ...] = ()  # numbers, in its area, of the labelled polygons that it shows


def find_patches(roots: Sequence[str | Path], dataset: Dataset) -> dict[str, dict[str, Path]]:
    """Join the files of each patch by id: id → layer → path, ids sorted as text.

    What is passed over in a layer's folder is counted and named in the log.

    Raises:
        DataError: if the roots share no usable layers or two files of a layer have the same id.
    """
    folders, where = dataset.folders, ", ".join(map(str, roots))
    layers = available_layers(roots, {name: folders[name] for name in (*dataset.sensors, *dataset.levels)})
    if not layers & set(dataset.sensors) or not layers & set(dataset.levels):
        parts = (dataset.sensors, dataset.levels)
        sensors, levels = (", ".join(name for layer in part for name in folders[layer]) for part in parts)
        raise DataError(
            f"{where}: found {', '.join(sorted(layers)) or 'no known folder'}; expected at least one of {sensors}, and "
            f"one of {levels}, in every root"
        )
    known = [level for name, level in dataset.levels.items() if name in layers]
    further = [layer for level in known for layer in (level.edges, level.truth)]
    files: dict[str, dict[str, Path]] = {}
    for root in roots:
        for layer in [*sorted(layers), *further]:
            for path in _files(layer_folder(root, folders[layer])):
                id_ = patch_id(path)
                if layer in further and id_ not in files:  # an edge mask alone makes no patch
                    continue
                first = files.setdefault(id_, {}).setdefault(layer, path)
                if first != path:
                    raise DataError(f"{first} and {path} have the same id {id_!r}; rename or move one of them")
    for layer in sorted(layers):
        if not any(layer in found for found in files.values()):
            raise DataError(
                f"{' or '.join(folders[layer])} in {where}: no file that ends in {', '.join(ENDINGS)}; expected one "
                "per patch: write the layer as GeoTIFFs, e.g. by rio convert, or remove its folder"
            )
    return dict(sorted(files.items()))


def _files(folder: Path | None) -> list[Path]:
    """Return the patches of a folder in name order, and name what else lies there."""
    if folder is None:
        return []
    paths = sorted(folder.iterdir(), key=str)
    others = [path.name for path in paths if not is_patch(path.name) and not path.name.startswith(".")]
    if others := [name for name in others if not name.endswith(".aux.xml")]:
        named = ", ".join(others[:_SHOWN]) + ", ..." * (len(others) > _SHOWN)
        log.warning("%s: %d files that are no patches passed over: %s", folder, len(others), named)
    found = [path for path in paths if is_patch(path.name)]
    for path in found:
        if not path.name.isprintable():  # bytes that are not UTF-8 among them
            raise DataError(f"{str(path)!r}: a name that is no text; expected letters and digits: rename it")
    return found


def read_files(files: Mapping[str, str], dataset: Dataset, sensors: Sequence[str], levels: Sequence[str]) -> Patch:
    """Read a patch from its files, layer → path; edges and truth may be empty, for those of the mask, or absent.

    Raises:
        DataError: with the first fault of its files.
    """
    if missing := [layer for layer in (*sensors, *levels) if layer not in files]:
        there = next(path for layer, path in files.items() if layer != "id")
        raise DataError(
            f"no {' and no '.join(missing)} file beside {there}; "
            "expected one per patch in every layer folder, whose names end alike, in _<id> before the ending"
        )
    size = dataset.patch_size
    place: dict[str, Any] = {}
    masks, read = [], []
    for sensor in sensors:
        path = files[sensor]
        with open_image(ImageFiles((Path(path),)), dataset.sensors[sensor].bands, sensor) as opened:
            if opened.warped:
                raise DataError(f"{path}: a turned grid; expected rows from west to east: warp it, e.g. by rio warp")
            place = _place(path, opened.grid, size, place)
            read.append(opened.read()[0])
    image = np.concatenate(read)
    gaps = np.isnan(image).any(0)
    for level in levels:
        mask, place = _mask(files[level], dataset.levels[level], size, place, read)
        masks.append(mask)
    classes = np.stack(masks)
    classes[:, gaps] = IGNORE
    edges = []
    for mask, level in zip(classes, levels, strict=True):
        given = files.get(dataset.levels[level].edges)
        edge = _mask(given, _EDGES, size, place, read)[0] if given else derive_edges(mask)
        edge[gaps] = IGNORE
        edges.append(edge)
    truths = []
    for described in (dataset.levels[level] for level in levels):
        if described.truth in files:
            truth, _ = _mask(files[described.truth] or files[described.name], described, size, place, read)
            truth[gaps] = IGNORE
            truths.append(truth)
    return Patch(image, classes, np.stack(edges), checksum(read), place, tuple(truths))


def checksum(arrays: Iterable[NDArray[Any]]) -> int:
    """CRC-32 of what was read of a patch: sensors, levels, edges, as far as there are any."""
    content = 0
    for array in arrays:
        content = zlib.crc32(np.ascontiguousarray(array).data, content)
    return content


def _mask(
    path: str, level: Level, size: int, place: dict[str, Any], read: list[NDArray[Any]]
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Return a mask as positions, and the patch's place; what was read is added to ``read``."""
    with open_mask(Path(path), level.name) as mask:
        place = _place(path, mask.grid, size, place)
        values, positions = read_positions(mask, level, path)
    read.append(values)
    return positions, place


def place_of(grid: Grid) -> dict[str, Any]:
    """Return the columns of the patch table on where a grid lies."""
    sides = dict(zip(_SIDES, grid.bounds, strict=True))
    return {"crs": crs_text(grid.crs), **dict(zip("abcdef", grid.transform[:6], strict=True)), **sides}


def _place(path: str, grid: Grid, size: int, first: dict[str, Any]) -> dict[str, Any]:
    """Return where a patch lies; refuse a file that lies elsewhere than its first, or has another size."""
    if grid.shape != (size, size):
        raise DataError(f"{path}: {grid.shape[0]} x {grid.shape[1]} pixels; expected {size} x {size}")
    place = place_of(grid)
    first = first or place
    if place["crs"] != first["crs"]:
        raise DataError(f"{path}: CRS {place['crs']}; expected {first['crs']} as in the patch's first file")
    off = max(abs(place[side] - first[side]) for side in _SIDES) / abs(first["a"])
    if off > 1:
        raise DataError(f"{path}: lies {off:.1f} pixels off the patch's first file; expected the same ground")
    return first
