"""A scene to map: one or two rasters of any size on one pixel grid, band by band, and where they hold data.

The grid is that of the MSI raster, or of the SAR raster where there is no other. A raster on another grid is warped to
it as it is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import MODALITIES
from cerraseg.geo import rasters

CACHE_MB = 256
"""GDAL's cache of decoded blocks: a row of 512 x 512 blocks of 12 bands over 10,980 pixels takes 140 MB as int16."""

_SAMPLES = 8  # windows along each side
_SAMPLE = 64  # pixels of a window's side
_ALIKE = 1e-6  # of a pixel: grids that differ less are the same


class SceneFiles(NamedTuple):
    """The rasters of a scene.

    Attributes:
        name: name of the scene.
        msi: multispectral raster.
        sar: radar raster.
        msi_bands: bands of the file in its order, where its band descriptions do not name them.
        sar_bands: likewise.
    """

    name: str
    msi: Path | None = None
    sar: Path | None = None
    msi_bands: Sequence[str] = ()
    sar_bands: Sequence[str] = ()

    @classmethod
    def of(cls, scene: Mapping[str, Any]) -> "SceneFiles":
        """The rasters of a scene of the configuration."""
        files = {layer: Path(scene[layer]) for layer in ("msi", "sar") if layer in scene}
        return cls(scene["name"], **files, msi_bands=tuple(scene["msi_bands"]), sar_bands=tuple(scene["sar_bands"]))


@dataclass(frozen=True)
class SceneGrid:
    """The pixels of a map: coordinate reference system, affine transform and (height, width)."""

    crs: Any
    transform: Affine
    shape: tuple[int, int]


class _Source(NamedTuple):
    """Bands of one raster on the grid; ``warped`` ones have NaN where the raster has no data."""

    dataset: Any
    indexes: list[int]
    warped: bool


