"""Time and memory of the steps on growing numbers of simulated patches.

Usage: bench_scaling.py [patches ...]
Each step is timed behind its imports, its input evicted from the page cache. More than 5,000 patches are hard links to
the same 5,000 under further ids, so that disk and index read some files again from the cache; packed arrays,
predictions and maps have full size. Patches stand on a regular grid for the mosaic. Memory is that of the step's
processes together, without pages of mapped files, which are the system's to take.
"""

import importlib
import tempfile
from pathlib import Path

import numpy as np
from inputs import CERRADATA, DEMO_UNET, DISTINCT, PACKED, evict, link_patches, open_packed, write_checkpoint
from inputs import write_patches as simulate
from measuring import Run, arguments, measured, row

TILES = ("prediction.npy", "confidence.npy", "edges.npy")


def index(folder: Path) -> None:
    from cerraseg.data.index import write_patch_table

    write_patch_table([folder / "data"], CERRADATA, folder / "patches.parquet", folder / "rejected.csv", threads=2)


def pack(folder: Path) -> None:
    from cerraseg.data.pack import pack

    pack(folder / "patches.parquet", CERRADATA, *(folder / name for name in PACKED), workers=2)


def statistics(folder: Path) -> None:
    from cerraseg.data.statistics import write_statistics

    table, split = folder / "patches.parquet", folder / "split.csv"
    write_statistics(table, split, open_packed(folder), CERRADATA, folder / "statistics.json", threads=2)


def predict(folder: Path) -> None:
    from cerraseg.mapping.predict import predict

    store = open_packed(folder)
    tiles = [folder / name for name in TILES]
    predict(folder / "checkpoint.pt", store, np.arange(store.header.patches), *tiles, threads=2)


def mosaic(folder: Path) -> None:
    import pandas as pd

    from cerraseg.core.taxonomy import EDGES
    from cerraseg.mapping.mosaic import mosaic

    patches, legends = pd.read_parquet(folder / "patches.parquet"), (CERRADATA.classes("l1"), None, EDGES)
    for name, legend in zip(TILES, legends, strict=True):
        tiles = np.load(folder / name, mmap_mode="r")
        mosaic(patches, tiles, folder, name=name.removesuffix(".npy"), classes=legend, threads=1)


STEPS = {
    "index": (index, "cerraseg.data.index", "data/**/*.tif"),
    "pack": (pack, "cerraseg.data.packed", "data/**/*.tif"),
    "statistics": (statistics, "cerraseg.data.statistics", "*.npy"),
    "predict": (predict, "cerraseg.mapping.predict", "*.npy"),
    "mosaic": (mosaic, "cerraseg.mapping.mosaic", "*.npy"),
}
"""Step → what it does, the module that is imported before, and the files that it reads."""


def prepare(name: str, folder: Path):
    step, module, inputs = STEPS[name]
    importlib.import_module(module)
    evict(folder.glob(inputs))
    return lambda: step(folder)


def after_index(folder: Path) -> None:
    """Set the patches on a regular grid, put all into the training split, and write an untrained model."""
    import pandas as pd

    table = pd.read_parquet(folder / "patches.parquet")
    across, side, place = int(np.ceil(np.sqrt(len(table)))), 128, np.arange(len(table))
    table["c"] = place % across * side * table["a"]
    table["f"] = place // across * side * table["e"]
    table.to_parquet(folder / "patches.parquet", index=False)
    pd.DataFrame({"id": table["id"], "split": "train"}).to_csv(folder / "split.csv", index=False)
    write_checkpoint(folder / "checkpoint.pt", DEMO_UNET)


def at_size(base: Path, patches: int) -> dict[str, Run]:
    """Run every step on a number of patches."""
    found = {}
    with tempfile.TemporaryDirectory(dir=base.parent) as name:
        folder = Path(name)
        link_patches(base, folder / "data", patches)
        for step in STEPS:
            found[step] = run = measured(prepare, step, folder)
            print(f"{patches:8,} patches, {step:10} {run.seconds:.1f} s, {run.own:,.0f} MB", flush=True)
            if step == "index":
                after_index(folder)
    return found


def report(found: dict[int, dict[str, Run]]) -> None:
    """Print a row for each step: how time and memory grow from the smallest to the largest number of patches."""
    sizes = sorted(found)
    for step in STEPS:
        runs = [found[size][step] for size in sizes]
        exponent = None
        if len(sizes) > 1:
            exponent = round(float(np.polyfit(np.log(sizes), np.log([run.seconds for run in runs]), 1)[0]), 2)
        each = ", ".join(f"{n:,}: {run.seconds:.1f} s, {run.own:.0f} MB" for n, run in zip(sizes, runs, strict=True))
        whole = max(run.peak for run in runs)
        grown = f"memory × {runs[-1].own / runs[0].own:.2f}; with mapped files up to {whole:,.0f} MB"
        row(f"{step}, exponent of time over patches (simulated)", each, grown, exponent, "≤ 1.1")


def main() -> None:
    sizes = arguments(__doc__, {"sizes": [1000, 5000, 30_000]}).sizes
    found = {}
    with tempfile.TemporaryDirectory() as name:  # 30 GB at full size
        base = Path(name) / "cerradata_4mm"
        simulate(base, min(DISTINCT, max(sizes)))
        for patches in sorted(sizes):
            found[patches] = at_size(base, patches)
    report(found)


if __name__ == "__main__":
    main()
