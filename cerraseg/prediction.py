"""Predict packed patches: class ids, confidence and edges as packed arrays."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from cerraseg import checkpoint
from cerraseg.edges import derive
from cerraseg.files import replacing
from cerraseg.logs import log, progress
from cerraseg.patches import SIZE
from cerraseg.store import Store, batches


def predict(
    model_file: str | Path,
    store: Store,
    rows: NDArray[np.int64],
    prediction: str | Path,
    confidence: str | Path,
    edges: str | Path,
    *,
    batch_size: int = 32,
    threads: int = 1,
) -> None:
    """Predict the patches in ``rows`` with a checkpoint.

    Args:
        model_file: checkpoint.
        store: packed patches.
        rows: which patches, in the order of the output.
        prediction: ``.npy`` to write: class ids (rows, 128, 128) uint8.
        confidence: ``.npy`` to write: probability of the predicted class in percent (rows, 128, 128) uint8.
        edges: ``.npy`` to write: 1 on edges, else 0 (rows, 128, 128) uint8; from the model's edge decoder or, where it
            has none, those of the predicted classes.
        batch_size: patches at a time.
        threads: CPU threads of torch.

    Raises:
        DataError: if the checkpoint cannot be used or the store lacks its bands.
    """
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    segmenter, blueprint, _ = checkpoint.load(model_file)
    segmenter = segmenter.to(device).to(memory_format=torch.channels_last)
    channels, shape = store.channels(blueprint.modality), (len(rows), SIZE, SIZE)
    with ExitStack() as stack, torch.inference_mode():
        files = [stack.enter_context(replacing(path)) for path in (prediction, confidence, edges)]
        targets = [open_memmap(file, "w+", np.uint8, shape) for file in files]
        done = 0
        for batch in progress(batches(rows, batch_size), "predict"):
            images = torch.from_numpy(store.images[batch, channels]).to(device)
            for target, tiles in zip(targets, _tiles(*segmenter(images)), strict=True):
                target[done : done + len(batch)] = tiles
            done += len(batch)
        for target in targets:
            target.flush()
    log.info("predicted %d patches on %s", len(rows), device)


def _tiles(semantic: Tensor, edge: Tensor | None = None) -> tuple[NDArray[np.uint8], ...]:
    """Class ids, confidence in percent, and where edges are: each (B, H, W)."""
    best, ids = semantic.float().softmax(1).max(1)
    classes, percent = (part.to(torch.uint8).cpu().numpy() for part in (ids, (best * 100).round()))
    edges = derive(classes) if edge is None else (edge.argmax(1) == 1).to(torch.uint8).cpu().numpy()
    return classes, percent, edges
