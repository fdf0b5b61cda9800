"""Patches laid out on a grid of 10 m, and rasters read back."""

from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray


def table(corners: list[tuple[float, float]], crs: str = "EPSG:32722") -> pd.DataFrame:
    """Patches whose upper-left corners lie ``corners`` (row, column) pixels down and right of an origin."""
    rows = [(f"p{i}", crs, 10.0, 0.0, 5e5 + c * 10, 0.0, -10.0, 8e6 - r * 10) for i, (r, c) in enumerate(corners)]
    return pd.DataFrame(rows, columns=["id", "crs", *"abcdef"])


def read(path: Path) -> NDArray[np.generic]:
    """All bands (bands, H, W), or the only one (H, W)."""
    with rasterio.open(path) as file:
        return file.read() if file.count > 1 else file.read(1)
