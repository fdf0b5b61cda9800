"""What training costs: operations and time a patch of each published scenario, and GPU hours that follow.

Usage: bench_models.py [--tiny]
Operations (forward and backward pass) are counted by torch; the time is measured on the device at hand, a GPU if there
is one. GPU hours are for 100 epochs of 21,809 training and 5,453 validation patches: on a GPU from the time measured,
on a CPU from the operations at an assumed sustained rate of 10 TFLOP/s, float32. ``--tiny``: one scenario, one patch
and one pass.
"""

import time
from itertools import product

import torch
from inputs import CERRADATA
from measuring import arguments
from torch.utils.flop_counter import FlopCounterMode

from cerraseg.models.factory import build

TRAIN, VALIDATION, EPOCHS = 21_809, 5_453, 100
TERA = 10.0  # operations (10¹²) a second of a GPU, assumed
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def work(model: torch.nn.Module, images: torch.Tensor) -> None:
    """One pass; in training also backward."""
    with torch.set_grad_enabled(model.training):
        logits = model(images)
        if model.training:
            sum(part.square().mean() for part in (logits if isinstance(logits, tuple) else (logits,))).backward()


def cost(model: torch.nn.Module, images: torch.Tensor, passes: int) -> tuple[float, float]:
    """Operations (10⁹) a patch, and seconds a patch of the fastest pass."""
    with FlopCounterMode(display=False) as counter:
        work(model, images)
    times = []
    for _ in range(passes):
        start = time.perf_counter()
        work(model, images)
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return counter.get_total_flops() / len(images) / 1e9, min(times) / len(images)


def report(name: str, modality: str, level: str, batch: int, passes: int) -> None:
    """Print the row of a model."""
    channels, classes = [len(sensor.bands) for sensor in CERRADATA.sensors_of(modality)], len(CERRADATA.classes(level))
    model = build(name, channels, classes, {}, CERRADATA.patch_size).to(DEVICE).to(memory_format=torch.channels_last)
    images = torch.randn(batch, sum(channels), 128, 128, device=DEVICE)
    (training, train), (prediction, predict) = (cost(model.train(how), images, passes) for how in (True, False))
    each = (train, predict) if DEVICE == "cuda" else (training / TERA / 1e3, prediction / TERA / 1e3)
    hours = EPOCHS * (TRAIN * each[0] + VALIDATION * each[1]) / 3600
    figures = training, prediction, 1e3 * train, 1e3 * predict, hours
    shown = " | ".join(f"{figure:.1f}" for figure in figures)
    print(f"| {name} | {modality} | {level} | {shown} |", flush=True)


def main() -> None:
    scenarios = [*product(("unet", "transnuseg"), CERRADATA.modalities, CERRADATA.levels)]
    if arguments(__doc__, tiny=False).tiny:
        return report(*scenarios[0], batch=1, passes=1)
    for scenario in scenarios:
        report(*scenario, batch=32 if DEVICE == "cuda" else 4, passes=5)


if __name__ == "__main__":
    main()
