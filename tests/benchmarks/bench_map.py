"""Map a large scene, and a small one beside the usual way of doing it.

Usage: bench_map.py [--side PIXELS] [--peer-side PIXELS]
The scene has 12 optical bands (int16) and 2 radar bands (float32) on a grid shifted by half a pixel, 10 m, EPSG:32722;
the model is the demo's U-Net with random parameters, 7 classes, tiles overlapping as by default.
The peers add probabilities up in arrays of the scene's size under the same window: the usual recipe, whose tiles are
windows that rasterio reads and whose classes must be ours, but for rounding; and TorchGeo's RasterDatasets under its
GridGeoSampler, where it is installed (its last tiles lie beyond the border).
"""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from inputs import DEMO_UNET, write_checkpoint
from measuring import Run, arguments, measured, row
from rasterio import Affine
from rasterio.windows import Window

from cerraseg.config.dataset import Dataset
from cerraseg.mapping.map_scene import Settings
from cerraseg.mapping.tiles import tile_starts

BLOCK, BATCH = 512, 32
OVERLAP = Settings.overlap
DATASET = Dataset.of("cerradata-4mm")
TRAINED = {"msi": {"mean": 2500.0, "std": 800.0}, "sar": {"mean": 100.0, "std": 60.0}}


def simulate(folder: Path, side: int) -> None:
    """Write the scene and the model: fields of 64 pixels, with noise that repeats from block to block."""
    rng = np.random.default_rng(0)
    for layer, shift, dtype in (("msi", 0, "int16"), ("sar", 5, "float32")):
        bands, trained = DATASET.bands(layer), TRAINED[layer]
        noise = rng.normal(0, trained["std"] / 4, (len(bands), BLOCK, BLOCK))
        options = {"driver": "GTiff", "width": side, "height": side, "count": len(bands), "dtype": dtype}
        options |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "crs": "EPSG:32722", "BIGTIFF": "IF_SAFER"}
        transform = Affine(10, 0, 500_000 + shift, 0, -10, 8_000_000 - shift)
        with rasterio.open(folder / f"{layer}.tif", "w", transform=transform, **options) as file:
            file.descriptions = bands
            for _, window in file.block_windows(1):
                fields = rng.normal(trained["mean"], trained["std"] / 2, (len(bands), 8, 8))
                block = np.kron(fields, np.ones((64, 64))) + noise
                part = np.maximum(block[:, : window.height, : window.width], 1)
                file.write(part.astype(dtype), window=window)
    mean, std = (tuple(TRAINED[x][key] for x in TRAINED for _ in DATASET.bands(x)) for key in ("mean", "std"))
    write_checkpoint(folder / "model.pt", DEMO_UNET, mean=mean, std=std)


def ours(folder: Path, precision: str = "float32"):
    from cerraseg.geo.images import ImageFiles
    from cerraseg.mapping.map_scene import map_scene
    from cerraseg.mapping.scene import SceneFiles

    files = SceneFiles("scene", {name: ImageFiles((folder / f"{name}.tif",)) for name in ("msi", "sar")})
    settings = Settings(overlap=OVERLAP, batch_size=BATCH, threads=2, precision=precision)
    return lambda: map_scene(folder / "model.pt", files, folder / "map", folder / "unfinished", settings, DATASET, {})


def windows(folder: Path):
    import torch
    from rasterio.vrt import WarpedVRT

    from cerraseg.models import checkpoint

    torch.set_num_threads(2)
    model = checkpoint.load(folder / "model.pt")[0].to(memory_format=torch.channels_last)
    shape = np.sin(np.pi * (np.arange(128) + 0.5) / 128)
    window = np.outer(shape, shape).astype(np.float32)

    @torch.inference_mode()
    def blend() -> None:
        with rasterio.open(folder / "msi.tif") as msi, rasterio.open(folder / "sar.tif") as raw:
            profile = msi.profile
            grid = {"crs": msi.crs, "transform": msi.transform, "height": msi.height, "width": msi.width}
            total, weight = np.zeros((7, *msi.shape), np.float32), np.zeros(msi.shape, np.float32)
            corners = [
                (y, x) for y in tile_starts(msi.height, 128, OVERLAP) for x in tile_starts(msi.width, 128, OVERLAP)
            ]
            with WarpedVRT(raw, resampling=rasterio.enums.Resampling.bilinear, **grid) as sar:
                for batch in (corners[k : k + BATCH] for k in range(0, len(corners), BATCH)):
                    places = [Window(x, y, 128, 128) for y, x in batch]
                    tiles = [
                        np.concatenate([msi.read(window=w).astype(np.float32), sar.read(window=w)]) for w in places
                    ]
                    probabilities = model(torch.from_numpy(np.stack(tiles)))[0].softmax(1).numpy()
                    for (y, x), tile in zip(batch, probabilities, strict=True):
                        total[:, y : y + 128, x : x + 128] += tile * window
                        weight[y : y + 128, x : x + 128] += window
        options = profile | {"count": 1, "dtype": "uint8", "compress": "deflate"}
        with rasterio.open(folder / "windows.tif", "w", **options) as file:
            file.write((total / weight).argmax(0).astype(np.uint8), 1)

    return blend


