"""Time and memory of the steps on growing numbers of simulated patches.

    PYTHONPATH=. python tests/benchmarks/bench_scaling.py [patches ...] [--plot FILE] [--base FOLDER]

Each step is the workflow's own script in a process of its own, timed behind its imports, its input evicted from the
page cache. More than 5,000 patches are hard links to the same 5,000 under further ids, so that disk and index read some
files again from the cache; packed arrays, predictions and maps have full size. Patches stand on a regular grid for the
mosaic. Memory is the largest sum of RssAnon over the step's processes: pages of mapped files are the system's to take.
``--base`` takes patches that were simulated before.
"""

import argparse
import ast
import json
import os
import runpy
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml
from reporting import ROOT, not_measured, result, row
from sampling import measured_memory

STEPS = {"index": 4, "pack": 8, "statistics": 2, "predict": 2, "mosaic": 1}
"""Step → threads that its rule asks for; two on a machine with two cores."""

MOST, PATCH_BYTES, PACKED_BYTES = 5000, 1.07e6, 0.98e6
SCENARIO = {"model": "unet", "modality": "concat", "weighting": "nw", "level": "l1", "recipe": "tuned", "seed": 1}


class Files(SimpleNamespace):
    """Named files or parameters of a step, also by place and by `get`, as Snakemake gives them."""

    def __getitem__(self, key: int | str) -> Any:
        return list(vars(self).values())[key] if isinstance(key, int) else vars(self)[key]

    get = SimpleNamespace.__getattribute__


def stub(step: str, folder: Path) -> SimpleNamespace:
    """What Snakemake would give the step's script, everything in ``folder``."""
    packed = {"images": folder / "images.npy", "masks": folder / "masks.npy", "header": folder / "header.json"}
    tables = {"table": folder / "patches.parquet", "split": folder / "split.csv"}
    tiles = {name: folder / f"{name}.npy" for name in ("prediction", "confidence", "edges")}
    inputs, outputs, params = {
        "index": ({"manifest": folder / "manifest.json"}, {"table": tables["table"]}, {"settings": {}}),
        "pack": (tables, packed, {}),
        "statistics": (packed | tables, {"statistics": folder / "statistics.json"}, {}),
        "predict": (packed | tables | {"checkpoint": folder / "checkpoint.pt"}, tiles, defaults("predict")),
        "mosaic": (
            tiles | tables,
            {"folder": folder / "mosaic"},
            {"label": "simulated patches", "hierarchical": False},
        ),
    }[step]
    return SimpleNamespace(
        input=Files(**inputs),
        output=Files(**outputs),
        log=Files(log=folder / f"{step}.log", rejected=folder / "rejected.csv"),
        params=Files(**{"patches": "all", "scenario": SCENARIO} | params),
        wildcards=Files(scenario="scaling"),
        threads=min(STEPS[step], os.cpu_count() or 1),
    )


def defaults(section: str) -> dict[str, Any]:
    """The defaults of a section of the configuration."""
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    return {name: part["default"] for name, part in schema["properties"][section]["properties"].items()}


def child(step: str, folder: Path) -> None:
    """Run a step; its seconds without imports, and those of processors, which tell waiting from work."""
    script = ROOT / f"workflow/scripts/{step}.py"
    body = ast.parse(script.read_text()).body
    exec("\n".join(ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom)), {})
    snakemake = stub(step, folder)
    evict(folder, step)
    start, begun = time.perf_counter(), sum(os.times()[:4])
    runpy.run_path(str(script), init_globals={"snakemake": snakemake}, run_name="__main__")
    result(seconds=time.perf_counter() - start, processor=sum(os.times()[:4]) - begun)


def evict(folder: Path, step: str) -> None:
    """Drop the step's input from the page cache: the patches for those that read them, else the arrays."""
    os.sync()
    for path in folder.rglob("*.tif") if step in ("index", "pack") else folder.glob("*.npy"):
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def lay_out(base: Path, folder: Path, patches: int) -> None:
    """``patches`` patches under ``folder`` as hard links to those under ``base``, and what the steps read beside."""
    for layer in sorted(path for path in base.iterdir() if path.is_dir()):
        (folder / layer.name).mkdir(parents=True)
        files = sorted(layer.iterdir(), key=lambda path: int(path.stem.rsplit("_", 1)[1]))
        for place in range(patches):
            path = files[place % len(files)]
            stem, id_ = path.stem.rsplit("_", 1)
            os.link(path, folder / layer.name / f"{stem}_{int(id_) + place // len(files) * 1_000_000}.tif")
    (folder / "manifest.json").write_text(json.dumps({"roots": [{"path": str(folder)}]}))


