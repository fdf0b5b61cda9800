"""Time training on the device at hand: ``python tests/benchmarks/bench_training.py``.

Ours is the training step as a run makes it (Lightning, our loader, loss, optimiser), from its third step to its last.
Against it, each in a process of its own:

- published: float32, batch 32, a torch DataLoader that opens four GeoTIFF files a patch, Adam, the loss fetched at
  every step; 16 workers beside a GPU, else 2.
- bare: forward, loss, backward and optimiser on one batch that lies on the device. What our step takes longer is ours.

The floor is the model's operations over the rate of a large matrix product on the same device in the same precision.
Without a GPU it times a few small batches on the CPU, and the rows of a GPU say so.
"""

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path

import bench_loader
import numpy as np
import reporting

GPU_ROWS = (("unet", "≥ 15"), ("transnuseg", "≥ 8"))
NAMES = {"unet": "U-Net ResNet-50", "transnuseg": "TransNuSeg"}
SMALL = {
    "unet": {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": (16, 16, 8)},
    "transnuseg": {"embed_dim": 12, "heads": (1, 2, 4)},
}


def device():
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def plan(job):
    from cerraseg.config.recipes import RECIPES
    from cerraseg.config.scenario import parse
    from cerraseg.training.plan import Plan

    scenario = parse(f"{job['model']}-concat-nw-l1-{job['recipe']}-1")
    recipe = RECIPES[scenario.recipe][scenario.model]
    settings = SMALL[job["model"]] if job["small"] else {}
    how = {"threads": job["threads"], "loading": job["loading"], "compile": job["compile"]}
    return Plan(scenario, recipe, settings, 1, job["batch"], **how)


def statistics():
    from cerraseg.core.taxonomy import LEVELS, MODALITIES

    bands = {band: {"mean": 1000.0, "std": 500.0} for band in MODALITIES["concat"]}
    return {"bands": bands, "levels": {"l1": {"class_weights": [1.0] * len(LEVELS["l1"])}}}


def assemble(job, folder):
    """The trainer, the loop and the batches of ``job['steps']`` steps, as ``training._fit`` puts them together."""
    import torch

    from cerraseg.core.memory import keep_memory
    from cerraseg.data.packed import open_store
    from cerraseg.training.batches import EpochBatches, PackedPatches, loaders
    from cerraseg.training.module import TrainingModule
    from cerraseg.training.trainer import build_trainer, mixed

    what = plan(job)
    keep_memory()
    torch.set_num_threads(what.threads)
    logging.getLogger("cerraseg").setLevel(logging.INFO)
    store = open_store(*(folder / name for name in ("images.npy", "masks.npy", "header.json")))
    rows = np.resize(np.arange(store.header.patches), max(job["patches"], job["steps"] * job["batch"]))
    layers = ["l1", *(["edge_l1"] if what.scenario.edges else [])]
    order = EpochBatches(len(rows), what.batch_size, 1)
    loop = TrainingModule(what, statistics(), order).to(device())
    parts = [
        (PackedPatches(store, rows, "concat", layers), order),
        (PackedPatches(store, rows[:1], "concat", layers), []),
    ]
    dtype = torch.bfloat16 if mixed(what) else torch.float32
    how = {"dtype": dtype, "readers": max(1, what.threads - 1), "held": slice}
    train, _ = loaders(parts, what.loading, device(), loop.segmenter.normalise, **how)
    return build_trainer(what, folder), loop, train


def ours(job, folder):
    """Seconds a step of a training."""
    import lightning.pytorch as L

    stamps = []

    class Clock(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            if 1 <= index < job["steps"]:
                stamps.append(now(wait=index in (1, job["steps"] - 1)))
                trainer.should_stop = index == job["steps"] - 1

    trainer, loop, train = assemble(job, folder)
    trainer.callbacks.append(Clock())
    trainer.limit_val_batches = 0
    trainer.fit(loop, train)
    return spent(stamps)


def bare(job, folder):
    """Seconds a step of the model alone: the same logits, loss and optimiser on one batch."""
    import torch

    trainer, loop, train = assemble(job, folder)
    images, masks = (part.clone() for part in next(iter(train)))
    masks, loop.losses = masks.long(), {}
    optimizer = loop.configure_optimizers()["optimizer"]
    loop.train()
    stamps = []
    for step in range(job["steps"]):
        with torch.autocast("cuda", torch.bfloat16, enabled=trainer.precision == "bf16-mixed"):
            loss = loop.loss(loop.logits(images), masks, "train")
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        stamps.append(now(wait=step in (1, job["steps"] - 1)))
    return spent(stamps[1:])


def published(job, folder):
    """Seconds a step of the published loop."""
    import torch
    from torch.nn import functional as F

    from cerraseg.models.factory import build

    torch.set_num_threads(job["threads"])
    settings = SMALL[job["model"]] if job["small"] else {}
    model = build(job["model"], 14, 7, settings).to(device())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    workers = 16 if device().type == "cuda" else 2
    files = bench_loader.files(folder, job["steps"] * job["batch"])
    stamps = []
    for step, (images, masks) in enumerate(bench_loader.geotiff_batches(files, job["batch"], workers)):
        images, masks = images.to(device()), masks.to(device())
        logits = model(images)
        pairs = zip(logits, masks.unbind(1), strict=False) if isinstance(logits, tuple) else [(logits, masks[:, 0])]
        loss = sum(F.cross_entropy(task.softmax(1), mask) for task, mask in pairs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        stamps.append(now(wait=step == 1))
    return spent(stamps[1:])


def floor(job, _):
    """Seconds a step if every operation ran at the rate of a large matrix product."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cerraseg.models.checkpoint import Segmenter, make_blueprint

    what = plan(job)
    torch.set_num_threads(what.threads)
    segmenter = Segmenter(make_blueprint(what.scenario, what.recipe, what.settings, statistics()))
    with FlopCounterMode(display=False) as counter:
        sum(part.sum() for part in segmenter.logits(torch.randn(2, 14, 128, 128))).backward()
    half = device().type == "cuda" and what.recipe.mixed_precision
    return counter.get_total_flops() / 2 * job["batch"] / matrix_rate(torch.bfloat16 if half else torch.float32)


def matrix_rate(dtype):
    """Operations a second of a matrix product, the best of ten."""
    import torch

    side = 8192 if device().type == "cuda" else 2048
    one, other = (torch.randn(side, side, device=device(), dtype=dtype) for _ in range(2))
    times = []
    for _ in range(10):
        start = now()
        one @ other
        times.append(now() - start)
    return 2 * side**3 / min(times)


def now(wait=True):
    """A clock that has waited for the device."""
    import torch

    if wait and device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def spent(stamps):
    """Seconds a step: the mean on a GPU, which computes while the next step is prepared, else the median."""
    return (
        (stamps[-1] - stamps[0]) / (len(stamps) - 1) if device().type == "cuda" else float(np.median(np.diff(stamps)))
    )


METHODS = {"ours": ours, "bare": bare, "published": published, "floor": floor}


def name_of(job):
    return f"small {job['model']}" if job["small"] else NAMES[job["model"]]


def compare(folder, job, reach):
    """Rows of one model at one batch size."""
    rate = {}
    for name in METHODS:
        of = job | ({"batch": min(32, job["batch"]), "recipe": "paper"} if name == "published" else {})
        seconds = reporting.measured(__file__, "--run", name, "--folder", str(folder), "--job", json.dumps(of))[
            "seconds"
        ]
        rate[name] = of["batch"] / seconds
        print(f"{name_of(job)}, batch {of['batch']}: {name:9} {rate[name]:10,.1f} patches/s", flush=True)
    what = f"training, {name_of(job)}, batch {job['batch']}, {job['where']}"
    shown = f"{rate['ours']:,.4g} patches/s"
    peer = f"published loop, batch {min(32, job['batch'])}: {rate['published']:,.4g} patches/s"
    reporting.row(what, shown, peer, rate["ours"] / rate["published"], reach)
    beside = f"bare model step: {rate['bare']:,.4g} patches/s"
    reporting.row(
        f"{what}: share of the step beside the model's", shown, beside, 1 - rate["ours"] / rate["bare"], "≤ 0.05"
    )
    reporting.row(
        f"{what}: share of the matrix rate",
        shown,
        f"floor: {rate['floor']:,.4g} patches/s",
        rate["ours"] / rate["floor"],
    )


def jobs(steps, small, compile):
    """What is timed on the device at hand, and what each is to reach."""
    common = {"small": small, "recipe": "tuned", "steps": steps, "compile": compile, "loading": "auto", "patches": 0}
    if device().type == "cuda":
        import torch

        gpu = common | {"where": torch.cuda.get_device_name(), "threads": 8}
        for model, reach in GPU_ROWS:
            for batch in (32, 256):
                yield gpu | {"model": model, "batch": batch}, reach
        yield gpu | {"model": "unet", "batch": 256, "patches": 27_000}, "≥ 15"
    else:
        for model, _ in GPU_ROWS:
            yield common | {"where": "2 CPU threads", "threads": 2, "model": model, "batch": 4 if small else 8}, ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="of which the first two are not timed")
    parser.add_argument("--patches", type=int, default=512, help="simulated patches, used again and again")
    parser.add_argument("--small", action="store_true", help="small models")
    parser.add_argument("--compile", action="store_true", help="as training.compile: true")
    parser.add_argument("--folder", type=Path, help="where prepared data lies, or is to be prepared and kept")
    parser.add_argument("--run", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        return reporting.result(seconds=METHODS[arguments.run](arguments.job, arguments.folder))
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "header.json").exists():
            bench_loader.prepare(folder, arguments.patches)
        for job, reach in jobs(arguments.steps, arguments.small, arguments.compile):
            compare(folder, job, reach)
    if device().type == "cpu":
        for model, reach in GPU_ROWS:
            reporting.not_measured(f"training, {NAMES[model]}, batch 32 and 256, on a GPU", "no GPU", reach)
        reporting.not_measured("whole training at 27,000 patches on one GPU, patches held there", "no GPU")


if __name__ == "__main__":
    main()
