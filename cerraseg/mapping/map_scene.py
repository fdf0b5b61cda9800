"""Map a whole scene with overlapping, blended tiles; memory holds one row of tiles, whatever the scene's size."""

import shutil
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from cerraseg.config.dataset import Dataset
from cerraseg.core.content import content
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress
from cerraseg.core.memory import batch_size_hint, explain_out_of_memory
from cerraseg.geo.cog import NO_DATA
from cerraseg.mapping import scene, scene_check
from cerraseg.mapping.map_files import MapRows, Raster, write_coarser, write_map
from cerraseg.mapping.scene import Scene, SceneFiles
from cerraseg.models import checkpoint, inference

LAYERS = ("probabilities", "margin", "entropy", "set", "disagreement")
"""Optional layers. In percent: each class's probability; the first's less the second's; entropy, of the largest; the
members' disagreement, of an ensemble (:meth:`cerraseg.models.checkpoint.Ensemble.with_disagreement`). Of a calibrated
model, its conformal class set: how many classes, then 1 or 0 for each. A model that lacks a layer is mapped without."""


@dataclass(frozen=True)
class Settings:
    """How a scene is mapped."""

    overlap: float = 0.5  # share (0 to 0.9) of a tile that its neighbour covers too
    augment: bool = False  # whether to average the probabilities over the eight flips and quarter turns of each tile
    resampling: str = "bilinear"  # name of rasterio's resampling for a raster on another grid
    layers: Sequence[str] = ()  # optional layers, from LAYERS
    batch_size: int = 32  # tiles per batch
    precision: inference.Precision = "float32"  # of the forward pass
    check_scale: bool = True  # refuse a scene whose values have not the units of the checkpoint's training
    threads: int = 1  # of torch and of the compression


def map_scene(
    model_file: Path,
    files: SceneFiles,
    folder: Path,
    unfinished: Path,
    settings: Settings,
    dataset: Dataset,
    tags: Mapping[str, str],
    code: str = "",
    scaled: Mapping[str, bool] = MappingProxyType({}),
) -> None:
    """Map a scene on its own grid as Cloud-Optimized GeoTIFFs of uint8, 255 where any band has no data.

    Tiles see the training mean where there is no data, and a mirror image beyond a scene smaller than a tile.

    Args:
        folder: folder to write: ``classes.tif``, ``confidence.tif`` (percent), a file per layer of ``settings``, and
            ``classes_<level>.tif`` of each coarser level for a model that serves them too.
        unfinished: folder that keeps finished rows until all is written. After a kill, the next run continues from
            them if model, files, settings and ``code`` are the same; the result has the same bytes.
        tags, code: further metadata of the files, and the digest of the code.
        scaled: sensor → whether its scales and offsets are applied, where the check before training has decided it.

    Raises:
        DataError: if the checkpoint or the scene cannot be used, also for values in other units than in training.
        MemoryShortage: if a batch of tiles is too large for the memory.
        StorageError: if the disk is full.
    """
    torch.set_num_threads(settings.threads)
    segmenter, blueprint, _ = checkpoint.load(model_file)
    device = inference.device()
    segmenter = segmenter.to(device).to(memory_format=torch.channels_last)
    classes = dataset.classes(blueprint.level)
    bands = {name: [name] for name in ("classes", "confidence", *settings.layers)}
    if not blueprint.members:
        bands.pop("disagreement", None)
    if not blueprint.calibration:
        bands.pop("set", None)
    for name, first in (("probabilities", []), ("set", ["number of classes"])):
        if name in bands:
            bands[name] = first + [c.name for c in classes]
    sensors = dataset.sensors_of(blueprint.modality)
    if settings.check_scale:
        trained, resampling = blueprint.statistics, settings.resampling
        scaled = scene_check.fitting_scale(files, sensors, trained, resampling=resampling, scaled=scaled)
    with scene.open_scene(files, sensors, settings.resampling, scaled) as image:
        grid, key = image.grid, _resume_key(model_file, files, scaled, settings, code)
        rows = MapRows(unfinished, grid.shape[1], {name: len(names) for name, names in bands.items()}, key)
        remedy = batch_size_hint("predict.batch_size, which counts a scene's tiles too,", settings.batch_size)
        mixed = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")
        with torch.inference_mode(), explain_out_of_memory(remedy), mixed:
            _map_rows(segmenter, image, rows, len(classes), tuple(bands), settings, device)
    made = {"OVERLAP": f"{settings.overlap:g}", "AUGMENT": str(settings.augment).lower()}
    made["RESAMPLING"] = settings.resampling if image.warped else "none"
    common: dict[str, Any] = {"tags": {**tags, **made}, "threads": settings.threads}
    with atomic_write(folder) as part:
        for name, names in bands.items():
            kind = {"classes": classes if name == "classes" else None, "unit": "" if name == "set" else "%"}
            write_map(part / f"{name}.tif", grid, partial(rows.read, name), bands=names, **kind, **common)
        if blueprint.hierarchical:
            target = lambda level: part / f"classes_{level}.tif"  # noqa: E731
            write_coarser(part / "classes.tif", blueprint.level, dataset, target, **common)
    shutil.rmtree(unfinished)


