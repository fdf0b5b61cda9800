"""A scene to map: one or two rasters of any size on the pixel grid of the first, and where they hold data.

The first is the MSI raster, where there is one. A raster on another grid is warped as it is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import MODALITIES
from cerraseg.geo import rasters

_CACHE_MB = 256  # of decoded blocks: a row of 512 x 512 blocks of 12 bands over 10,980 pixels takes 140 MB as int16
_SAMPLES = 8  # windows along each side
_SAMPLE = 64  # pixels of a window's side
_ALIKE = 1e-6  # of a pixel: grids that differ less are the same


class SceneFiles(NamedTuple):
    """The rasters of a scene, one or both, and their bands in the file's order where its descriptions do not tell."""

    name: str
    msi: Path | None = None
    sar: Path | None = None
    msi_bands: Sequence[str] = ()
    sar_bands: Sequence[str] = ()

    @classmethod
    def of(cls, scene: Mapping[str, Any]) -> "SceneFiles":
        """The rasters of a scene of the configuration."""
        files = {sensor: Path(scene[sensor]) for sensor in ("msi", "sar") if sensor in scene}
        return cls(scene["name"], **files, msi_bands=tuple(scene["msi_bands"]), sar_bands=tuple(scene["sar_bands"]))

    @property
    def rasters(self) -> dict[str, tuple[Path, Sequence[str]]]:
        """Sensor → its raster and the names of the raster's bands."""
        sensors = {"msi": (self.msi, self.msi_bands), "sar": (self.sar, self.sar_bands)}
        return {sensor: (path, bands) for sensor, (path, bands) in sensors.items() if path}


@dataclass(frozen=True)
class SceneGrid:
    """The pixels of a map: coordinate reference system, affine transform and (height, width)."""

    crs: Any
    transform: Affine
    shape: tuple[int, int]

    def same_as(self, other: "SceneGrid") -> bool:
        """Whether both have the same pixels, to a millionth of their size."""
        between = ~other.transform * self.transform
        aligned = between.almost_equals(Affine.identity(), _ALIKE)
        return aligned and (self.shape, self.crs) == (other.shape, other.crs)


