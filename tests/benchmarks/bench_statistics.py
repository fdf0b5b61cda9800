"""Band statistics of packed patches against numpy on the whole array in one go, in float64.

Usage: bench_statistics.py [patches] [turns]
"""

import tempfile
from pathlib import Path

import numpy as np
from inputs import PACKED, open_packed, write_store
from measuring import arguments, measured, row

TOLERANCE = 1e-9  # relative


def ours(folder: Path):
    from cerraseg.data.statistics import band_statistics

    store = open_packed(folder)
    rows = np.arange(store.header.patches)
    return lambda: [list(found.values()) for found in band_statistics(store, rows, 2).values()]


def whole_array(folder: Path):
    images, axes = np.load(folder / PACKED[0], mmap_mode="r"), (0, 2, 3)

    def compute() -> np.ndarray:
        found = images.min(axes), images.max(axes), images.mean(axes, np.float64), images.std(axes, np.float64)
        return np.stack(found, axis=1)

    return compute


def main() -> None:
    options = arguments(__doc__, {"patches": 1000, "turns": 3})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_store(folder, options.patches)
        size = (folder / PACKED[0]).stat().st_size / 1e9
        mine, theirs = (measured(method, folder, turns=options.turns) for method in (ours, whole_array))
    np.testing.assert_allclose(mine.value, theirs.value, rtol=TOLERANCE)
    what = f"band statistics, {options.patches:,} patches ({size:.2g} GB), 2 threads"
    shown = f"{mine.seconds:.3g} s, {size / mine.seconds:.2g} GB/s, {mine.peak:.0f} MB"
    peer = f"numpy min, max, mean, std of the whole in float64: {theirs.seconds:.3g} s, {theirs.peak:.0f} MB"
    row(what, shown, peer, theirs.seconds / mine.seconds, f"equal to {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
