"""Time class counts, class weights and band statistics against named peers.

Usage: python tests/benchmarks/bench_statistics.py [patches] [patches with images] [turns]
Class counts and weights of both levels come from the patch table; the peer updates a ``collections.Counter`` with every
pixel of every mask, as the published code does. The peer of the band statistics is numpy on the whole array in one go,
in float64. The floor is one sequential read of the same file from the page cache.
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from reporting import measured, result, row

from cerraseg.core.layout import SIZE, count_columns
from cerraseg.core.taxonomy import LEVELS, MSI_BANDS, SAR_BANDS
from cerraseg.data.packed import Header, Store
from cerraseg.data.statistics import band_statistics, class_counts, class_weights

BANDS = MSI_BANDS + SAR_BANDS
TO_L1 = np.array([0, 1, 1, 5, 3, 4, 4, 2, 2, 2, 2, 2, 6, 2], np.uint8)
TOLERANCE = 1e-9  # relative


def masks(patch: int) -> dict[str, np.ndarray]:
    """The masks of a patch, in squares of 8 × 8 pixels: (128, 128) uint8 by level."""
    squares = np.random.default_rng(patch).integers(0, 14, (SIZE // 8, SIZE // 8), np.uint8)
    l2 = squares.repeat(8, 0).repeat(8, 1)
    return {"l1": TO_L1[l2], "l2": l2}


def write_table(patches: int, path: Path) -> None:
    """A patch table with the paths and the counts of a real one."""
    columns: dict[str, Any] = {"id": [str(k) for k in range(patches)]}
    columns |= {layer: [f"data/{layer}/patch_{k}.tif" for k in range(patches)] for layer in ("msi", "sar", *LEVELS)}
    drawn = [masks(k) for k in range(patches)]
    for level in LEVELS:
        names = count_columns(level)
        counts = np.stack([np.bincount(found[level].ravel(), minlength=len(names)) for found in drawn])
        columns |= dict(zip(names, counts.T, strict=True))
    pd.DataFrame(columns).to_parquet(path, index=False)


def from_table(table: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    counts = {level: class_counts(table, level) for level in LEVELS}
    return {level: (found, class_weights(found, level)) for level, found in counts.items()}


def from_parquet(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return from_table(pd.read_parquet(path, columns=[name for level in LEVELS for name in count_columns(level)]))


def best_of(turns: int, call: Callable[[], Any]) -> tuple[float, Any]:
    """Least wall time in seconds, and what the last call gave."""
    seconds = []
    for _ in range(turns):
        start = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - start)
    return min(seconds), found


def run_table(path: Path, turns: int) -> None:
    table = pd.read_parquet(path)
    memory, found = best_of(10 * turns, lambda: from_table(table))
    parquet, again = best_of(10 * turns, lambda: from_parquet(path))
    plain = {level: [part.tolist() for part in parts] for level, parts in found.items()}
    assert plain == {level: [part.tolist() for part in parts] for level, parts in again.items()}
    result(memory=memory, parquet=parquet, found=plain)


def run_counter(patches: int) -> None:
    """The peer: only its own work is timed, not the drawing of the masks."""
    counters = {level: Counter[int]() for level in LEVELS}
    seconds, variants = 0.0, {"list": lambda mask: mask.ravel().tolist(), "numpy": lambda mask: mask.ravel()}
    sample = masks(0)["l2"]
    name = min(variants, key=lambda name: best_of(3, lambda: Counter(variants[name](sample)))[0])
    for patch in range(patches):
        for level, mask in masks(patch).items():
            start = time.perf_counter()
            counters[level].update(variants[name](mask))
            seconds += time.perf_counter() - start
    start = time.perf_counter()
    found = {}
    for level, counter in counters.items():
        counts = [int(counter[k]) for k in range(len(LEVELS[level]))]
        inverse = [sum(counts) / count if count else 0.0 for count in counts]
        found[level] = [counts, [value / max(inverse) for value in inverse]]
    result(seconds=seconds + time.perf_counter() - start, variant=name, found=found)


def write_images(patches: int, path: Path) -> None:
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(path, "w+", np.float32, (patches, len(BANDS), SIZE, SIZE))
    for image in images:
        image[:] = rng.normal(2000, 500, image.shape)


def run_bands(path: Path, threads: int, turns: int) -> None:
    images = np.load(path, mmap_mode="r")
    store = Store(images, images[:, :0].view(np.uint8), Header(len(images), BANDS, (), "", ""))
    seconds, found = best_of(turns, lambda: band_statistics(store, np.arange(len(images)), threads))
    result(seconds=seconds, found=found)


def run_numpy(path: Path, turns: int) -> None:
    images, axes = np.load(path, mmap_mode="r"), (0, 2, 3)
    seconds, found = best_of(
        turns,
        lambda: (
            images.min(axes), images.max(axes), images.mean(axes, dtype=np.float64), images.std(axes, dtype=np.float64),
        ),
    )  # fmt: skip
    names = ("min", "max", "mean", "std")
    by_band = {
        band: dict(zip(names, map(float, values), strict=True)) for band, *values in zip(BANDS, *found, strict=True)
    }
    result(seconds=seconds, found=by_band)


def run_floor(path: Path, turns: int) -> None:
    piece = bytearray(1 << 20)

    def read() -> None:
        with path.open("rb", buffering=0) as file:
            while file.readinto(piece):
                pass

    result(seconds=best_of(turns, read)[0])


def report_counts(patches: int, folder: str, turns: int) -> None:
    write_table(patches, Path(folder, "table.parquet"))
    ours = measured(__file__, "--table", f"{folder}/table.parquet", str(turns))
    theirs = measured(__file__, "--counter", str(patches))
    for level, (counts, weights) in theirs["found"].items():
        assert ours["found"][level][0] == counts
        np.testing.assert_allclose(ours["found"][level][1], weights, rtol=1e-12)
    against = f"`collections.Counter` over all pixels ({theirs['variant']}): {theirs['seconds']:.3g} s"
    for key, where in (("memory", "table in memory"), ("parquet", "table read from Parquet")):
        what = f"class counts and weights, both levels, {patches:,} patches, {where}"
        shown = f"{ours[key] * 1000:.3g} ms, {ours['peak']:.0f} MB"
        row(what, shown, f"{against}, {theirs['peak']:.0f} MB", theirs["seconds"] / ours[key], "≥ 1,000")


def report_bands(patches: int, folder: str, turns: int) -> None:
    images = Path(folder, "images.npy")
    write_images(patches, images)
    runs: dict[str, list[dict[str, Any]]] = {"1": [], "2": [], "numpy": [], "floor": []}
    for _ in range(turns):
        for threads in ("1", "2"):
            runs[threads].append(measured(__file__, "--bands", str(images), threads, str(turns)))
        for name in ("numpy", "floor"):
            runs[name].append(measured(__file__, f"--{name}", str(images), str(turns)))
    one, two, theirs, floor = (min(found, key=lambda run: run["seconds"]) for found in runs.values())
    assert one["found"] == two["found"]
    for band, values in theirs["found"].items():
        np.testing.assert_allclose(list(one["found"][band].values()), list(values.values()), rtol=TOLERANCE)
    size = images.stat().st_size / 1e9
    for threads, ours in (("1 thread", one), ("2 threads", two)):
        what = f"band statistics, {patches:,} patches ({size:.2g} GB), {threads}"
        shown = f"{ours['seconds']:.3g} s, {size / ours['seconds']:.2g} GB/s, {ours['peak']:.0f} MB"
        peer = f"numpy min, max, mean, std of the whole in float64: {theirs['seconds']:.3g} s, {theirs['peak']:.0f} MB"
        row(what, shown, peer, theirs["seconds"] / ours["seconds"], f"equal to {TOLERANCE:.0e}")
        least = f"one sequential read of the file: {floor['seconds']:.3g} s"
        row(f"{what} (floor over ours)", shown, least, floor["seconds"] / ours["seconds"])


def main() -> None:
    patches, images, turns = (int(given) for given in [*sys.argv[1:], *("30000", "1000", "3")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory() as folder:
        report_counts(patches, folder, turns)
        report_bands(images, folder, turns)


if __name__ == "__main__":
    runs: dict[str, Callable[..., None]] = {
        "--table": lambda path, turns: run_table(Path(path), int(turns)),
        "--counter": lambda patches: run_counter(int(patches)),
        "--bands": lambda path, threads, turns: run_bands(Path(path), int(threads), int(turns)),
        "--numpy": lambda path, turns: run_numpy(Path(path), int(turns)),
        "--floor": lambda path, turns: run_floor(Path(path), int(turns)),
    }
    if sys.argv[1:] and sys.argv[1] in runs:
        runs[sys.argv[1]](*sys.argv[2:])
    else:
        main()