def torchgeo(folder: Path):
    import torch
    from torchgeo.datasets import RasterDataset
    from torchgeo.samplers import GridGeoSampler

    from cerraseg.models import checkpoint

    torch.set_num_threads(2)
    model = checkpoint.load(folder / "model.pt")[0].to(memory_format=torch.channels_last)
    shape = np.sin(np.pi * (np.arange(128) + 0.5) / 128)
    window = np.outer(shape, shape).astype(np.float32)
    kinds = [type(name, (RasterDataset,), {"filename_glob": f"{name}.tif"}) for name in ("msi", "sar")]
    dataset = kinds[0](str(folder)) & kinds[1](str(folder))
    step = round(128 * (1 - OVERLAP))

    @torch.inference_mode()
    def blend() -> None:
        with rasterio.open(folder / "msi.tif") as msi:
            profile, (left, top) = msi.profile, msi.transform * (0, 0)
        height, width = profile["height"], profile["width"]
        total, weight = np.zeros((7, height + 256, width + 256), np.float32), np.zeros((height + 256, width + 256))
        queries = list(GridGeoSampler(dataset, 128, step))
        for batch in (queries[k : k + BATCH] for k in range(0, len(queries), BATCH)):
            images = torch.stack([dataset[query]["image"][:, :128, :128] for query in batch])
            probabilities = model(images)[0].softmax(1).numpy()
            for (x, y, _), tile in zip(batch, probabilities, strict=True):
                row, column = max(0, round((top - y.stop) / 10)), max(0, round((x.start - left) / 10))
                total[:, row : row + 128, column : column + 128] += tile * window
                weight[row : row + 128, column : column + 128] += window
        classes = (total / np.maximum(weight, 1e-6)).argmax(0).astype(np.uint8)[:height, :width]
        with rasterio.open(folder / "torchgeo.tif", "w", **profile | {"count": 1, "dtype": "uint8"}) as file:
            file.write(classes, 1)

    return blend


def compare(side: int) -> None:
    """Ours and its peer on a scene that it can hold."""
    what = f"map of a scene of {side:,} × {side:,} pixels, 14 bands, overlap {OVERLAP:g}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder, side)
        mine, theirs = measured(ours, folder), measured(windows, folder)
        with rasterio.open(folder / "map/classes.tif") as one, rasterio.open(folder / "windows.tif") as two:
            differ = one.read(1)[1:-1, 1:-1] != two.read(1)[1:-1, 1:-1]  # we have no data beyond the last radar pixel
        assert differ.mean() < 1e-3, "the maps of ours and windows differ"
        words = f"{mine.seconds:.1f} s, {mine.peak:.0f} MB"
        peer = "windows read by rasterio, blended in arrays of the scene's size"
        row(what, words, f"{peer}: {theirs.seconds:.1f} s, {theirs.peak:.0f} MB", theirs.seconds / mine.seconds)
        if importlib.util.find_spec("torchgeo"):
            theirs, peer = measured(torchgeo, folder), "TorchGeo's GridGeoSampler, blended likewise"
            row(what, words, f"{peer}: {theirs.seconds:.1f} s, {theirs.peak:.0f} MB", theirs.seconds / mine.seconds)


def large(side: int) -> None:
    """Memory and rate of a large scene."""
    with tempfile.TemporaryDirectory() as name:
        simulate(Path(name), side)
        runs = {kind: measured(ours, Path(name), kind) for kind in ("float32", "bfloat16")}
    for kind, run in runs.items():
        told(side, kind, run)


def told(side: int, kind: str, run: Run) -> None:
    what = f"{kind}: scene of {side:,} × {side:,} pixels, 14 bands, overlap {OVERLAP:g}: peak memory, MB"
    words = f"{run.seconds:.0f} s, {side**2 / run.seconds / 1e3:,.0f} thousand pixels/s"
    row(what, words, "", run.peak, "≤ 2000")


def main() -> None:
    options = arguments(__doc__, side=10_980, peer_side=2000)
    compare(options.peer_side)
    large(options.side)


if __name__ == "__main__":
    main()
