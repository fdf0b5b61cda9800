"""Predict packed patches: class ids and confidence as packed arrays."""

from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from cerraseg import checkpoint
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
    with replacing(prediction) as new_prediction, replacing(confidence) as new_confidence, torch.inference_mode():
        classes = open_memmap(new_prediction, "w+", np.uint8, shape)
        percent = open_memmap(new_confidence, "w+", np.uint8, shape)
        done = 0
        for batch in progress(batches(rows, batch_size), "predict"):
            images = torch.from_numpy(store.images[batch, channels]).to(device)
            best, ids = segmenter(images).float().softmax(1).max(1)
            classes[done : done + len(batch)] = ids.to(torch.uint8).cpu().numpy()
            percent[done : done + len(batch)] = (best * 100).round().to(torch.uint8).cpu().numpy()
            done += len(batch)
        classes.flush()
        percent.flush()
    log.info("predicted %d patches on %s", len(rows), device)
