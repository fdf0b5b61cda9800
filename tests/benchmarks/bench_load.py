"""The whole of CerraData-4MM's size through the real workflow: time, memory, open files and disk of each step.

Usage: bench_load.py [patches]
Each step is a run of Snakemake of its own, on a copy of the project; memory and files are those of Snakemake and all
that it starts. More than 5,000 simulated patches are hard links to the same 5,000 under further ids; packed arrays have
full size. The model is a U-Net on MobileNetV3-small, trained for one epoch; the test patches are predicted, scored and
put together. Last comes a dry run of 24 scenarios with three seeds each.
"""

import re
import subprocess
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml
from inputs import DEMO_UNET, DISTINCT, link_patches, write_patches
from measuring import INTERVAL, ROOT, Load, arguments
from project import TINY, TUNED, Project

STEPS = {
    "acquire": ("local", "manifest.json"),
    "index": ("index", "patches.parquet"),
    "split": ("split", "split.csv"),
    "pack": ("pack", "packed/images.npy"),
    "statistics": ("statistics", "statistics.json"),
    "distances": ("distances", "distances.csv"),
    "train, one epoch": ("train", f"models/{TUNED}/checkpoint.pt"),
    "predict": ("predict", f"scenarios/{TUNED}/prediction.npy"),
    "evaluate": ("evaluate", f"scores/{TUNED}/metrics.json"),
    "mosaic": ("mosaic", f"scenarios/{TUNED}/mosaic"),
}
"""What is measured → the rule that runs, and what it is asked for."""

CONFIG = {
    "scenarios": TINY["scenarios"] | {"extra": []},
    "unet": DEMO_UNET,
    "training": {"epochs": 1},
    "predict": {"patches": "test"},
}
OF_TEST = ("predict", "evaluate", "mosaic")


def watch(project: Project, step: str, of: str, *args: str) -> None:
    """Run Snakemake and print a row of what it took; ``{}`` in ``of`` stands for the number of jobs."""
    load, start, before = Load(), time.perf_counter(), disk(project.folder / "results")
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(project.command(*args), cwd=project.folder, stdout=said, stderr=said, text=True) as process,
    ):
        while process.poll() is None:
            load.sample(process.pid)
            time.sleep(4 * INTERVAL)
        seconds = time.perf_counter() - start
        said.seek(0)
        words = said.read()
    if process.returncode:
        raise SystemExit(f"{step}: exit code {process.returncode}\n{words[-3000:]}")
    of = of.format(*re.findall(r"^total +(\d+)", words, re.MULTILINE)[-1:])
    memory = f"{load.own:,.0f} MB | {load.mapped:,.0f} MB"
    written = disk(project.folder / "results") - before
    print(f"| {step} | {of} | {seconds:,.1f} s | {memory} | {load.files} | {written:,.0f} MB |", flush=True)


def disk(folder: Path) -> float:
    """MB that the files of a folder take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e6


def steps(project: Project, patches: int) -> None:
    """Run the steps one after the other."""
    for name, (rule, target) in STEPS.items():
        of = f"{patches:,} patches"
        if name in OF_TEST:
            test = pd.read_csv(project.folder / "results/split.csv")["split"] == "test"
            of = f"the {test.sum():,} test patches"
        alone = f"--set-threads={rule}=2"  # as one runs a single large training
        watch(project, name, of, alone, "--allowed-rules", rule, "--", f"results/{target}")


def main() -> None:
    patches = arguments(__doc__, {"patches": 30_291}).patches
    with tempfile.TemporaryDirectory() as name:  # 41 GB at full size
        base, data = Path(name, "base"), Path(name, "cerradata_4mm")
        write_patches(base, min(DISTINCT, patches))
        link_patches(base, data, patches)
        source = {"source": "local", "roots": str(data), "label": "simulated landscape", "split": {"scheme": "paper"}}
        project = Project(Path(name, "project"), source | CONFIG)
        steps(project, patches)
        published = yaml.safe_load((ROOT / "config/benchmark.yaml").read_text())
        published["scenarios"]["seeds"] = [1, 2, 3]
        project.configure(published | {"results": "matrix"})
        watch(project, "dry run", "24 scenarios × 3 seeds, {} jobs", "--dry-run", "--quiet", "host")


if __name__ == "__main__":
    main()
