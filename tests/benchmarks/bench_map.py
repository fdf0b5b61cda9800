"""Map a large scene: time, memory, a kill in the middle; and a small one beside the usual ways of doing it.

    PYTHONPATH=. python tests/benchmarks/bench_map.py [--side PIXELS] [--peer-side PIXELS]

The scene has 12 optical bands (int16) and 2 radar bands (float32) on a grid shifted by half a pixel, 10 m, EPSG:32722;
the model is the demo's U-Net with random parameters, 7 classes, tiles overlapping by half. Every run is a process of
its own; models and tiles are the same.

- windows: the usual recipe: rasterio reads each tile as a window, probabilities are added up in arrays of the scene's
  size under the same cosine window. Its classes must be ours, but for rounding.
- torchgeo: TorchGeo's RasterDatasets and GridGeoSampler (reading and warping by it), the same model, probabilities
  added up without a window, as TorchGeo has none; no map is written.
- forward: the model alone on the same number of tiles that lie in memory.
"""

import argparse
import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import reporting
from rasterio import Affine
from rasterio.windows import Window

BLOCK, BATCH, OVERLAP = 512, 32, 0.5
SETTINGS = {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": [96, 48, 32, 24, 16]}
TRAINED = {"msi": {"mean": 2500.0, "std": 800.0}, "sar": {"mean": 100.0, "std": 60.0}}


def simulate(folder: Path, side: int) -> None:
    """Write the scene and the model: fields of 64 pixels, with noise that repeats from block to block."""
    import torch

    from cerraseg.core.taxonomy import MODALITIES
    from cerraseg.models import checkpoint

    rng = np.random.default_rng(0)
    for layer, shift, dtype in (("msi", 0, "int16"), ("sar", 5, "float32")):
        bands, trained = MODALITIES[layer], TRAINED[layer]
        noise = rng.normal(0, trained["std"] / 4, (len(bands), BLOCK, BLOCK))
        options = {"driver": "GTiff", "width": side, "height": side, "count": len(bands), "dtype": dtype}
        options |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "crs": "EPSG:32722", "BIGTIFF": "IF_SAFER"}
        transform = Affine(10, 0, 500_000 + shift, 0, -10, 8_000_000 - shift)
        with rasterio.open(folder / f"{layer}.tif", "w", transform=transform, **options) as file:
            file.descriptions = bands
            for top in range(0, side, BLOCK):
                for left in range(0, side, BLOCK):
                    window = Window(left, top, min(BLOCK, side - left), min(BLOCK, side - top))
                    fields = rng.normal(trained["mean"], trained["std"] / 2, (len(bands), 8, 8))
                    block = np.kron(fields, np.ones((64, 64))) + noise
                    part = np.maximum(block[:, : int(window.height), : int(window.width)], 1)
                    file.write(part.astype(dtype), window=window)
    torch.manual_seed(0)
    mean, std = ([TRAINED[x][key] for x in ("msi", "sar") for _ in MODALITIES[x]] for key in ("mean", "std"))
    blueprint = checkpoint.Blueprint("unet", SETTINGS, "concat", "l1", tuple(mean), tuple(std))
    checkpoint.save(folder / "model.pt", blueprint, checkpoint.Segmenter(blueprint).net.state_dict(), {})


def ours(folder: Path) -> float:
    from cerraseg.core.taxonomy import MODALITIES
    from cerraseg.mapping.map_scene import Settings, map_scene
    from cerraseg.mapping.scene import SceneFiles

    statistics = {band: TRAINED[layer] for layer in ("msi", "sar") for band in MODALITIES[layer]}
    files = SceneFiles("scene", folder / "msi.tif", folder / "sar.tif")
    settings = Settings(overlap=OVERLAP, batch_size=BATCH, threads=2)
    model(folder)  # as for the peers, what it imports is not timed
    start = time.perf_counter()
    map_scene(folder / "model.pt", files, statistics, folder / "map", folder / "unfinished", settings, {})
    return time.perf_counter() - start


