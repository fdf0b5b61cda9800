"""Predict patches together with the pixels around them, so that a mosaic has no seams where patches meet."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.core.content import content
from cerraseg.core.logs import log, progress
from cerraseg.core.memory import batch_size_hint, explain_out_of_memory
from cerraseg.core.storage import need_room
from cerraseg.data.packed import Store, batches, new_array, open_array
from cerraseg.data.tables import digest
from cerraseg.geo.cog import NO_DATA
from cerraseg.geo.patch_grids import Grid, grids
from cerraseg.mapping.map_files import MapRows, Raster
from cerraseg.mapping.tiles import tile_shares, tile_window
from cerraseg.models import checkpoint, inference

LAYERS = "prediction", "confidence"
_REGION = 1024  # pixels along each side of a region whose patches are predicted together; at least a patch
_GAP = 1  # pixels around each patch that its outermost pixels fill: patches off the grid have gaps between them

Floats = NDArray[np.float32]


class _Region(NamedTuple):
    """Patches that are predicted together, and the ground around them."""

    grid: Grid
    inside: NDArray[np.int64]  # patches to predict, by their place on the grid
    around: NDArray[np.int64]  # patches whose pixels their tiles see
    corner: tuple[int, int]  # row and column of the upper left pixel on the grid
    shape: tuple[int, int]

    def place(self, patch: int) -> tuple[int, int]:
        """Return row and column of a patch's upper left pixel."""
        return int(self.grid.rows[patch]) - self.corner[0], int(self.grid.columns[patch]) - self.corner[1]


