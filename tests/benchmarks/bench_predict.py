"""Prediction against the published loop, which builds and loads the model for every patch, and a bare forward pass.

Usage: bench_predict.py [patches] [--model unet|transnuseg] [--small] [--peer-patches N] [--repeats N] [--threads N]
Random pixels and random parameters, 14 bands, 7 classes. The methods take turns, and the fastest counts; importing
torch is in no time. Ours is ``predict.predict`` whole, from the checkpoint to the files. The published loop runs on a
few patches and is scaled to all. The bare loop passes one batch that lies in memory, without softmax and without
writing, and is scaled likewise; its best batch size counts.
"""

import tempfile
import time
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from inputs import CERRADATA, MODELS, PACKED, SMALL, open_packed, write_checkpoint, write_store
from measuring import Run, arguments, measured, row

from cerraseg.config.recipes import RECIPES, model_settings
from cerraseg.mapping.predict import predict
from cerraseg.models import checkpoint
from cerraseg.models.factory import build

CHANNELS = [len(sensor.bands) for sensor in CERRADATA.sensors.values()]
SIZES = (1, 2, 4, 8, 16, 32)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def settings(options: Namespace) -> dict:
    """Of the published model or of a small one."""
    own = SMALL[options.model] if options.small else {}
    return model_settings(options.model, own, RECIPES["paper"][options.model])


def ours(folder: Path, options: Namespace, precision: str):
    """The whole of a prediction."""
    outputs = [folder / f"{name}.npy" for name in (precision, "confidence", "edges")]
    store, rows = open_packed(folder), np.arange(options.patches)
    how = {"precision": precision, "threads": options.threads}
    return lambda: predict(folder / "model.pt", store, rows, *outputs, **how)


def published(folder: Path, options: Namespace):
    """Per patch: build the model, load its parameters, predict the one patch."""
    torch.set_num_threads(options.threads)
    images = np.load(folder / PACKED[0], mmap_mode="r")

    def loop() -> None:
        for number in range(options.peer_patches):
            model = build(options.model, CHANNELS, 7, settings(options), CERRADATA.patch_size).to(DEVICE)
            model.load_state_dict(torch.load(folder / "parameters.pt", map_location=DEVICE, weights_only=True))
            model.eval()
            with torch.no_grad():
                logits = model(torch.from_numpy(images[number : number + 1].copy()).to(DEVICE))
            logits = logits[0] if isinstance(logits, tuple) else logits
            np.save(folder / "one.npy", logits.argmax(1).to(torch.uint8).cpu().numpy())

    return loop


def bare(folder: Path, options: Namespace):
    """Seconds for all patches by batch size: forward passes alone, of the model as it was built."""
    torch.set_num_threads(options.threads)
    model = checkpoint.load(folder / "model.pt")[0].net.to(DEVICE, memory_format=torch.channels_last)
    pixels = torch.from_numpy(np.load(folder / PACKED[0], mmap_mode="r")[: max(SIZES)].copy()).to(DEVICE)

    def passes(size: int) -> float:
        images = pixels[:size].contiguous(memory_format=torch.channels_last)
        count = max(2, min(options.patches, 48) // size)
        clock(model(images))
        start = clock()
        for _ in range(count):
            model(images)
        return (clock() - start) / count / size * options.patches

    def all_sizes() -> dict[int, float]:
        with torch.inference_mode():
            return {size: passes(size) for size in SIZES if size <= len(pixels)}

    return all_sizes


def clock(_=None) -> float:
    """Seconds, behind all that the device was asked for."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


METHODS = {
    "published": published,
    "bare": bare,
    "float32": partial(ours, precision="float32"),
    "bfloat16": partial(ours, precision="bfloat16"),
}


def report(options: Namespace, runs: dict[str, list[Run]]) -> None:
    loop, exact, rough = (min(run.seconds for run in runs[name]) for name in ("published", "float32", "bfloat16"))
    loop *= options.patches / options.peer_patches
    least, size = min((seconds, size) for run in runs["bare"] for size, seconds in run.value.items())
    model = f"small {options.model}" if options.small else MODELS[options.model]
    device = "CPU" if DEVICE.type == "cpu" else torch.cuda.get_device_name()
    what = f"predict {options.patches:,} patches, {model}, {device}"
    peer = f"published loop, model loaded for every patch ({options.peer_patches} patches, scaled): {loop:.3g} s"
    row(f"{what}, float32", f"{exact:.3g} s", peer, loop / exact, "≥ 12" if options.model == "unet" else "")
    row(f"{what}, float32", f"{exact:.3g} s", f"bare forward pass, batch {size}: {least:.3g} s", least / exact, "≥ 0.9")
    row(f"{what}, bfloat16", f"{rough:.3g} s", f"float32, ours: {exact:.3g} s", exact / rough)


def main() -> None:
    threads = torch.get_num_threads()
    options = arguments(
        __doc__, {"patches": 1000}, model="unet", small=False, peer_patches=20, repeats=3, threads=threads
    )
    runs: dict[str, list[Run]] = {name: [] for name in METHODS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_store(folder, options.patches)
        write_checkpoint(folder / "model.pt", settings(options), options.model)
        torch.save(checkpoint.load(folder / "model.pt")[0].net.state_dict(), folder / "parameters.pt")
        for _ in range(options.repeats):
            for name, method in METHODS.items():
                runs[name].append(measured(method, folder, options))
        changed = np.load(folder / "float32.npy") != np.load(folder / "bfloat16.npy")
    report(options, runs)
    print(f"bfloat16 gives {changed.mean():.3%} of the pixels another class (random parameters)")


if __name__ == "__main__":
    main()