def after_index(folder: Path) -> None:
    """Set the patches on a regular grid, put all into the training split, and write an untrained model."""
    import pandas as pd
    import torch

    from cerraseg.models import checkpoint

    table = pd.read_parquet(folder / "patches.parquet")
    across, side = int(np.ceil(np.sqrt(len(table)))), 128
    place = np.arange(len(table))
    table["c"] = place % across * side * table["a"]
    table["f"] = place // across * side * table["e"]
    table.to_parquet(folder / "patches.parquet", index=False)
    pd.DataFrame({"id": table["id"], "split": "train"}).to_csv(folder / "split.csv", index=False)
    torch.manual_seed(0)
    settings = {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": [96, 48, 32, 24, 16]}
    blueprint = checkpoint.Blueprint("unet", settings, "concat", "l1", (0.0,) * 14, (1.0,) * 14)
    checkpoint.save(folder / "checkpoint.pt", blueprint, checkpoint.Segmenter(blueprint).net.state_dict(), {})


def at_size(base: Path, patches: int) -> dict[str, dict[str, float]]:
    """Step → seconds, processor seconds, memory and VmHWM in MB, for one number of patches."""
    found = {}
    with tempfile.TemporaryDirectory(dir=base.parent) as name:
        folder = Path(name)
        lay_out(base, folder, patches)
        for step in STEPS:
            found[step] = measured_memory(__file__, "--step", step, "--folder", name)
            words = ", ".join(f"{key} {value:,.1f}" for key, value in found[step].items())
            print(f"{patches:8,} patches, {step:10} {words}", flush=True)
            if step == "index":
                after_index(folder)
    return found


def slope(curve: dict[int, float]) -> float | None:
    """Fitted exponent of a power law; None for a single size."""
    if len(curve) == 1:
        return None
    return round(float(np.polyfit(np.log(list(curve)), np.log(list(curve.values())), 1)[0]), 2)


def report(found: dict[int, dict[str, dict[str, float]]], plot: Path | None) -> None:
    """A row a step: how time and memory grow from the smallest to the largest number of patches."""
    sizes = sorted(found)
    for step in STEPS:
        times, memory, whole = ([found[n][step][key] for n in sizes] for key in ("seconds", "anonymous", "peak"))
        exponent, work = (slope({n: found[n][step][key] for n in sizes}) for key in ("seconds", "processor"))
        print(f"{step}: time grows with the power {exponent} of the patches, processor time with {work}")
        each = ", ".join(
            f"{n:,}: {seconds:.1f} s, {mb:.0f} MB" for n, seconds, mb in zip(sizes, times, memory, strict=True)
        )
        grown = f"memory × {memory[-1] / memory[0]:.2f}; with mapped files up to {max(whole):,.0f} MB"
        row(f"{step}, exponent of time over patches (simulated)", each, grown, exponent, "≤ 1.1")
    if plot:
        from scaling_plot import draw

        draw(plot, {step: {n: found[n][step] for n in sizes} for step in STEPS})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[1000, 5000, 30_000], help="patches")
    parser.add_argument("--plot", type=Path, help="picture to write (SVG)")
    parser.add_argument("--base", type=Path, help="simulated patches, in the layout of CerraData-4MM")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        return child(arguments.step, arguments.folder)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "cerradata_4mm"
        if arguments.base:
            shutil.copytree(arguments.base, base, copy_function=os.link)
        else:
            simulate(base, min(MOST, max(arguments.sizes)))
        found = {}
        for patches in sorted(arguments.sizes):
            needed, free = patches * PACKED_BYTES * 1.1, shutil.disk_usage(name).free
            if needed > free:
                why = f"needs {needed / 1e9:.0f} GB of disk, {free / 1e9:.0f} GB are free"
                not_measured(f"all steps on {patches:,} patches (simulated)", why)
            else:
                found[patches] = at_size(base, patches)
        report(found, arguments.plot)


def simulate(base: Path, patches: int) -> None:
    """Write the patches that all sizes share."""
    from cerraseg.data.simulation import patches as simulate

    print(f"simulating {patches:,} patches, {patches * PATCH_BYTES / 1e9:.1f} GB", flush=True)
    simulate.simulate(base, patches=patches, seed=42, workers=min(2, os.cpu_count() or 1))


if __name__ == "__main__":
    main()