def predict_in_context(
    model_file: str | Path,
    store: Store,
    patches: pd.DataFrame,
    folder: str | Path,
    *,
    batch_size: int = 32,
    augment: bool = False,
    precision: inference.Precision = "float32",
    threads: int = 1,
    code: str = "",
) -> dict[str, Raster]:
    """Predict patches as the tiles of a scene that they make up where they meet.

    Beside its own tile, a patch is seen by the tiles that lie half over its neighbours and that patches cover whole.
    All tiles of a pixel are averaged by half a period of a sine, which falls to 0 at their edges. A patch alone is
    predicted as it is alone. Memory holds a region of about 1,000 x 1,000 pixels, whatever the number of patches.

    Args:
        model_file, store: checkpoint and packed patches.
        patches: rows of the patch table to predict, in any order; their index is their row in the store.
        folder: keeps what is finished: after a kill, the next call continues if model, patches, settings and ``code``
            are the same. The caller removes it when the result is used.
        batch_size, augment, precision, threads: see :func:`cerraseg.mapping.predict.predict`.
        code: digest of the code.

    Returns:
        Of ``prediction`` (positions in the legend) and ``confidence`` (percent), the patches in the order of the table,
        (N, H, W) uint8, memory-mapped; 255 where any band of the model has no data.

    Raises:
        DataError: if the checkpoint cannot be used, the store lacks its bands, or the patches lie on no grid.
        MemoryShortage: if a batch is too large for the memory.
        StorageError: if the disk is too small.
    """
    torch.set_num_threads(threads)
    folder, rows = Path(folder), patches.index.to_numpy(np.int64)
    device, size = inference.device(), store.size
    segmenter, blueprint, _ = checkpoint.load(model_file)
    segmenter = segmenter.to(device).to(memory_format=torch.channels_last)
    channels = store.channels(blueprint.described.bands(blueprint.modality))
    regions = [region for grid in grids(patches, (size, size)) for region in _regions(grid, size)]
    order = np.concatenate([region.grid.members[region.inside] for region in regions])
    made = {"batch_size": batch_size, "augment": augment, "precision": precision}
    seen = [store.header.pixels, digest(map(str, patches[["id", "crs", *"acef"]].itertuples(index=False)))]
    key = {"model": content(Path(model_file)).sha256, "patches": seen, "settings": made, "code": code}
    need_room(folder, 4 * len(rows) * size**2, "mosaic")
    finished = MapRows(folder, size**2, dict.fromkeys(LAYERS, 1), key)
    starts = np.cumsum([0, *(len(region.inside) for region in regions)])
    todo = [k for k, _ in enumerate(regions) if starts[k + 1] > finished.done]
    with (
        explain_out_of_memory(batch_size_hint("predict.batch_size", batch_size)),
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        for k in progress(todo, "context", len(todo)):
            images = _Images(store, channels, rows[regions[k].grid.members])
            parts = list(_predicted(segmenter, regions[k], images, batch_size, augment))[finished.done - starts[k] :]
            layers = (np.stack(layer) for layer in zip(*parts, strict=True))
            finished.append({name: layer.reshape(-1, 1, size**2) for name, layer in zip(LAYERS, layers, strict=True)})
    log.info("predicted %d patches in the context of their neighbours on %s", len(rows), device)
    return {name: _sorted(finished, name, np.argsort(order), size, folder / f"{name}.npy") for name in LAYERS}


class _Images(NamedTuple):
    """Patches of a grid in the store."""

    store: Store
    channels: slice | list[int]
    rows: NDArray[np.int64]

    def read(self, patch: int) -> Floats:
        """Read the model's bands of a patch, by its place on the grid."""
        return np.asarray(self.store.images[self.rows[patch]][self.channels])


def _regions(grid: Grid, size: int) -> Iterator[_Region]:
    """Cut a grid into regions of about :data:`_REGION` pixels, each with all that tiles of its patches can see."""
    side = max(1, _REGION // size) * size
    cells, region_of = np.unique(np.stack([grid.rows, grid.columns]) // side, axis=1, return_inverse=True)
    for number in range(cells.shape[1]):
        inside = np.flatnonzero(region_of.ravel() == number)
        lines = grid.rows, grid.columns
        first = [int(line[inside].min()) - size for line in lines]
        last = [int(line[inside].max()) + 2 * size for line in lines]
        near = [
            (line > low - size - _GAP) & (line < high + _GAP)
            for line, low, high in zip(lines, first, last, strict=True)
        ]
        around = np.flatnonzero(near[0] & near[1])
        yield _Region(grid, inside, around, (first[0], first[1]), (last[0] - first[0], last[1] - first[1]))


def _predicted(
    segmenter: checkpoint.Segmenter, region: _Region, images: _Images, batch_size: int, augment: bool
) -> Iterator[tuple[Raster, Raster]]:
    """Yield classes and confidence of each patch inside a region."""
    device, size = segmenter.fill.device, images.store.size
    classes = len(segmenter.blueprint.described.classes(segmenter.blueprint.level))
    ground, covered = _paste(region, images)
    places = _tiles(region, covered, size)
    window = torch.from_numpy(tile_window(size).astype(np.float32)).to(device)
    weights = window[:, None] * window
    sums = torch.zeros(classes + 1, *region.shape, device=device)  # last: of the weights
    for batch in (places[found] for found in batches(np.arange(len(places)), batch_size)):
        tiles = np.stack([ground[:, top : top + size, left : left + size] for top, left in batch])
        shares = tile_shares(segmenter, segmenter.normalise(torch.from_numpy(tiles).to(device)), augment)
        for (top, left), share in zip(batch, shares, strict=True):
            sums[:-1, top : top + size, left : left + size].addcmul_(share, weights)
            sums[-1, top : top + size, left : left + size] += weights
    for patch in region.inside:
        top, left = region.place(patch)
        part = sums[:, top : top + size, left : left + size]
        decided = inference.decide((part[:-1] / part[-1])[None], segmenter.ancestors)
        missing = np.isnan(images.read(patch)).any(0)
        prediction, confidence = (np.where(missing, NO_DATA, layer[0].cpu().numpy()) for layer in decided)
        yield prediction, confidence


def _paste(region: _Region, images: _Images) -> tuple[Floats, NDArray[np.bool_]]:
    """Put together the ground of a region, (bands, H, W), the first patch with data counts, and where patches lie."""
    bands, size, _ = images.read(region.around[0]).shape
    ground, covered = np.full((bands, *region.shape), np.nan, np.float32), np.zeros(region.shape, bool)
    for margin in (0, _GAP):
        for patch in region.around:
            top, left = (start - margin for start in region.place(patch))
            here = tuple(slice(max(start, 0), start + size + 2 * margin) for start in (top, left))
            if margin and covered[here].all():
                continue
            pixels = np.pad(images.read(patch), ((0, 0), (margin, margin), (margin, margin)), "edge")
            held = ground[:, *here]
            there = slice(max(-top, 0), None), slice(max(-left, 0), None)
            pixels = pixels[:, *there][:, : held.shape[1], : held.shape[2]]
            np.copyto(held, pixels, where=np.isnan(held))
            covered[here] = True
    return ground, covered


def _tiles(region: _Region, covered: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    """Return row and column (N, 2) of the tiles that see a patch inside a region: patches, and halfway between."""
    wanted = np.zeros(region.shape, bool)
    for top, left in map(region.place, region.inside):
        wanted[top : top + size, left : left + size] = True
    half = size // 2
    places = {
        (top + down, left + right)
        for top, left in map(region.place, region.around)
        for down, right in product((0, half), repeat=2)
        if 0 <= top + down <= region.shape[0] - size and 0 <= left + right <= region.shape[1] - size
    }
    tiles = {place: (slice(place[0], place[0] + size), slice(place[1], place[1] + size)) for place in sorted(places)}
    return np.array([place for place, tile in tiles.items() if wanted[tile].any() and covered[tile].all()], np.int64)


def _sorted(finished: MapRows, name: str, order: NDArray[np.int64], size: int, path: Path) -> Raster:
    """Write finished patches in another order, (N, size, size), and map the file."""
    with new_array(path, (len(order), size, size)) as file:
        for place in order.tolist():
            file.write(finished.read(name, Window(0, place, size**2, 1)).tobytes())
    return open_array(path, len(order))
