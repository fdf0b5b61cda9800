"""Inputs that several benchmarks share: simulated patches, packed arrays, checkpoints with random parameters."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cerraseg.config.dataset import Dataset

CERRADATA = Dataset.of("cerradata-4mm")
PACKED = ("images.npy", "masks.npy", "header.json")
DEMO_UNET = {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": [96, 48, 32, 24, 16]}
SMALL = {
    "unet": {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": [16, 16, 8]},
    "transnuseg": {"embed_dim": 12, "heads": [1, 2, 4]},
}
"""Settings of the smallest models, for runs that only show that a benchmark works."""
MODELS = {"unet": "U-Net ResNet-50", "transnuseg": "TransNuSeg"}
MEAN, STD = 2000.0, 500.0
DISTINCT = 5000
"""Most patches that are simulated; more are links to them."""


def write_patches(folder: Path, patches: int) -> None:
    """Simulate patches in the layout of CerraData-4MM."""
    from cerraseg.data.simulation.files import simulate

    print(f"simulating {patches:,} patches", flush=True)
    simulate(folder, patches=patches, seed=42, workers=2)


def write_packed(folder: Path, patches: int) -> None:
    """Simulate patches under ``cerradata_4mm``, and index and pack them."""
    from cerraseg.data import index
    from cerraseg.data.pack import pack

    data, table = folder / "cerradata_4mm", folder / "patches.parquet"
    write_patches(data, patches)
    index.write_patch_table([data], CERRADATA, table, folder / "rejected.csv", threads=2)
    pack(table, CERRADATA, *(folder / name for name in PACKED), workers=2)
    os.sync()  # what is not yet written cannot be evicted


def open_packed(folder: Path) -> Any:
    """Open what :func:`write_packed` wrote."""
    from cerraseg.data.packed import open_store

    return open_store(*(folder / name for name in PACKED))


def link_patches(base: Path, folder: Path, patches: int) -> None:
    """Lay out ``patches`` patches as hard links to those under ``base``, again and again under further ids."""
    for layer in sorted(path for path in base.iterdir() if path.is_dir()):
        (folder / layer.name).mkdir(parents=True)
        files = sorted(layer.iterdir(), key=lambda path: int(path.stem.rsplit("_", 1)[1]))
        for place in range(patches):
            path = files[place % len(files)]
            stem, id_ = path.stem.rsplit("_", 1)
            os.link(path, folder / layer.name / f"{stem}_{int(id_) + place // len(files) * 1_000_000}.tif")


def write_checkpoint(
    path: Path,
    settings: Mapping[str, Any],
    model: str = "unet",
    mean: tuple[float, ...] = (MEAN,) * 14,
    std: tuple[float, ...] = (STD,) * 14,
) -> None:
    """Write a model of all bands and level l1 with random parameters, the same at every call."""
    import torch

    from cerraseg.models import checkpoint

    torch.manual_seed(0)
    described = checkpoint.describe(CERRADATA, "concat", "l1")
    blueprint = checkpoint.Blueprint(model, dict(settings), "concat", "l1", described, mean, std)
    checkpoint.save(path, blueprint, checkpoint.Segmenter(blueprint).net.state_dict(), {})


def write_store(folder: Path, patches: int) -> None:
    """Write packed patches of noise around ``MEAN`` with the deviation ``STD``, and empty masks."""
    import numpy as np

    rng, bands, size = np.random.default_rng(0), CERRADATA.bands(), CERRADATA.patch_size
    images = np.lib.format.open_memmap(folder / PACKED[0], "w+", np.float32, (patches, len(bands), size, size))
    for image in images:
        image[:] = MEAN + STD * rng.standard_normal(image.shape, np.float32)
    np.save(folder / PACKED[1], np.zeros((patches, 1, size, size), np.uint8))
    header = {"patches": patches, "bands": bands, "layers": ["l1"], "ids": "", "pixels": ""}
    (folder / PACKED[2]).write_text(json.dumps(header))


def evict(files: Iterable[Path]) -> None:
    """Drop files from the system's page cache."""
    os.sync()
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
