"""The machine that was measured, in words that name neither host nor path."""

import datetime
import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import rasterio


def in_words() -> str:
    """Date, cores, memory, GPU, and the versions that speed depends on."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) / 1024**2  # type: ignore[index]
    versions = ", ".join(
        (
            f"Python {platform.python_version()}",
            *(f"{package} {version(package).partition('+')[0]}" for package in ("numpy", "torch", "rasterio")),
            f"GDAL {rasterio.__gdal_version__}",
        )
    )
    cores = f"{len(os.sched_getaffinity(0))} cores of {model[1] if model else 'a CPU'}"
    return (
        f"Measured on {datetime.date.today()} on {cores}, {memory:.0f} GB of memory, {gpus() or 'no GPU'}; {versions}."
    )


def gpus() -> str:
    """Names of the NVIDIA GPUs, comma-separated; empty where there is none."""
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return ", ".join(subprocess.run(command, text=True, capture_output=True, check=False).stdout.split("\n")[:-1])
