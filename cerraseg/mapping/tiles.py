"""Class probabilities of an image of any size from overlapping, blended tiles; memory holds one row of tiles."""

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from cerraseg.core.logs import log, progress
from cerraseg.geo.cog import NO_DATA
from cerraseg.models import checkpoint, inference

LAYERS = ("probabilities", "margin", "entropy", "set", "disagreement")
"""Optional layers; a model that lacks one is mapped without.

In percent: each class's probability; the first's less the second's; entropy, of the largest; of an ensemble, the
disagreement of members (:meth:`cerraseg.models.checkpoint.Ensemble.with_disagreement`). Of a calibrated model, its
conformal class set: how many classes, then 1 or 0 for each."""


class Picture(Protocol):
    """What is mapped: a scene, or an array in memory."""

    @property
    def bands(self) -> Sequence[str]:
        """Their names, in channel order."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read the pixels of a window, (bands, H, W), NaN without data, and where all bands have data, (H, W)."""


class Rows(Protocol):
    """What takes the rows of a map as they are finished."""

    done: int  # rows that are there already

    def append(self, layers: Mapping[str, NDArray[Any]]) -> None:
        """Add rows, (rows, bands, width) of each layer."""


def map_rows(
    segmenter: checkpoint.Segmenter,
    image: Picture,
    rows: Rows,
    names: Sequence[str],
    *,
    overlap: float,
    augment: bool,
    batch_size: int,
    device: torch.device,
) -> None:
    """Map an image row by row, from the first row that is missing.

    Args:
        names: layers to give to ``rows``: ``classes`` (positions) and ``confidence`` (percent), those of
            :data:`LAYERS`, and ``shares``, the probabilities as float32. All but the last are uint8, 255 without data.
        overlap, augment, batch_size: see :class:`cerraseg.mapping.map_scene.Settings`.
        device: that the model lies on.
    """
    blueprint, disagreement = segmenter.blueprint, "disagreement" in names
    size, classes = blueprint.described.patch_size, len(blueprint.described.classes(blueprint.level))
    height, width = image.shape
    tops, lefts = (tile_starts(length, size, overlap) for length in (height, width))
    down, across = (torch.from_numpy(tile_weights(firsts, size)).to(device) for firsts in (tops, lefts))
    # A row of the map is complete when the next row of tiles starts below it.
    todo = [k for k, top in enumerate(tops) if min(top + size, height) > rows.done]
    log.info("%d x %d pixels, %d of %d rows of tiles to do, on %s", width, height, len(todo), len(tops), device)
    ends = [*tops[1:], tops[-1] + size]
    sums = torch.zeros(classes + disagreement, size, lefts[-1] + size, device=device)
    # Closed after an error too: reading from a closed dataset would crash the process.
    with closing(_strips(segmenter, image, [tops[k] for k in todo], size, device)) as strips:
        for k, (strip, valid) in progress(zip(todo, strips, strict=True), "map", len(todo)):
            inside = [n for n, left in enumerate(lefts) if valid[:, left : left + size].any()]
            for batch in (inside[n : n + batch_size] for n in range(0, len(inside), batch_size)):
                tiles = torch.stack([strip[:, lefts[n] : lefts[n] + size] for n in batch]).permute(0, 3, 1, 2)
                for n, tile in zip(batch, tile_shares(segmenter, tiles, augment, disagreement), strict=True):
                    sums[:, :, lefts[n] : lefts[n] + size].addcmul_(tile, down[k][:, None] * across[n])
            first, finished = max(rows.done - tops[k], 0), min(ends[k], height) - tops[k]
            if finished > first:
                shares, seen = sums[:, first:finished, :width], valid[first:finished, :width]
                rows.append(_layers(shares, classes, seen, names, segmenter))
            kept = sums[:, ends[k] - tops[k] :].clone()
            sums[:, : kept.shape[1]], sums[:, kept.shape[1] :] = kept, 0


def _strips(
    segmenter: checkpoint.Segmenter, image: Picture, tops: Sequence[int], size: int, device: torch.device
) -> Generator[tuple[Tensor, NDArray[np.bool_]], None, None]:
    """Yield of each row of tiles its normalised pixels (size, W, bands) on the device, and which are data (size, W)."""
    strip = torch.empty(size, max(image.shape[1], size), len(image.bands), device=device)
    valid = np.empty(strip.shape[:2], bool)
    new = [(tops[n - 1] + size if n else top, top + size) for n, top in enumerate(tops)]
    with ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(_read, image, *rows, size) for rows in new[:1]]  # each row of the scene once
        for n in range(len(tops)):
            pixels, inside = ahead.pop().result()
            ahead = [reader.submit(_read, image, *rows, size) for rows in new[n + 1 : n + 2]]
            kept = strip[len(inside) :].clone()
            strip[: len(kept)] = kept
            strip[len(kept) :] = segmenter.normalise(torch.from_numpy(pixels).to(device)[None])[0].permute(1, 2, 0)
            valid = np.concatenate([valid[len(inside) :], inside])
            yield strip, valid