def _map_rows(
    segmenter: checkpoint.Segmenter,
    image: Scene,
    rows: MapRows,
    classes: int,
    names: Sequence[str],
    settings: Settings,
    device: torch.device,
) -> None:
    size, disagreement = segmenter.blueprint.described.patch_size, "disagreement" in names
    height, width = image.grid.shape
    tops, lefts = (tile_starts(length, size, settings.overlap) for length in (height, width))
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
            for batch in (inside[n : n + settings.batch_size] for n in range(0, len(inside), settings.batch_size)):
                tiles = torch.stack([strip[:, lefts[n] : lefts[n] + size] for n in batch]).permute(0, 3, 1, 2)
                for n, tile in zip(batch, _shares(segmenter, tiles, settings.augment, disagreement), strict=True):
                    sums[:, :, lefts[n] : lefts[n] + size].addcmul_(tile, down[k][:, None] * across[n])
            first, finished = max(rows.done - tops[k], 0), min(ends[k], height) - tops[k]
            if finished > first:
                shares, seen = sums[:, first:finished, :width], valid[first:finished, :width]
                rows.append(_layers(shares, classes, seen, names, segmenter))
            kept = sums[:, ends[k] - tops[k] :].clone()
            sums[:, : kept.shape[1]], sums[:, kept.shape[1] :] = kept, 0


def _strips(
    segmenter: checkpoint.Segmenter, image: Scene, tops: Sequence[int], size: int, device: torch.device
) -> Generator[tuple[Tensor, NDArray[np.bool_]], None, None]:
    """Yield of each row of tiles its normalised pixels (size, W, bands) on the device, and which are data (size, W)."""
    strip = torch.empty(size, max(image.grid.shape[1], size), len(image.bands), device=device)
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


def _read(image: Scene, top: int, bottom: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read rows of the scene, (bands, rows, W), and where they are data: NaN elsewhere, mirrored at its border."""
    height, width = image.grid.shape
    pixels, valid = image.read(Window(0, top, width, min(bottom, height) - top))
    pixels = np.where(valid, pixels, np.float32(np.nan))
    missing = [(0, bottom - top - valid.shape[0]), (0, max(0, size - width))]
    return np.pad(pixels, [(0, 0), *missing], "symmetric"), np.pad(valid, missing, "symmetric")


def _shares(segmenter: checkpoint.Segmenter, images: Tensor, augment: bool, disagreement: bool) -> Tensor:
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
) -> dict[str, Raster]:
    """Layers by name, (H, bands, W), of what :func:`_shares` gives; 255 where ``valid`` (H, W) is false."""
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
    return {name: np.where(valid, layer.cpu().numpy(), NO_DATA).transpose(1, 0, 2) for name, layer in layers.items()}


def _resume_key(
    model_file: Path, files: SceneFiles, scaled: Mapping[str, bool], settings: Settings, code: str
) -> dict[str, Any]:
    states = [(path, path.stat()) for path in files.sources]
    return {
        "model": content(model_file).sha256,
        "files": [[str(path), state.st_size, state.st_mtime_ns] for path, state in states],
        "images": repr(files.images),
        "scaled": dict(scaled),
        "settings": {name: value for name, value in asdict(settings).items() if name != "threads"},
        "code": code,
    }


def tile_starts(length: int, size: int, overlap: float) -> list[int]:
    """Return the first pixel of each tile of ``size`` pixels along a side of a scene of ``length`` pixels.

    ``overlap`` is the share (0 to 0.9) of a tile that the next one covers too. The last tile is moved back to end where
    the side ends; a side shorter than a tile has one.
    """
    step = max(1, round(size * (1 - overlap)))
    last = max(0, length - size)
    return [*range(0, last, step), last]


def tile_weights(firsts: list[int], size: int) -> NDArray[np.float32]:
    """Weigh tiles that start at ``firsts`` by a squared sine that falls to 0 at their edges (a Hann window).

    Returns:
        Weight of each tile at each of its pixels, (tiles, size); those at a pixel sum to 1, a single one is exactly 1.
    """
    shape = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    total = np.zeros(firsts[-1] + size)
    for first in firsts:
        total[first : first + size] += shape
    return np.stack([shape / total[first : first + size] for first in firsts]).astype(np.float32)
