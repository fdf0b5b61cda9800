"""The whole of CerraData-4MM's size through the real workflow: time, memory, open files and disk of each step.

    PYTHONPATH=. python tests/benchmarks/bench_load.py [patches] [--base FOLDER] [--cores N]

Each step is a run of Snakemake of its own, on a copy of the project; memory and files are those of Snakemake and all
that it starts, looked at five times a second. More than 5,000 simulated patches are hard links to the same 5,000 under
further ids; packed arrays have full size. The model is a U-Net on MobileNetV3-small, trained for one epoch; the test
patches are predicted, scored and put together. Last comes a dry run of 24 scenarios with three seeds each.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from bench_scaling import MOST, PACKED_BYTES, PATCH_BYTES, lay_out, simulate
from reporting import ROOT
from sampling import tree

PARTS = ("Snakefile", "cerraseg", "workflow", "profiles", "envs", "reference")
PUBLISHED = 30_291
SCENARIO = "unet-concat-nw-l1-tuned-1"
LISTS = {
    "models": ["unet"],
    "modalities": ["concat"],
    "weightings": ["nw"],
    "levels": ["l1"],
    "recipes": ["tuned"],
    "seeds": [1],
}
CROSSED = {
    "models": ["unet", "transnuseg"],
    "modalities": ["msi", "sar", "concat"],
    "weightings": ["nw", "w"],
    "levels": ["l1", "l2"],
    "recipes": ["paper"],
    "seeds": [1, 2, 3],
}
STEPS = {
    "acquire": ("local", "manifest.json"),
    "index": ("index", "patches.parquet"),
    "split": ("split", "split.csv"),
    "pack": ("pack", "packed/images.npy"),
    "statistics": ("statistics", "statistics.json"),
    "distances": ("distances", "distances.csv"),
    "train, one epoch": ("train", f"models/{SCENARIO}/checkpoint.pt"),
    "predict": ("predict", f"scenarios/{SCENARIO}/prediction.npy"),
    "evaluate": ("evaluate", f"scores/{SCENARIO}/metrics.json"),
    "mosaic": ("mosaic", f"scenarios/{SCENARIO}/mosaic"),
}
"""What is measured → the rule that runs, and what it is asked for."""

OF_TEST = ("predict", "evaluate", "mosaic")
INTERVAL = 0.2  # s


@dataclass
class Load:
    """What a run took: seconds; MB over all processes without and with pages of mapped files; files of one process."""

    seconds: float = 0
    own: float = 0
    mapped: float = 0
    files: int = 0

    def see(self, processes: Iterable[int]) -> None:
        """Look at the processes once."""
        own = mapped = 0.0
        for process in processes:
            try:
                held = dict(re.findall(r"(\w+):\s+(\d+) kB", Path(f"/proc/{process}/status").read_text()))
                files = len(os.listdir(f"/proc/{process}/fd"))  # noqa: PTH208 (ten times faster than iterdir)
            except OSError:  # it has ended
                continue
            own += sum(int(held.get(kind, 0)) for kind in ("RssAnon", "RssShmem")) / 1024
            mapped += int(held.get("VmRSS", 0)) / 1024
            self.files = max(self.files, files)
        self.own, self.mapped = max(self.own, own), max(self.mapped, mapped)

    def row(self, step: str, of: str, disk: float) -> None:
        """Print a row of the table; ``disk`` in MB."""
        memory = f"{self.own:,.0f} MB | {self.mapped:,.0f} MB"
        print(f"| {step} | {of} | {self.seconds:,.1f} s | {memory} | {self.files} | {disk:,.0f} MB |", flush=True)


def watched(folder: Path, *arguments: str) -> tuple[Load, str]:
    """Run Snakemake in ``folder`` and watch it; what it took, and what it said."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    load, start = Load(), time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT, text=True) as process,
    ):
        while process.poll() is None:
            load.see(tree(process.pid))
            time.sleep(INTERVAL)
        load.seconds = time.perf_counter() - start
        said.seek(0)
        words = said.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}\n{words[-3000:]}")
    return load, words


def copied(folder: Path, data: Path) -> None:
    """A copy of the project under ``folder``, configured for the patches in ``data``."""
    for part in PARTS:
        source, target = ROOT / part, folder / part
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    configure(folder, LISTS, source="local", roots=str(data), label="simulated landscape")


def configure(folder: Path, lists: dict[str, Any], **further: Any) -> None:
    """Write the configuration: these scenarios of a tiny U-Net, one epoch, the test patches."""
    config = {
        "scenarios": lists,
        "unet": {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": [96, 48, 32, 24, 16]},
        "training": {"epochs": 1},
        "predict": {"patches": "test"},
    }
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config | further))


def disk(folder: Path) -> float:
    """MB that the files of a folder take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e6


def steps(folder: Path, patches: int, cores: int) -> None:
    """Run the steps one after the other and print a row for each."""
    for name, (rule, target) in STEPS.items():
        before = disk(folder / "results")
        alone = f"--set-threads={rule}={cores}"  # as one runs a single large training
        load, _ = watched(folder, "--cores", str(cores), alone, "--allowed-rules", rule, "--", f"results/{target}")
        written = disk(folder / "results") - before
        many = f"{patches:,} patches"
        if name in OF_TEST:
            many = f"the {(pd.read_csv(folder / 'results/split.csv')['split'] == 'test').sum():,} test patches"
        load.row(name, many, written)


def matrix(folder: Path) -> None:
    """Print a row for a dry run of every published scenario with three seeds."""
    configure(folder, CROSSED, source="kaggle", results="matrix")
    load, said = watched(folder, "--dry-run", "--quiet", "host", "--cores", "1")
    jobs = re.findall(r"^total +(\d+)", said, re.MULTILINE)[-1]
    load.row("dry run", f"24 scenarios × 3 seeds, {jobs} jobs", 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patches", nargs="?", type=int, default=PUBLISHED)
    parser.add_argument("--base", type=Path, help="simulated patches, in the layout of CerraData-4MM")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    distinct = min(MOST, arguments.patches)
    with tempfile.TemporaryDirectory() as name:
        needed = arguments.patches * PACKED_BYTES * 1.2 + (0 if arguments.base else distinct * PATCH_BYTES)
        if needed > (free := shutil.disk_usage(name).free):
            why = f"not measured: needs {needed / 1e9:.0f} GB of disk, {free / 1e9:.0f} GB are free"
            return print(f"| all | {arguments.patches:,} patches | {why} | | | | |")
        base, data, folder = (Path(name, part) for part in ("base", "cerradata_4mm", "project"))
        if arguments.base:
            shutil.copytree(arguments.base, base, copy_function=os.link)
        else:
            simulate(base, distinct)
        lay_out(base, data, arguments.patches)
        folder.mkdir()
        copied(folder, data)
        steps(folder, arguments.patches, arguments.cores)
        matrix(folder)


if __name__ == "__main__":
    main()
