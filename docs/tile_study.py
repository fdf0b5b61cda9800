"""What tile, overlap, window and precision of a map cost and change: python docs/tile_study.py RESULTS PAGE.

RESULTS is a finished demo: its trained models map ten windows of its scene, whose truth is known (simulated landscape).
Right pixels are in points against the first row, the way of before; seams are the mean jump of probabilities across the
tiles' edges over that between all other neighbours.
"""

import sys
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
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.config.dataset import Dataset
from cerraseg.geo.images import ImageFiles
from cerraseg.mapping import tiles
from cerraseg.mapping.model import Model, load
from cerraseg.mapping.scene import SceneFiles, open_scene

SIDE = 256  # pixels of a window
START, END = "<!-- table: make tiles -->\n", "<!-- end of table -->"
MODELS = ("fullres-concat-nw-l1-tuned-666", "fullres-concat-nw-l2-tuned-666", "unet-concat-nw-l2-paper-666")


@dataclass(frozen=True)
class Way:
    """A way to tile."""

    size: int = 128
    overlap: float = 0.5
    window: str = "sin²"
    precision: str = "float32"

    @property
    def cost(self) -> float:
        """How often each pixel of a large scene is computed."""
        return (self.size / round(self.size * (1 - self.overlap))) ** 2

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
    """Mean jump of probabilities (classes, H, W) across the tiles' edges over that between all other neighbours."""
    on_edges, inside = [], []
    for side in (layer, layer.transpose(0, 2, 1)):
        jumps = np.abs(np.diff(side, axis=2)).mean((0, 1))
        firsts = tiles.tile_starts(side.shape[2], way.size, way.overlap)
        ends = {e - 1 for first in firsts for e in (first, first + way.size) if 0 < e < side.shape[2]}
        on_edges += list(jumps[sorted(ends)])
        inside += list(np.delete(jumps, sorted(ends)))
    return float(np.mean(on_edges) / np.mean(inside))


def study(results: Path) -> dict[Way, list[tuple[float, float, float]]]:
    """Way → of each model and window: share of right pixels, CPU seconds per megapixel of a large scene, seams."""
    scene = results.parent / "data/simulated/scene"
    models = [load(results / f"models/{name}/checkpoint.pt", "cpu") for name in MODELS]
    files = SceneFiles("scene", {name: ImageFiles((scene / f"{name}.tif",)) for name in ("msi", "sar")})
    with open_scene(files, models[0].dataset.sensors_of("concat"), "bilinear") as opened:
        image, _ = opened.read(Window(0, 0, *opened.shape[::-1]))
    height, width = image.shape[1:]
    corners = product(np.linspace(0, height - SIDE, 2).astype(int), np.linspace(0, width - SIDE, 5).astype(int))
    found: dict[Way, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    for model, (top, left), way in product(models, list(corners), WAYS):
        place = (slice(top, top + SIDE), slice(left, left + SIDE))
        with rasterio.open(scene / f"truth_{model.blueprint.level}.tif") as file:
            truth = file.read(1)[place]
        with tiled(model, way) as other:
            began = time.process_time()
            map_ = other.predict(image[:, *place], overlap=way.overlap, check_scale=False)
            seconds = time.process_time() - began
        right = float((map_.classes == truth)[(truth != 255) & (map_.classes != 255)].mean())
        computed = (len(tiles.tile_starts(SIDE, way.size, way.overlap)) * way.size) ** 2
        found[way].append((right, 1e6 * seconds / computed * way.cost, seams(np.nan_to_num(map_.probabilities), way)))
    return found


def table(found: dict[Way, list[tuple[float, float, float]]]) -> str:
    """Return the table as Markdown."""
    first = np.array(found[WAYS[0]])[:, 0]
    lines = [
        f"Data: **simulated landscape**, {len(MODELS)} models, {len(first) // len(MODELS)} windows of {SIDE} × {SIDE} "
        "pixels; one thread.",
        "",
        "| tile | overlap | window | precision | times a pixel is computed | CPU s per megapixel of a large scene "
        "| right pixels | of single windows | seams |",
        "|--:|--:|---|---|--:|--:|--:|--:|--:|",
    ]
    for way, values in found.items():
        right, seconds, jumps = np.array(values).T
        change = 100 * (right - first)
        told = f"{100 * right.mean():.2f} %" if way == WAYS[0] else f"{change.mean():+.2f}"
        spread = "–" if way == WAYS[0] else f"{change.min():+.2f} … {change.max():+.2f}"
        lines.append(f"| {way} | {way.cost:.2f} | {seconds.mean():.2f} | {told} | {spread} | {jumps.mean():.3f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table into the page."""
    page = Path(sys.argv[2])
    head, start, rest = page.read_text().partition(START)
    if not start:
        sys.exit(f"{page} has no line {START.strip()}; expected one where the table goes")
    torch.set_num_threads(1)
    page.write_text(head + START + table(study(Path(sys.argv[1]))) + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