def model(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Probabilities of tiles (B, 14, 128, 128)."""
    import torch

    from cerraseg.core.memory import keep_memory
    from cerraseg.models import checkpoint

    keep_memory()
    torch.set_num_threads(2)
    segmenter = checkpoint.load(folder / "model.pt")[0].to(memory_format=torch.channels_last)

    def probabilities(tiles: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return segmenter(torch.from_numpy(tiles))[0].softmax(1).numpy()

    return probabilities


def windows(folder: Path) -> float:
    from rasterio.vrt import WarpedVRT

    from cerraseg.mapping.tiling import starts

    probabilities, start = model(folder), time.perf_counter()
    shape = np.sin(np.pi * (np.arange(128) + 0.5) / 128) ** 2
    window = np.outer(shape, shape).astype(np.float32)
    with rasterio.open(folder / "msi.tif") as msi, rasterio.open(folder / "sar.tif") as raw:
        profile = msi.profile
        grid = {"crs": msi.crs, "transform": msi.transform, "height": msi.height, "width": msi.width}
        total, weight = np.zeros((7, *msi.shape), np.float32), np.zeros(msi.shape, np.float32)
        corners = [(y, x) for y in starts(msi.height, OVERLAP) for x in starts(msi.width, OVERLAP)]
        with WarpedVRT(raw, resampling=rasterio.enums.Resampling.bilinear, **grid) as sar:
            for batch in (corners[k : k + BATCH] for k in range(0, len(corners), BATCH)):
                places = [Window(x, y, 128, 128) for y, x in batch]
                tiles = [np.concatenate([msi.read(window=w).astype(np.float32), sar.read(window=w)]) for w in places]
                for (y, x), tile in zip(batch, probabilities(np.stack(tiles)), strict=True):
                    total[:, y : y + 128, x : x + 128] += tile * window
                    weight[y : y + 128, x : x + 128] += window
    classes = (total / weight).argmax(0).astype(np.uint8)
    options = profile | {"count": 1, "dtype": "uint8", "compress": "deflate"}
    with rasterio.open(folder / "windows.tif", "w", **options) as file:
        file.write(classes, 1)
    seconds = time.perf_counter() - start
    with rasterio.open(folder / "map/classes.tif") as file:  # beyond the last radar pixel only we have no data
        inside = file.read(1)[1:-1, 1:-1]
    assert (inside != classes[1:-1, 1:-1]).mean() < 1e-3, "the maps of ours and windows differ"
    return seconds


def torchgeo(folder: Path) -> float:
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    from cerraseg.mapping.tiling import starts

    def dataset(name: str) -> RasterDataset:
        kind = type(name, (RasterDataset,), {"filename_glob": f"{name}.tif", "is_image": True})
        return kind(str(folder), res=10.0)

    probabilities, start = model(folder), time.perf_counter()
    files = dataset("msi") & dataset("sar")
    sampler = GridGeoSampler(files, size=128, stride=round(128 * (1 - OVERLAP)))
    with rasterio.open(folder / "msi.tif") as file:
        count = len(starts(file.height, OVERLAP)) * len(starts(file.width, OVERLAP))
    done, total = 0, np.zeros((7, 128, 128), np.float32)
    for batch in DataLoader(files, BATCH, sampler=sampler, collate_fn=stack_samples):
        images = batch["image"].numpy()
        padding = [(0, 0), (0, 0), *((0, max(0, 128 - side)) for side in images.shape[2:])]
        tiles = np.ascontiguousarray(np.pad(images, padding)[:, :, :128, :128])
        for tile in probabilities(tiles):
            total += tile
            done += 1
    return (time.perf_counter() - start) * count / done  # its grid may have a row of tiles more or less


def forward(folder: Path) -> float:
    from cerraseg.mapping.tiling import starts

    with rasterio.open(folder / "msi.tif") as file:
        count = len(starts(file.height, OVERLAP)) * len(starts(file.width, OVERLAP))
    probabilities, tiles = model(folder), np.full((BATCH, 14, 128, 128), 1000, np.float32)
    probabilities(tiles)
    start = time.perf_counter()
    for first in range(0, count, BATCH):
        probabilities(tiles[: min(BATCH, count - first)])
    return time.perf_counter() - start


RUNS = {"ours": ours, "windows": windows, "torchgeo": torchgeo, "forward": forward}
LABELS = {
    "windows": "windows read by rasterio, blended in arrays of the scene's size",
    "torchgeo": "TorchGeo's GridGeoSampler, no blending, no map",
    "forward": "the model alone",
}


def measure(name: str, folder: Path) -> dict[str, Any]:
    found = reporting.measured(__file__, "--run", name, "--folder", str(folder))
    print(f"{name:8} {found['seconds']:.1f} s, {found['peak']:.0f} MB", flush=True)
    return found


def compare(side: int) -> None:
    """Ours and its peers on a scene that they can hold."""
    what = f"map of a scene of {side:,} × {side:,} pixels, 14 bands, 50 % overlap"
    with tempfile.TemporaryDirectory() as name:
        simulate(Path(name), side)
        found = measure("ours", Path(name))
        words = f"{found['seconds']:.1f} s, {found['peak']:.0f} MB"
        for peer, label in LABELS.items():
            if peer == "torchgeo" and importlib.util.find_spec("torchgeo") is None:
                reporting.not_installed(what, "TorchGeo")
                continue
            theirs = measure(peer, Path(name))
            shown = f"{label}: {theirs['seconds']:.1f} s, {theirs['peak']:.0f} MB"
            reporting.row(what, words, shown, theirs["seconds"] / found["seconds"])


def large(side: int) -> None:
    """Memory and rate of a large scene; then killed in the middle and gone on with: the same bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder, side)
        found = measure("ours", folder)
        undisturbed = {path.name: path.read_bytes() for path in sorted((folder / "map").iterdir())}
        shutil.rmtree(folder / "map")
        killed = kill_in_the_middle(folder, side)
        resumed = measure("ours", folder)
        assert undisturbed == {path.name: path.read_bytes() for path in sorted((folder / "map").iterdir())}
    rate = side**2 / found["seconds"]
    what = f"scene of {side:,} × {side:,} pixels, 14 bands, 50 % overlap"
    words = f"{found['seconds']:.0f} s, {rate / 1e3:,.0f} thousand pixels/s"
    reporting.row(f"{what}: peak memory, MB", words, "", found["peak"], "≤ 2000")
    words = f"killed with {100 * killed:.0f} % of its rows finished, then {resumed['seconds']:.0f} s, the same bytes"
    reporting.row(
        f"{what}: both parts over the undisturbed run", words, "", killed + resumed["seconds"] / found["seconds"]
    )


def kill_in_the_middle(folder: Path, side: int) -> float:
    """Kill a run without warning once half of its rows are finished; the share that was."""
    command = [sys.executable, __file__, "--run", "ours", "--folder", str(folder)]
    process = subprocess.Popen(command, env={"PYTHONPATH": str(reporting.ROOT)}, stdout=subprocess.DEVNULL)
    for size in sizes(folder / "unfinished/classes.rows"):
        if process.poll() is not None:
            raise SystemExit("the run ended before it could be killed")
        if size >= side**2 / 2:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    return next(sizes(folder / "unfinished/classes.rows")) / side**2


def sizes(path: Path) -> Iterator[int]:
    while True:
        yield path.stat().st_size if path.exists() else 0
        time.sleep(0.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=10_980, help="pixels")
    parser.add_argument("--peer-side", type=int, default=2000, help="pixels of the scene that the peers map too")
    parser.add_argument("--run", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        return reporting.result(seconds=RUNS[arguments.run](arguments.folder))
    compare(arguments.peer_side)
    large(arguments.side)


if __name__ == "__main__":
    main()
