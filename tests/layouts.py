"""Patch tables of made-up places, as the index writes them, without any file."""

from pathlib import Path

import numpy as np
import pandas as pd

from cerraseg.data.splits.distances import gaps
from cerraseg.geo.positions import Floats, Ints, Places

PIXEL = 8.983e-5
STEPS = {"EPSG:4326": 128 * PIXEL, "EPSG:32722": 1280.0, "EPSG:32723": 1280.0, "EPSG:3857": 1280.0}
"""Side of a patch in units of its coordinate system."""

CORNERS = {
    "EPSG:4326": (-48.2, -6.0),
    "EPSG:32722": (740_000.0, 9_200_000.0),
    "EPSG:32723": (300_000.0, 9_200_000.0),
    "EPSG:3857": (-5_300_000.0, -600_000.0),
}
"""Left and top of each grid: zone 23 begins at 48° W, so that the places are neighbours."""

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def grid(crs: str, rows: int, columns: int, *, first: int = 100, east: float = 0, south: float = 0) -> pd.DataFrame:
    """Abutting patches, moved by ``east`` and ``south`` patches, with ids from ``first`` on and no counts."""
    step, (left, top) = STEPS[crs], CORNERS[crs]
    row, column = (axis.ravel() for axis in np.mgrid[:rows, :columns])
    x, y = left + (column + east) * step, top - (row + south) * step
    ids = [str(first + k) for k in range(rows * columns)]
    return pd.DataFrame(
        {"id": ids, "crs": crs, "a": step / 128, "left": x, "bottom": y - step, "right": x + step, "top": y}
    )


def labelled(places: pd.DataFrame, random: np.random.Generator, rare: int = 6) -> pd.DataFrame:
    """The table with pixels of seven classes, of which the last is in ``rare`` patches, and paths by id."""
    counts = np.floor(16_000 * random.dirichlet([10, 5, 3, 1, 0.5, 0.2], len(places))).astype(int)
    last = np.zeros(len(places), int)
    last[random.choice(len(places), min(rare, len(places)), replace=False)] = 100
    classes = {f"l1_{k}": column for k, column in enumerate([*counts.T, last])}
    return places.assign(msi="data/msi_" + places["id"] + ".tif", l1="data/mask_" + places["id"] + ".tif", **classes)


def scattered(seed: int) -> pd.DataFrame:
    """Two or three grids with holes in as many coordinate systems, which may lie beside each other."""
    random = np.random.default_rng(seed)
    names = random.choice([crs for crs in STEPS if crs != "EPSG:3857"], random.integers(2, 4), replace=False)
    parts = [
        grid(name, *random.integers(6, 12, 2), first=1000 * (k + 1), east=random.integers(0, 30))
        for k, name in enumerate(names)
    ]
    table = pd.concat(parts, ignore_index=True)
    return labelled(table[random.random(len(table)) > 0.2].reset_index(drop=True), random)


def every_gap(places: Places, of: Ints, among: Ints) -> Floats:
    """Gaps of all pairs of patches, (of, among)."""
    first, second = (axis.ravel() for axis in np.meshgrid(of, among, indexing="ij"))
    return gaps(places, first, second).reshape(len(of), len(among))


def written(table: pd.DataFrame, folder: Path) -> Path:
    table.to_parquet(folder / "patches.parquet")
    return folder / "patches.parquet"
