"""What training costs: operations and time a patch of each published scenario, and GPU hours that follow.

    PYTHONPATH=. .venv/bin/python tests/benchmarks/bench_models.py [assumed TFLOP/s]

Operations (forward and backward pass) are counted by torch; the time is measured on the device at hand, a GPU if there
is one. GPU hours are for 100 epochs of 21,809 training and 5,453 validation patches: on a GPU from the time measured,
on a CPU from the operations at an assumed sustained rate (default 10 TFLOP/s, float32).
"""

import sys
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from cerraseg.models import build
from cerraseg.taxonomy import LEVELS, MODALITIES

TRAIN, VALIDATION, EPOCHS = 21_809, 5_453, 100
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH = 32 if DEVICE == "cuda" else 4


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
    """Time a patch: the fastest of five passes."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work(model, images, train)
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / len(images))
    return min(times)


def main():
    rate = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    print(f"{torch.cuda.get_device_name() if DEVICE == 'cuda' else 'CPU'}, batch {BATCH}, torch {torch.__version__}")
    print("| model | modality | level | GFLOP train | GFLOP predict | ms train | ms predict | GPU hours |")
    print("|---|---|---|--:|--:|--:|--:|--:|")
    for name in ("unet", "transnuseg"):
        for modality, bands in MODALITIES.items():
            for level, classes in LEVELS.items():
                model = build(name, len(bands), len(classes), {}).to(DEVICE).to(memory_format=torch.channels_last)
                images = torch.randn(BATCH, len(bands), 128, 128, device=DEVICE)
                cost = {}
                for train in (True, False):
                    model.train(train)
                    cost[train] = giga(model, images, train), seconds(model, images, train)
                train, predict = ((s if DEVICE == "cuda" else g / rate / 1e3) for g, s in (cost[True], cost[False]))
                hours = EPOCHS * (TRAIN * train + VALIDATION * predict) / 3600
                figures = [cost[True][0], cost[False][0], 1e3 * cost[True][1], 1e3 * cost[False][1], hours]
                print(f"| {name} | {modality} | {level} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |")


if __name__ == "__main__":
    main()
