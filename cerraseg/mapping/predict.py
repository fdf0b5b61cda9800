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
from cerraseg.models import checkpoint, inference
from cerraseg.training.batches import PackedPatches, Streamed


def predict(
    model_file: str | Path,
    store: Store,
    rows: NDArray[np.int64],
    prediction: str | Path,
    confidence: str | Path,
    edges: str | Path,
    *,
    batch_size: int = 32,
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
        batch_size: patches at a time.
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
    patches = PackedPatches(store, rows, blueprint.described.bands(blueprint.modality), [])
    order = batches(np.arange(len(rows)), batch_size)
    with (
        explain_out_of_memory(batch_size_hint("predict.batch_size", batch_size)),
        ExitStack() as stack,
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        files = [stack.enter_context(new_array(path, shape)) for path in (prediction, confidence, edges)]
        for images, _ in progress(Streamed(patches, order, device, _unchanged), "predict", len(order)):
            for file, tiles in zip(files, _tiles(segmenter, images), strict=True):
                file.write(tiles.data)
    log.info("predicted %d patches on %s in %s", len(rows), device, precision)


def _unchanged(images: Tensor) -> Tensor:
    return images


def _tiles(segmenter: checkpoint.Segmenter, images: Tensor) -> tuple[NDArray[np.uint8], ...]:
    """Classes, confidence in percent and edges, (B, H, W) each, of raw images (B, bands, H, W)."""
    missing = images.isnan().any(1)
    semantic, *edge = segmenter(images)
    parts = list(inference.decide(inference.probabilities(semantic), segmenter.ancestors))
    parts += [((e[:, 1] > e[:, 0]) & (e[:, 1] == e.amax(1))).to(torch.uint8) for e in edge]
    found = torch.stack(parts).masked_fill(missing, IGNORE)
    classes, percent, *edges = found.cpu().numpy()  # one copy from the GPU, so one wait
    return classes, percent, edges[0] if edges else derive_edges(classes)
