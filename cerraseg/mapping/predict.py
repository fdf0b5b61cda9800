"""Predict packed patches: classes, confidence and edges as arrays."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cerraseg.core.logs import log, progress
from cerraseg.core.memory import batch_size_hint, explain_out_of_memory
from cerraseg.core.storage import need_room
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.masks import derive_edges
from cerraseg.data.packed import Store, batches, new_array
from cerraseg.evaluation.calibration import Tally, pooled, tally, write_tally
from cerraseg.models import checkpoint, inference
from cerraseg.training.batches import PackedPatches, Streamed

Bytes = NDArray[np.uint8]


def predict(
    model_file: str | Path,
    store: Store,
    rows: NDArray[np.int64],
    prediction: str | Path,
    confidence: str | Path,
    edges: str | Path,
    *,
    scored: NDArray[np.int64] | None = None,
    calibration: str | Path | None = None,
    batch_size: int = 32,
    augment: bool = False,
    precision: inference.Precision = "float32",
    threads: int = 1,
) -> None:
    """Predict the patches in ``rows`` with a checkpoint; 255 where any band of the model has no data.

    Args:
        model_file, store: checkpoint and packed patches.
        rows: which patches, in the order of the output.
        prediction: ``.npy`` to write: positions in the legend (rows, H, W) uint8.
        confidence: ``.npy`` to write: probability of the predicted class in percent (rows, H, W) uint8.
        edges: ``.npy`` to write: 1 on edges, else 0 (rows, H, W) uint8; from the model's edge decoder or, where it
            has none, those of the predicted classes.
        scored: which of ``rows`` are test patches.
        calibration: ``.npz`` to write on these: a :data:`cerraseg.evaluation.calibration.Tally`.
        batch_size: patches at a time.
        augment: whether to average the probabilities over the eight flips and quarter turns of each patch.
        precision: ``bfloat16`` runs the forward pass under autocast; softmax is in float32 either way.
        threads: CPU threads of torch.

    Raises:
        DataError: if the checkpoint cannot be used or the store lacks its bands.
        MemoryShortage: if a batch is too large for the memory.
        StorageError: if the disk is too small.
    """
    torch.set_num_threads(threads)
    device = inference.device()
    segmenter, blueprint, _ = checkpoint.load(model_file)
    segmenter = segmenter.to(device).to(memory_format=torch.channels_last)
    shape = len(rows), store.size, store.size
    need_room(Path(prediction).parent, 3 * len(rows) * store.size**2, "prediction")
    wanted = np.isin(rows, scored) if calibration is not None and scored is not None else np.zeros(len(rows), bool)
    bands, truth = blueprint.described.bands(blueprint.modality), store.truth(blueprint.level)
    patches = PackedPatches(store, rows, bands, [truth])
    order, tallies = batches(np.arange(len(rows)), batch_size), []
    with (
        explain_out_of_memory(batch_size_hint("predict.batch_size", batch_size)),
        ExitStack() as stack,
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        files = [stack.enter_context(new_array(path, shape)) for path in (prediction, confidence, edges)]
        streamed = progress(Streamed(patches, order, device, _unchanged), "predict", len(order))
        for batch, (images, masks) in zip(order, streamed, strict=True):
            tiles, counts = _tiles(segmenter, images, masks[:, 0], wanted[batch], augment)
            tallies += counts
            for file, tile in zip(files, tiles, strict=True):
                file.write(tile.data)
    if tallies:
        given = blueprint.calibration
        known = {
            "rows": rows[wanted],
            "method": np.array([given["method"] if given else "none"]),
            "temperature": np.array([1 / np.mean(given["scale"]) if given else 1.0]),
        }
        write_tally(calibration or "", pooled(tallies) | known)
    log.info("predicted %d patches on %s in %s", len(rows), device, precision)


def _unchanged(images: Tensor) -> Tensor:
    return images


def _tiles(
    segmenter: checkpoint.Segmenter, images: Tensor, truth: Tensor, scored: NDArray[np.bool_], augment: bool
) -> tuple[list[Bytes], list[Tally]]:
    """Classes, confidence in percent and edges, (B, H, W) each, of raw images; a tally of those patches to score.

    Images are (B, bands, H, W), ``truth`` (B, H, W).
    """
    missing, least = images.isnan().any(1), segmenter.blueprint.calibration.get("least", ())
    both = bool(len(least) and scored.any())

    def shares(images: Tensor) -> list[Tensor]:
        raw, *edges = segmenter.raw(images)
        tasks = [segmenter.calibrated(raw), *([raw] * both), *edges]
        return [inference.probabilities(logits) for logits in tasks]

    seen = segmenter.normalise(images)
    found = inference.flipped_mean(shares, seen) if augment else shares(seen)
    stages, edges = found[: 1 + both][::-1], found[1 + both :]
    decided = [inference.decide(stage, segmenter.ancestors) for stage in stages]
    parts = [*decided[-1], *(((e[:, 1] > e[:, 0]) & (e[:, 1] == e.amax(1))).to(torch.uint8) for e in edges)]
    classes, percent, *drawn = torch.stack(parts).masked_fill(missing, IGNORE).cpu().numpy()  # so one wait for the GPU
    counts = []
    if scored.any():
        kept = torch.from_numpy(scored).to(images.device)
        of_stages = stages, [positions for positions, _ in decided]
        probabilities, chosen = ([part[kept].cpu().numpy() for part in parts] for parts in of_stages)
        counts.append(tally(probabilities, truth.cpu().numpy()[scored], chosen, least))
    return [classes, percent, drawn[0] if drawn else derive_edges(classes)], counts
