"""Prediction against the published loop, which builds and loads the model for every patch, and a bare forward pass.

    PYTHONPATH=. .venv/bin/python tests/benchmarks/bench_predict.py [patches] [--model unet|transnuseg]
        [--architecture resnet50|small] [--peer-patches n] [--repeats n] [--threads n]
        [--cpu-time]

Random pixels and random parameters, 14 bands, 7 classes. Every method runs in a process of its own, in turns, and the
fastest of ``--repeats`` counts; importing torch is in no time. Ours is ``predict.predict`` whole, from the
checkpoint to the files. The published loop runs on a few patches and is scaled to all. The bare loop passes one batch
that lies in memory, without softmax and without writing, and is scaled likewise; its best batch size counts.
"""

import json
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch
from reporting import measured, result, row
from torch.utils.flop_counter import FlopCounterMode

from cerraseg.config.recipes import RECIPES, model_settings
from cerraseg.core.layout import SIZE
from cerraseg.core.taxonomy import LEVELS, MODALITIES
from cerraseg.data import packed as store
from cerraseg.mapping.predict import predict
from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Blueprint, Segmenter
from cerraseg.models.factory import build

BANDS, CLASSES = len(MODALITIES["concat"]), len(LEVELS["l1"])
SMALL = {
    "unet": {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": (16, 16, 8)},
    "transnuseg": {"embed_dim": 12, "heads": (1, 2, 4)},
}
SIZES = (1, 2, 4, 8, 16, 32)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
FILES = ("images.npy", "masks.npy", "header.json")


def arguments() -> Namespace:
    """Of the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("patches", nargs="?", type=int, default=1000)
    parser.add_argument("--model", choices=SMALL, default="unet")
    parser.add_argument("--architecture", choices=("resnet50", "small"), default="resnet50", help="resnet50: published")
    parser.add_argument("--peer-patches", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--cpu-time",
        action="store_const",
        dest="clock",
        const=time.process_time,
        help="for a machine in use, with --threads 1",
    )
    parser.set_defaults(clock=time.perf_counter)
    parser.add_argument("--run", nargs=2, help="(a process of its own) method and folder")
    return parser.parse_args()


def settings(options: Namespace) -> dict:
    """Of the published model or of a small one."""
    own = SMALL[options.model] if options.architecture == "small" else {}
    return model_settings(options.model, own, RECIPES["paper"][options.model])


def prepare(folder: Path, options: Namespace) -> None:
    """A packed store and two checkpoints, ours and one that holds the parameters alone."""
    shape, rng = (options.patches, BANDS, SIZE, SIZE), np.random.default_rng(0)
    images = np.lib.format.open_memmap(folder / FILES[0], "w+", np.float32, shape)
    for image in images:
        image[:] = rng.standard_normal(image.shape, np.float32)
    np.save(folder / FILES[1], np.zeros((options.patches, 1, SIZE, SIZE), np.uint8))
    header = store.Header(options.patches, MODALITIES["concat"], ("l1",), "", "")
    (folder / FILES[2]).write_text(json.dumps(vars(header)))
    torch.manual_seed(0)
    blueprint = Blueprint(options.model, settings(options), "concat", "l1")
    parameters = Segmenter(blueprint).net.state_dict()
    checkpoint.save(folder / "model.pt", blueprint, parameters, {})
    torch.save(parameters, folder / "parameters.pt")


def first(logits):
    return logits[0] if isinstance(logits, tuple) else logits


def wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def ours(folder: Path, options: Namespace, precision: str) -> dict:
    """The whole of a prediction; classes stay for the comparison."""
    outputs = [folder / f"{precision}-{name}.npy" for name in ("prediction", "confidence", "edges")]
    packed = store.open_store(*(folder / name for name in FILES))
    start = options.clock()
    predict(
        folder / "model.pt", packed, np.arange(options.patches), *outputs, precision=precision, threads=options.threads
    )
    return {"seconds": options.clock() - start}


def published(folder: Path, options: Namespace) -> dict:
    """Per patch: build the model, load its parameters, predict the one patch."""
    images = np.load(folder / FILES[0], mmap_mode="r")
    count = min(options.peer_patches, options.patches)
    start = options.clock()
    for number in range(count):
        model = build(options.model, BANDS, CLASSES, settings(options)).to(DEVICE)
        model.load_state_dict(torch.load(folder / "parameters.pt", map_location=DEVICE, weights_only=True))
        model.eval()
        with torch.no_grad():
            logits = first(model(torch.from_numpy(images[number : number + 1].copy()).to(DEVICE)))
        np.save(folder / "one.npy", logits.argmax(1).to(torch.uint8).cpu().numpy())
    return {"seconds": (options.clock() - start) / count * options.patches, "count": count}


def bare(folder: Path, options: Namespace) -> dict:
    """Seconds for all patches by batch size: forward passes alone, of the model as it was built."""
    model = checkpoint.load(folder / "model.pt")[0].net.to(DEVICE, memory_format=torch.channels_last)
    pixels = torch.from_numpy(np.load(folder / FILES[0], mmap_mode="r")[: max(SIZES)].copy()).to(DEVICE)
    times = {}
    with torch.inference_mode():
        for size in (size for size in SIZES if size <= len(pixels)):
            images = pixels[:size].contiguous(memory_format=torch.channels_last)
            passes = max(2, min(options.patches, 48) // size)
            model(images)
            wait()
            start = options.clock()
            for _ in range(passes):
                model(images)
            wait()
            times[str(size)] = (options.clock() - start) / passes / size * options.patches
    return {"times": times}


def floor(folder: Path, options: Namespace) -> dict:
    """Operations (10⁹) a patch, and the rate (10⁹ a second) of one large product of float32 matrices."""
    model = checkpoint.load(folder / "model.pt")[0].net
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(1, BANDS, SIZE, SIZE))
    side, best = 3072, float("inf")
    left, right = torch.randn(2, side, side, device=DEVICE)
    for _ in range(4):
        wait()
        start = options.clock()
        left @ right
        wait()
        best = min(best, options.clock() - start)
    return {"work": counter.get_total_flops() / 1e9, "rate": 2 * side**3 / best / 1e9}


METHODS = {
    "published": published,
    "bare": bare,
    "floor": floor,
    **{name: lambda *given, name=name: ours(*given, precision=name) for name in ("float32", "bfloat16")},
}


def gather(folder: str, options: Namespace) -> dict[str, dict]:
    """The fastest of what each method took."""
    found: dict[str, list[dict]] = {name: [] for name in METHODS}
    for _ in range(options.repeats):
        for name in METHODS:
            found[name].append(measured(__file__, *sys.argv[1:], "--run", name, folder))
    best = {name: min(found[name], key=lambda run: run["seconds"]) for name in ("published", "float32", "bfloat16")}
    times = [run["times"] for run in found["bare"]]
    best["bare"] = {size: min(run[size] for run in times) for size in times[0]}
    best["floor"] = max(found["floor"], key=lambda run: run["rate"])
    return best


def report(options: Namespace, best: dict, changed: float) -> None:
    """Rows of the table, then the floor and what lies between."""
    exact, rough, loop = (best[name]["seconds"] for name in ("float32", "bfloat16", "published"))
    shape = {"unet": "U-Net ResNet-50", "transnuseg": "TransNuSeg"}[options.model]
    model = shape if options.architecture == "resnet50" else f"small {shape.split()[0]}"
    device = "CPU" if DEVICE.type == "cpu" else torch.cuda.get_device_name()
    what = f"predict {options.patches:,} patches, {model}, {device}"
    peer = f"published loop, model loaded for every patch ({best['published']['count']} patches, scaled): {loop:.3g} s"
    row(f"{what}, float32", f"{exact:.3g} s", peer, loop / exact, "≥ 12" if options.model == "unet" else "")
    size, least = min(best["bare"].items(), key=lambda item: item[1])
    row(f"{what}, float32", f"{exact:.3g} s", f"bare forward pass, batch {size}: {least:.3g} s", least / exact, "≥ 0.9")
    row(f"{what}, bfloat16", f"{rough:.3g} s", f"float32, ours: {exact:.3g} s", exact / rough)
    bound = best["floor"]["work"] / best["floor"]["rate"] * options.patches
    row(
        f"{what}, float32",
        f"{exact:.3g} s",
        f"arithmetic at the rate of a matrix product: {bound:.3g} s",
        bound / exact,
    )
    print(f"{options.threads} threads, torch {torch.__version__}, best of {options.repeats}, {options.clock.__name__}")
    print("bare forward pass, ms a patch by batch: ", end="")
    print(", ".join(f"{size}: {1e3 * seconds / options.patches:.1f}" for size, seconds in best["bare"].items()))
    print("floor: {work:.2f} GFLOP a patch, {rate:.0f} GFLOP/s".format(**best["floor"]))
    print(f"peak memory: float32 {best['float32']['peak']:,.0f} MB, bfloat16 {best['bfloat16']['peak']:,.0f} MB")
    print(f"bfloat16 gives {changed:.3%} of the pixels another class (random parameters)")


def main() -> None:
    options = arguments()
    if options.run:
        torch.set_num_threads(options.threads)
        return result(**METHODS[options.run[0]](Path(options.run[1]), options))
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options)
        best = gather(folder, options)
        exact, rough = (np.load(Path(folder) / f"{name}-prediction.npy") for name in ("float32", "bfloat16"))
        report(options, best, float((exact != rough).mean()))


if __name__ == "__main__":
    main()
