"""What training costs: operations and time a patch of each published scenario, and GPU hours that follow.

    PYTHONPATH=. .venv/bin/python tests/benchmarks/bench_models.py [--tiny]

Operations (forward and backward pass) are counted by torch; the time is measured on the device at hand, a GPU if there
is one. GPU hours are for 100 epochs of 21,809 training and 5,453 validation patches: on a GPU from the time measured,
on a CPU from the operations at an assumed sustained rate of 10 TFLOP/s, float32. ``--tiny``: one scenario, one patch
and one pass.
"""

import sys
import time
from itertools import product

import torch
from torch.utils.flop_counter import FlopCounterMode

from cerraseg.core.taxonomy import LEVELS, MODALITIES
from cerraseg.models.factory import build

TRAIN, VALIDATION, EPOCHS = 21_809, 5_453, 100
TERA = 10.0  # operations (10¹²) a second of a GPU, assumed
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TINY = "--tiny" in sys.argv
BATCH = 1 if TINY else 32 if DEVICE == "cuda" else 4


def work(model, images, train):
    """One pass; with ``train`` also backward."""
    with torch.set_grad_enabled(train):
        logits = model(images)
        if train:
            sum(part.square().mean() for part in (logits if isinstance(logits, tuple) else (logits,))).backward()


def giga(model, images, train):
    """Operations (10⁹) a patch."""
    with FlopCounterMode(display=False) as counter:
        work(model, images, train)
    return counter.get_total_flops() / len(images) / 1e9


def seconds(model, images, train):
    """Time a patch: the fastest of some passes."""
    times = []
    for _ in range(1 if TINY else 5):
        start = time.perf_counter()
        work(model, images, train)
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / len(images))
    return min(times)


def cost(name, modality, level):
    """Print the row of a model."""
    bands, classes = len(MODALITIES[modality]), len(LEVELS[level])
    model = build(name, bands, classes, {}).to(DEVICE).to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, bands, 128, 128, device=DEVICE)
    operations, times = {}, {}
    for train in (True, False):
        model.train(train)
        operations[train], times[train] = giga(model, images, train), seconds(model, images, train)
    train, predict = (times[t] if DEVICE == "cuda" else operations[t] / TERA / 1e3 for t in (True, False))
    hours = EPOCHS * (TRAIN * train + VALIDATION * predict) / 3600
    figures = [operations[True], operations[False], 1e3 * times[True], 1e3 * times[False], hours]
    shown = " | ".join(f"{figure:.1f}" for figure in figures)
    print(f"| {name} | {modality} | {level} | {shown} |", flush=True)


def main():
    print(f"{torch.cuda.get_device_name() if DEVICE == 'cuda' else 'CPU'}, batch {BATCH}, torch {torch.__version__}")
    print("model, modality, level, GFLOP training, GFLOP prediction, ms training, ms prediction, GPU hours")
    for scenario in [*product(("unet", "transnuseg"), MODALITIES, LEVELS)][: 1 if TINY else None]:
        cost(*scenario)


if __name__ == "__main__":
    main()