class Scene:
    """An open scene.

    Attributes:
        grid: pixels of its map.
        bands: those of its modality, in channel order.
        warped: whether a raster lies on another grid.
    """

    def __init__(self, grid: SceneGrid, bands: Sequence[str], sources: Sequence[_Source]) -> None:
        self.grid, self.bands, self._sources = grid, tuple(bands), sources
        self.warped = any(source.warped for source in sources)

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window.

        Returns:
            Pixels (bands, H, W), and where they are data (H, W): not where any band has the file's no-data value, is
            masked, NaN or infinite, or where a raster does not reach.

        Raises:
            DataError: if a raster is damaged there.
        """
        parts = []
        for dataset, indexes, _ in self._sources:
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
        spread = [
            Window(left, top, right - left, bottom - top)
            for top, bottom in _spread(height)
            for left, right in _spread(width)
        ]
        parts = [pixels[:, valid] for pixels, valid in map(self.read, spread)]
        found = np.concatenate(parts, axis=1)
        if found.size:
            return found
        rows = (Window(0, top, width, min(_SAMPLE, height - top)) for top in range(0, height, _SAMPLE))
        return next((pixels[:, valid] for pixels, valid in map(self.read, rows) if valid.any()), found)


@contextmanager
def readable(dataset: Any) -> Iterator[None]:
    """Raise a :class:`DataError` where the pixels of an open raster turn out to be damaged."""
    try:
        yield
    except RasterioError as error:
        raise DataError(f"{dataset.name} is damaged ({error}); fetch or write the file again") from None


def _spread(length: int) -> list[tuple[int, int]]:
    if length <= _SAMPLES * _SAMPLE:
        return [(0, length)]
    firsts = np.linspace(0, length - _SAMPLE, _SAMPLES).round().astype(int).tolist()
    return [(first, first + _SAMPLE) for first in firsts]


@contextmanager
def open_scene(files: SceneFiles, modality: str, resampling: str) -> Iterator[Scene]:
    """Open the bands of ``modality`` of a scene; ``resampling`` (a name of rasterio's) is used where grids differ.

    Raises:
        DataError: if a raster is missing, cannot be read, has no CRS or not the bands, if the two do not overlap, or if
            the grid is turned or south-up.
    """
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_MB))
        found = {
            layer: (stack.enter_context(open_scene_raster(files.name, layer, path)), names)
            for layer, path, names in (("msi", files.msi, files.msi_bands), ("sar", files.sar, files.sar_bands))
            if path
        }
        grid = _grid(next(iter(found.values()))[0])
        _check_north_up(files.name, grid)
        sources = []
        for layer in ("msi", "sar") if modality == "concat" else (modality,):
            if layer not in found:
                raise DataError(
                    f"scene {files.name} has no {layer} raster; expected one for a model of {modality}: add {layer} to "
                    "the scene, or map it by a scenario of its other modality"
                )
            dataset, names = found[layer]
            indexes = band_indexes(files.name, dataset, layer, names)
            warped = not _same(_grid(dataset), grid)
            if warped:
                check_overlap(files.name, dataset, grid)
                dataset = stack.enter_context(warp(dataset, grid, resampling))
            sources.append(_Source(dataset, indexes, warped))
        yield Scene(grid, MODALITIES[modality], sources)


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
                f"scene {scene}: its {layer} raster cannot be opened ({path}: {error}); expected a GeoTIFF, or "
                f"{', '.join(f'{ending} ({driver})' for ending, driver in rasters.DRIVERS.items())}: correct the path "
                "or the file"
            ) from error
        if dataset.crs is None or dataset.transform.is_identity:
            lacks = "coordinate reference system" if dataset.crs is None else "geotransform"
            raise DataError(
                f"scene {scene}: {path} has no {lacks}; expected a georeferenced raster: assign it, e.g. with "
                "gdal_edit.py -a_srs EPSG:32722 -a_ullr <left> <top> <right> <bottom>"
            )
        if not rasters.is_sound(dataset.transform):
            raise DataError(
                f"scene {scene}: {path} has the transform {dataset.transform[:6]}; expected finite numbers that give "
                "each pixel an area: correct its georeference"
            )
        yield dataset


def warp(dataset: Any, grid: SceneGrid, resampling: str) -> Any:
    """Warp an open raster to another grid: float32, NaN where it has no data."""
    try:
        return WarpedVRT(
            dataset,
            crs=grid.crs,
            transform=grid.transform,
            height=grid.shape[0],
            width=grid.shape[1],
            resampling=Resampling[resampling],
            src_nodata=np.nan if dataset.nodata is None else dataset.nodata,
            nodata=np.nan,
            dtype="float32",
            UNIFIED_SRC_NODATA="NO",  # else a pixel that one band lacks is mixed into its neighbours
        )
    except (RasterioError, CRSError, CPLE_BaseError) as error:
        raise DataError(
            f"{dataset.name} cannot be warped to {grid.crs} ({error}); expected a raster on the same part of the "
            "Earth: correct its georeference"
        ) from None


def _grid(dataset: Any) -> SceneGrid:
    return SceneGrid(dataset.crs, dataset.transform, dataset.shape)


def _check_north_up(scene: str, grid: SceneGrid) -> None:
    a, b, _, d, e, _ = grid.transform[:6]
    if b or d or a <= 0 or e >= 0:
        raise DataError(
            f"scene {scene} has the transform {grid.transform[:6]}; expected rows from west to east, the northernmost "
            "first: warp its raster, e.g. with gdalwarp"
        )


def _same(one: SceneGrid, other: SceneGrid) -> bool:
    # Between the two grids' pixels, so that the unit of the CRS does not matter.
    between = ~other.transform * one.transform
    return one.shape == other.shape and one.crs == other.crs and between.almost_equals(Affine.identity(), _ALIKE)


def band_indexes(scene: str, dataset: Any, layer: str, names: Sequence[str]) -> list[int]:
    """Find the numbers, from 1, of the bands of a layer (``msi`` or ``sar``) in a file.

    ``names`` are those of the file's bands, or empty: then its band descriptions count.

    Raises:
        DataError: if a band is missing or there twice.
    """
    wanted = MODALITIES[layer]
    if names and len(names) != dataset.count:
        raise DataError(
            f"scene {scene}: {layer}_bands names {len(names)} bands, but {dataset.name} has {dataset.count}; expected "
            "one name a band of the file, in its order: correct the list"
        )
    given = [_standard_name(name) for name in names or dataset.descriptions]
    missing = [band for band in wanted if given.count(band) != 1]
    if missing:
        raise DataError(
            f"scene {scene}: {dataset.name} has the bands {', '.join(name or '(no description)' for name in given)}; "
            f"expected {', '.join(wanted)}, of which {', '.join(missing)} is missing or there twice: describe the "
            f"bands in the file, or name them in the file's order under {layer}_bands"
        )
    return [given.index(band) + 1 for band in wanted]


def _standard_name(name: str | None) -> str:
    """A band's name as the taxonomy writes it: ``B01`` for ``B1`` and ``b01``."""
    text = (name or "").strip().upper()
    return f"B0{text[1]}" if len(text) == 2 and text[0] == "B" and text[1].isdigit() else text


def check_overlap(scene: str, dataset: Any, grid: SceneGrid) -> None:
    """Raise :class:`DataError` unless a raster and the grid share ground."""
    height, width = grid.shape
    ours = rasterio.transform.array_bounds(height, width, grid.transform)
    try:
        theirs = transform_bounds(dataset.crs, grid.crs, *dataset.bounds)
    except (CRSError, CPLE_BaseError, ValueError) as error:
        raise DataError(
            f"scene {scene}: {dataset.name} lies nowhere in {grid.crs} ({error}); expected rasters of one place: "
            "correct the georeference"
        ) from None
    if theirs[0] >= ours[2] or theirs[2] <= ours[0] or theirs[1] >= ours[3] or theirs[3] <= ours[1]:
        raise DataError(
            f"scene {scene}: {dataset.name} lies at {_corners(theirs)} in {grid.crs}, beside the scene at "
            f"{_corners(ours)}; expected rasters of one place: correct the path or the georeference"
        )


def _corners(bounds: Sequence[float]) -> str:
    left, bottom, right, top = bounds
    return f"{left:.6g} to {right:.6g} east, {bottom:.6g} to {top:.6g} north"
