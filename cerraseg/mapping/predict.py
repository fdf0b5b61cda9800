"""Predict packed patches: class ids, confidence and edges as arrays."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cerraseg.core.layout import SIZE
from cerraseg.core.logs import log, progress
from cerraseg.core.memory import batch_size_hint, explain_out_of_memory
from cerraseg.core.storage import need_room
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
    """Predict the patches in ``rows`` with a checkpoint.

    Args:
        model_file, store: checkpoint and packed patches.
        rows: which patches, in the order of the output.
        prediction: ``.npy`` to write: class ids (rows, 128, 128) uint8.
        confidence: ``.npy`` to write: probability of the predicted class in percent (rows, 128, 128) uint8.
        edges: ``.npy`` to write: 1 on edges, else 0 (rows, 128, 128) uint8; from the model's edge decoder or, where it
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
    need_room(Path(prediction).parent, 3 * len(rows) * SIZE * SIZE, "prediction")
    patches, order = PackedPatches(store, rows, blueprint.modality, []), batches(np.arange(len(rows)), batch_size)
    with (
        explain_out_of_memory(batch_size_hint("predict.batch_size", batch_size)),
        ExitStack() as stack,
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        new = [new_array(path, (len(rows), SIZE, SIZE)) for path in (prediction, confidence, edges)]
        files = [stack.enter_context(file) for file in new]
        for images, _ in progress(Streamed(patches, order, device, segmenter.normalise), "predict", len(order)):
            for file, tiles in zip(files, _tiles(segmenter, images), strict=True):
                file.write(tiles.data)
    log.info("predicted %d patches on %s in %s", len(rows), device, precision)


def _tiles(segmenter: checkpoint.Segmenter, images: Tensor) -> tuple[NDArray[np.uint8], ...]:
    """Class ids, confidence in percent and edges, (B, H, W) each, of normalised images (B, bands, H, W)."""
    semantic, *edge = segmenter.logits(images)
    parts = list(inference.decide(inference.probabilities(semantic), segmenter.hierarchical))
    parts += [((e[:, 1] > e[:, 0]) & (e[:, 1] == e.amax(1))).to(torch.uint8) for e in edge]
    classes, percent, *edges = torch.stack(parts).cpu().numpy()  # one copy from the GPU, so one wait
    return classes, percent, edges[0] if edges else derive_edges(classes)
