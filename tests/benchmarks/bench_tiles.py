"""What tile, overlap, window and precision of a map cost and change: a table of three models on ten windows of a scene.

Usage: bench_tiles.py [--results FOLDER] [--windows COUNT]
FOLDER is a finished demo: its trained models map windows of its scene, whose truth is known (simulated landscape).
Agreement is with the truth, in points against the first row, the old default; seams are the mean jump of probabilities
across the tiles' edges over that between all other neighbours.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
import rasterio
import torch
from measuring import arguments
from numpy.typing import NDArray

from cerraseg.config.dataset import Dataset
from cerraseg.mapping import tiles
from cerraseg.mapping.model import Model, load

SIDE = 256  # pixels of a window
MODELS = ("fullres-concat-nw-l1-tuned-666", "fullres-concat-nw-l2-tuned-666", "unet-concat-nw-l2-paper-666")


@dataclass(frozen=True)
class Way:
    """A way to tile."""

    size: int = 128
    overlap: float = 0.5
    window: str = "sin²"
    precision: str = "float32"

    def __str__(self) -> str:
        return f"{self.size} | {self.overlap:g} | {self.window} | {self.precision}"


WAYS = (
    Way(),
    Way(overlap=0.4375, window="sin"),
    Way(overlap=0.375, window="sin"),
    Way(overlap=0.375),
    Way(overlap=0.25, window="sin"),
    Way(overlap=0, window="sin"),
    Way(size=160, overlap=0.375, window="sin"),
    Way(size=192, overlap=0.375, window="sin"),
    Way(overlap=0.375, window="sin", precision="bfloat16"),
)


@contextmanager
def tiled(model: Model, way: Way) -> Iterator[Model]:
    """The model with tiles of another size and window."""
    dataset = Dataset.of({**model.blueprint.dataset, "patch_size": way.size})
    blueprint = replace(model.blueprint, dataset=dataset.as_dict())
    model.segmenter.blueprint = blueprint
    power = 2 if way.window == "sin²" else 1

    def weights(firsts: list[int], size: int) -> NDArray[np.float32]:
        shape = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** power
        total = np.zeros(firsts[-1] + size)
        for first in firsts:
            total[first : first + size] += shape
        return np.stack([shape / total[first : first + size] for first in firsts]).astype(np.float32)

    mixed = torch.autocast("cpu", torch.bfloat16, enabled=way.precision == "bfloat16")
    with patch.object(tiles, "tile_weights", weights), mixed:
        yield replace(model, blueprint=blueprint)
    model.segmenter.blueprint = model.blueprint


def seams(layer: NDArray[np.float32], way: Way) -> float:
    on_edges, inside = [], []
    for side in (layer, layer.transpose(0, 2, 1)):
        jumps = np.abs(np.diff(side, axis=2)).mean((0, 1))
        firsts = tiles.tile_starts(side.shape[2], way.size, way.overlap)
        ends = {e - 1 for first in firsts for e in (first, first + way.size) if 0 < e < side.shape[2]}
        on_edges += list(jumps[sorted(ends)])
        inside += list(np.delete(jumps, sorted(ends)))
    return float(np.mean(on_edges) / np.mean(inside))


def main() -> None:
    options = arguments(__doc__, results="results", windows=10)
    scene = Path(options.results).parent / "data/simulated/scene"
    with rasterio.open(scene / "msi.tif") as msi, rasterio.open(scene / "sar.tif") as sar:
        image = np.concatenate([msi.read().astype(np.float32), sar.read().astype(np.float32)])
    height, width = image.shape[1:]
    rows = np.linspace(0, height - SIDE, 2).astype(int)
    corners = list(product(rows, np.linspace(0, width - SIDE, -(-options.windows // 2)).astype(int)))[: options.windows]
    found: dict[Way, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    torch.set_num_threads(1)
    for name in MODELS:
        model = load(Path(options.results) / f"models/{name}/checkpoint.pt", "cpu")
        level = model.blueprint.level
        with rasterio.open(scene / f"truth_{level}.tif") as file:
            truth = file.read(1)
        for way, (top, left) in product(WAYS, corners):
            place = (slice(top, top + SIDE), slice(left, left + SIDE))
            with tiled(model, way) as other:
                began = time.process_time()
                map_ = other.predict(image[:, *place], overlap=way.overlap, check_scale=False)
                seconds = time.process_time() - began
            right = float((map_.classes == truth[place]).mean())
            found[way].append((right, seconds / SIDE**2 * 1e6, seams(map_.probabilities, way)))
    first = np.array(found[WAYS[0]])[:, 0]
    print("| tile | overlap | window | precision | CPU s per megapixel | agreement, mean | of single windows | seams |")
    print("|--:|--:|---|---|--:|--:|--:|--:|")
    for way, values in found.items():
        right, seconds, jumps = np.array(values).T
        change = 100 * (right - first)
        told = f"{100 * right.mean():.2f} %" if way == WAYS[0] else f"{change.mean():+.2f}"
        spread = f"{change.min():+.2f} … {change.max():+.2f}"
        print(f"| {way} | {seconds.mean():.2f} | {told} | {spread} | {jumps.mean():.3f} |")


if __name__ == "__main__":
    main()