@dataclass(frozen=True)
class Scene:
    """An open scene."""

    grid: SceneGrid
    bands: Sequence[str]  # those of its modality, in channel order
    sources: Sequence[tuple[Any, list[int]]]  # open rasters on the grid, and the numbers, from 1, of their bands
    warped: bool  # whether a raster lies on another grid

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read the pixels of a window, (bands, H, W), and where they are data, (H, W).

        They are not where any band has the file's no-data value, is masked, NaN or infinite, or where a raster ends.

        Raises:
            DataError: if a raster is damaged there.
        """
        parts = []
        for dataset, indexes in self.sources:
            with readable(dataset):
                parts.append(dataset.read(indexes, window=window, masked=True, out_dtype=np.float32))
        pixels = np.concatenate([part.data for part in parts])
        masked = np.concatenate([np.ma.getmaskarray(part) for part in parts])
        return pixels, (np.isfinite(pixels) & ~masked).all(0)

    def sample(self) -> NDArray[np.float32]:
        """Read pixels with data (bands, N) in windows spread evenly over the scene; all of a small scene.

        Where these hold no data, those of the first rows that do; N is 0 in an empty scene.
        """
        height, width = self.grid.shape
        spread = [Window.from_slices(*place) for place in product(_spread(height), _spread(width))]
        found = np.concatenate([pixels[:, valid] for pixels, valid in map(self.read, spread)], axis=1)
        if found.size:
            return found
        rows = (Window(0, top, width, min(_SAMPLE, height - top)) for top in range(0, height, _SAMPLE))
        return next((pixels[:, valid] for pixels, valid in map(self.read, rows) if valid.any()), found)


def _spread(length: int) -> list[slice]:
    if length <= _SAMPLES * _SAMPLE:
        return [slice(0, length)]
    firsts = np.linspace(0, length - _SAMPLE, _SAMPLES).round().astype(int).tolist()
    return [slice(first, first + _SAMPLE) for first in firsts]


@contextmanager
def readable(dataset: Any) -> Iterator[None]:
    """Raise a :class:`DataError` where the pixels of an open raster turn out to be damaged."""
    try:
        yield
    except RasterioError as error:
        raise DataError(f"{dataset.name} is damaged ({error}); fetch or write the file again") from None


@contextmanager
def open_scene(files: SceneFiles, modality: str, resampling: str) -> Iterator[Scene]:
    """Open the bands of ``modality`` of a scene; ``resampling`` (a name of rasterio's) is used where grids differ.

    Raises:
        DataError: if a raster is missing, cannot be read, has no CRS or not the bands, if the two do not overlap, or if
            the grid is turned or south-up.
    """
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE_MB))
        opened = {
            sensor: stack.enter_context(open_scene_raster(files.name, sensor, path))
            for sensor, (path, _) in files.rasters.items()
        }
        grid = _grid(next(iter(opened.values())))
        a, b, _, d, e, _ = grid.transform[:6]
        if b or d or a <= 0 or e >= 0:
            raise DataError(
                f"scene {files.name} has the transform {grid.transform[:6]}; expected rows from west to east, the "
                "northernmost first: warp its raster, e.g. with gdalwarp"
            )
        sources, warped = [], False
        for sensor in ("msi", "sar") if modality == "concat" else (modality,):
            if sensor not in opened:
                raise DataError(
                    f"scene {files.name} has no {sensor} raster, which a model of {modality} expects: add {sensor} to "
                    "the scene, or map it by a scenario of its other modality"
                )
            dataset = opened[sensor]
            indexes = band_indexes(files.name, dataset, sensor, files.rasters[sensor][1])
            if not _grid(dataset).same_as(grid):
                dataset, warped = stack.enter_context(warp(files.name, dataset, grid, resampling)), True
            sources.append((dataset, indexes))
        yield Scene(grid, MODALITIES[modality], sources, warped)


@contextmanager
def open_scene_raster(scene: str, layer: str, path: Path) -> Iterator[Any]:
    """Open a georeferenced raster of a scene; ``layer`` (``msi``, ``sar``, ``reference``) is for messages.

    Raises:
        DataError: if it cannot be read or has no usable georeference.
    """
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(**rasters.OFFLINE))
        try:
            dataset = stack.enter_context(rasters.open_raster(path, rasters.driver_of(path)))
        except RasterioError as error:
            raise DataError(
                f"scene {scene}: its {layer} raster cannot be opened ({path}: {error}); expected a GeoTIFF or a file "
                f"of {', '.join(rasters.DRIVERS)}: correct the path or the file"
            ) from error
        transform = dataset.transform
        if dataset.crs is None or transform.is_identity or not rasters.is_sound(transform):
            raise DataError(
                f"scene {scene}: {path} has the coordinate reference system {dataset.crs} and the transform "
                f"{transform[:6]}; expected a georeferenced raster: assign both, e.g. with gdal_edit.py "
                "-a_srs EPSG:32722 -a_ullr <left> <top> <right> <bottom>"
            )
        yield dataset


def warp(scene: str, dataset: Any, grid: SceneGrid, resampling: str) -> Any:
    """Warp an open raster of a scene to a grid: float32, NaN where it has no data.

    Raises:
        DataError: if raster and grid share no ground.
    """
    height, width = grid.shape
    options = {
        "transform": grid.transform,
        "height": height,
        "width": width,
        "resampling": Resampling[resampling],
        "src_nodata": np.nan if dataset.nodata is None else dataset.nodata,
        "nodata": np.nan,
        "dtype": "float32",
        "UNIFIED_SRC_NODATA": "NO",  # else a pixel that one band lacks is mixed into its neighbours
    }
    try:
        left, bottom, right, top = bounds = transform_bounds(dataset.crs, grid.crs, *dataset.bounds)
        west, south, east, north = rasterio.transform.array_bounds(height, width, grid.transform)
        if left >= east or right <= west or bottom >= north or top <= south:
            raise ValueError(f"it lies beside the scene, at {bounds}")
        return WarpedVRT(dataset, crs=grid.crs, **options)
    except Exception as error:  # rasterio does not export GDAL's errors
        raise DataError(
            f"scene {scene}: {dataset.name} cannot be brought to the scene's grid in {grid.crs} ({error}); expected "
            "rasters of one place: correct the path or the georeference"
        ) from None


def _grid(dataset: Any) -> SceneGrid:
    return SceneGrid(dataset.crs, dataset.transform, dataset.shape)


def band_indexes(scene: str, dataset: Any, sensor: str, names: Sequence[str]) -> list[int]:
    """Find the numbers, from 1, of the bands of a sensor (``msi`` or ``sar``) in a file.

    ``names`` are those of the file's bands, or empty: then its band descriptions count.

    Raises:
        DataError: if a band is missing or there twice.
    """
    wanted = MODALITIES[sensor]
    if names and len(names) != dataset.count:
        raise DataError(
            f"scene {scene}: {sensor}_bands names {len(names)} bands, but {dataset.name} has {dataset.count}; expected "
            "one name a band of the file, in its order: correct the list"
        )
    given = [_standard_name(name) for name in names or dataset.descriptions]
    missing = [band for band in wanted if given.count(band) != 1]
    if missing:
        raise DataError(
            f"scene {scene}: {dataset.name} has the bands {', '.join(name or '(no description)' for name in given)}; "
            f"expected {', '.join(wanted)}, of which {', '.join(missing)} is missing or there twice: describe the "
            f"bands in the file, or name them in the file's order under {sensor}_bands"
        )
    return [given.index(band) + 1 for band in wanted]


def _standard_name(name: str | None) -> str:
    text = (name or "").strip().upper()
    return f"B0{text[1]}" if len(text) == 2 and text[0] == "B" and text[1].isdigit() else text