def _read(image: Picture, top: int, bottom: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read rows of the scene, (bands, rows, W), and where they are data: NaN elsewhere, mirrored at its border."""
    height, width = image.shape
    pixels, valid = image.read(Window(0, top, width, min(bottom, height) - top))
    pixels = np.where(valid, pixels, np.float32(np.nan))
    missing = [(0, bottom - top - valid.shape[0]), (0, max(0, size - width))]
    return np.pad(pixels, [(0, 0), *missing], "symmetric"), np.pad(valid, missing, "symmetric")


def tile_shares(segmenter: checkpoint.Segmenter, images: Tensor, augment: bool, disagreement: bool = False) -> Tensor:
    """Probabilities (B, classes, H, W) of normalised tiles, and with ``disagreement`` the members' as one class more.

    With ``augment``, their mean over all flips and turns.
    """

    def predict(images: Tensor) -> list[Tensor]:
        if not (disagreement and isinstance(segmenter, checkpoint.Ensemble)):
            return [inference.probabilities(segmenter.logits(images)[0])]
        logits, differ = segmenter.with_disagreement(images)
        return [torch.cat([inference.probabilities(segmenter.calibrated(logits)), differ], 1)]

    return (inference.flipped_mean(predict, images) if augment else predict(images))[0]


def _layers(
    shares: Tensor, count: int, valid: NDArray[np.bool_], names: Sequence[str], segmenter: checkpoint.Segmenter
) -> dict[str, NDArray[Any]]:
    """Layers by name, (H, bands, W), of what :func:`tile_shares` gives; 255 where ``valid`` (H, W) is false."""
    probabilities = shares[:count]
    classes, confidence = inference.decide(probabilities[None], segmenter.ancestors)
    layers = {"classes": classes, "confidence": confidence}
    if "probabilities" in names:
        layers["probabilities"] = inference.percent(probabilities)
    if "margin" in names:
        first, second = probabilities.topk(2, dim=0).values
        layers["margin"] = inference.percent(first - second)[None]
    if "entropy" in names:
        nats = torch.special.entr(probabilities).sum(0)
        layers["entropy"] = inference.percent(nats / np.log(len(probabilities)))[None]
    if "set" in names:
        least = torch.tensor(segmenter.blueprint.calibration["least"], device=probabilities.device)
        possible = (probabilities >= least[:, None, None]).to(torch.uint8)
        layers["set"] = torch.cat([possible.sum(0, keepdim=True, dtype=torch.uint8), possible])
    if "disagreement" in names:
        layers["disagreement"] = inference.percent(shares[count:])
    kept = {name: np.where(valid, layer.cpu().numpy(), NO_DATA).transpose(1, 0, 2) for name, layer in layers.items()}
    if "shares" in names:
        kept["shares"] = np.where(valid, probabilities.cpu().numpy(), np.float32(np.nan)).transpose(1, 0, 2)
    return kept


def tile_starts(length: int, size: int, overlap: float) -> list[int]:
    """Return the first pixel of each tile of ``size`` pixels along a side of a scene of ``length`` pixels.

    ``overlap`` is the share (0 to 0.9) of a tile that the next one covers too. The last tile is moved back to end where
    the side ends; a side shorter than a tile has one.
    """
    step = max(1, round(size * (1 - overlap)))
    last = max(0, length - size)
    return [*range(0, last, step), last]


def tile_window(size: int) -> NDArray[np.float64]:
    """Return half a period of a sine over the pixels of a tile's side, (size,)."""
    return np.asarray(np.sin(np.pi * (np.arange(size) + 0.5) / size))


def tile_weights(firsts: list[int], size: int) -> NDArray[np.float32]:
    """Weigh tiles that start at ``firsts`` by half a period of a sine, which falls to 0 at their edges.

    Returns:
        Weight of each tile at each of its pixels, (tiles, size); those at a pixel sum to 1, a single one is exactly 1.
    """
    shape = tile_window(size)
    total = np.zeros(firsts[-1] + size)
    for first in firsts:
        total[first : first + size] += shape
    return np.stack([shape / total[first : first + size] for first in firsts]).astype(np.float32)
