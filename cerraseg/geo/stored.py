"""Bands of one open raster: stored values, which of them are data, and what scale and offset make of them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from cerraseg.core.errors import DataError
from cerraseg.geo import rasters, vrt
from cerraseg.geo.grids import Grid, turns

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_MASKED = {MaskFlags.per_dataset, MaskFlags.alpha}


@dataclass(frozen=True)
class Stored:
    """Some bands of an open raster, on the grid of an image."""

    file: str  # for people; the dataset may be a VRT of it
    dataset: Any
    indexes: list[int]  # their numbers, from 1, in the file
    channels: list[int]  # their places in the image
    nodata: list[float | None]  # value without data of each
    masked: bool  # whether masks or an alpha band say more about where there is data
    scales: list[float]
    offsets: list[float]
    tagged: bool  # whether the file declares a scale or an offset
    warped: bool = False

    @classmethod
    def of(cls, dataset: Any, indexes: list[int], channels: list[int], offset: float, scaled: bool) -> "Stored":
        """Describe bands of an open raster: their numbers, from 1, in it and their places in the image.

        ``offset`` is added to the values beside what the file declares; ``scaled``: whether that and its scale count.
        """
        places = [index - 1 for index in indexes]
        flags = {flag for place in places for flag in dataset.mask_flag_enums[place]}
        # GDAL says of the fourth of four bands of uint8 that it is transparency.
        as_alpha = MaskFlags.alpha in flags and any(dataset.colorinterp[k] is ColorInterp.alpha for k in places)
        scales = [dataset.scales[place] for place in places]
        offsets = [dataset.offsets[place] + offset for place in places]
        return cls(
            str(dataset.name),
            dataset,
            indexes,
            channels,
            nodata=[dataset.nodatavals[place] for place in places],
            masked=bool(flags & _MASKED) and not as_alpha,
            scales=scales if scaled else [1.0] * len(places),
            offsets=offsets if scaled else [0.0] * len(places),
            tagged=any(scale != 1 for scale in scales) or any(offsets),
        )

    def part(self, channels: Sequence[int]) -> "Stored | None":
        """Return those of the bands that go to these places in the image; None if there is none."""
        kept = [place for place, channel in enumerate(self.channels) if channel in channels]
        lists = ("indexes", "channels", "nodata", "scales", "offsets")
        chosen: dict[str, Any] = {name: [getattr(self, name)[place] for place in kept] for name in lists}
        return replace(self, **chosen) if kept else None

    def read(self, window: Window | None, shape: tuple[int, int] | None = None) -> tuple[NDArray[Any], Bools]:
        """Read the stored values (bands, H, W) of a window, and where they are data; perhaps in another ``shape``."""
        options: dict[str, Any] = {} if shape is None else {"out_shape": (len(self.indexes), *shape)}
        options["window"] = window
        with readable(self.file):
            values = self.dataset.read(self.indexes, **options)
            floating = np.issubdtype(values.dtype, np.floating)
            valid = ~np.isnan(values) if floating else np.ones(values.shape, bool)
            if self.masked:
                valid &= self.dataset.read_masks(self.indexes, **options) > 0
        for band, value in enumerate(self.nodata):
            if value is not None:
                with np.errstate(over="ignore"):
                    valid[band] &= values[band] != (values.dtype.type(value) if floating else value)
        return values, valid

    def values(self, window: Window | None) -> Floats:
        """Read the values in a window, NaN where they are no data."""
        stored, valid = self.read(window)
        values = self._scaled(stored)
        if self.masked or any(value is not None for value in self.nodata):
            values[~valid] = np.nan
        return values

    def means(self, shape: tuple[int, int]) -> Floats:
        """Read means over all pixels with data, by overviews where the file has them; NaN where there is none."""
        options = {"resampling": Resampling.average, "masked": True, "out_dtype": "float32"}
        with readable(self.file):
            stored = self.dataset.read(self.indexes, out_shape=(len(self.indexes), *shape), **options)
        return self._scaled(stored.filled(np.nan))

    def _scaled(self, stored: NDArray[Any]) -> Floats:
        with np.errstate(over="ignore"):
            if all(scale == 1 for scale in self.scales) and not any(self.offsets):
                return stored.astype(np.float32, copy=False)
            scales, offsets = (np.array(by)[:, None, None] for by in (self.scales, self.offsets))
            return (stored.astype(np.float64) * scales + offsets).astype(np.float32)


@contextmanager
def readable(file: str) -> Iterator[None]:
    """Raise a :class:`DataError` where the pixels of an open raster turn out to be damaged."""
    try:
        yield
    except RasterioError as error:
        raise DataError(f"{file} is damaged ({error.__cause__ or error}); fetch or write the file again") from None


@contextmanager
def open_file(path: Path, what: str) -> Iterator[Any]:
    """Open a georeferenced raster of real numbers, or raise a :class:`DataError`."""
    below = vrt.files_below(path) if path.suffix.lower() == ".vrt" and path.is_file() else []
    if missing := [source for source in below if not source.is_file()]:
        raise DataError(
            f"{what}: {path} leads to {missing[0]}, which is missing; expected all files below it: bring it there, or "
            "build the VRT again"
        )
    with ExitStack() as stack:
        try:
            dataset = stack.enter_context(rasters.open_raster(path))
        except (RasterioError, OSError) as error:
            raise DataError(
                f"{what}: {path} cannot be opened ({error}); expected a GeoTIFF, or a file of "
                f"{', '.join(rasters.DRIVERS)} by its ending: correct the path, or fetch or write the file again"
            ) from None
        if odd := next((dtype for dtype in dataset.dtypes if "complex" in dtype), None):
            raise DataError(
                f"{what}: {path} holds {odd} pixels; expected real numbers: write intensities or decibels, e.g. by "
                "terrain correction"
            )
        _check_place(dataset, what)
        yield dataset


def _check_place(dataset: Any, what: str) -> None:
    """Raise a :class:`DataError` where an open raster lies nowhere."""
    transform = dataset.transform
    if dataset.crs and not transform.is_identity and np.isfinite(transform).all() and not transform.is_degenerate:
        return
    remedy = "assign both, e.g. by rio edit-info --crs EPSG:32722 --transform '[10, 0, <left>, 0, -10, <top>]'"
    found = f"the coordinate reference system {dataset.crs} and the transform {transform[:6]}"
    if dataset.gcps[0] or dataset.rpcs:
        found = "ground control points only"
        remedy = "terrain-correct it (radar), or warp it by its points with rio warp --dst-crs EPSG:32722"
    raise DataError(f"{what}: {dataset.name} has {found}; expected a georeferenced raster: {remedy}")


def place(
    stack: ExitStack, stored: Stored, grid: Grid, resampling: str, extra: float | None, what: str
) -> list[Stored]:
    """Bring bands to a grid, with ``extra`` as a further value without data: as they are, flipped, or warped.

    What is opened is closed by ``stack``.

    Raises:
        DataError: if they share no ground with the grid.
    """
    if extra is not None:
        stored = _cleaned(stack, stored, extra, 0)
    own = Grid.of(stored.dataset)
    if own.same_as(grid):
        return [stored]
    if not own.turned and own.north_up().same_as(grid):
        return [replace(_warped(stack, stored, grid, "nearest", 0), warped=False)]
    found = turns(own, grid)
    if not found:
        raise DataError(
            f"{what}: {stored.file} lies at {own.bounds} in {rasters.crs_text(own.crs)}, beside "
            f"{grid.bounds} in {rasters.crs_text(grid.crs)}; expected rasters of one place: correct the path or the "
            "georeference"
        )
    return [_warped(stack, stored, grid, resampling, 360 * turn) for turn in found]


def _cleaned(stack: ExitStack, stored: Stored, extra: float | None, east: float) -> Stored:
    xml = vrt.cleaned(
        stored.dataset, stored.indexes, masked=stored.masked, nodata=stored.nodata, extra=extra, east=east
    )
    with readable(stored.file):
        dataset = stack.enter_context(rasterio.open(xml, driver="VRT"))
    numbers = list(range(1, len(stored.indexes) + 1))
    return replace(stored, dataset=dataset, indexes=numbers, nodata=[None] * len(numbers), masked=False)


def _warped(stack: ExitStack, stored: Stored, grid: Grid, resampling: str, east: float) -> Stored:
    clean = _cleaned(stack, stored, None, east)
    height, width = grid.shape
    options = {
        "crs": grid.crs,
        "transform": grid.transform,
        "height": height,
        "width": width,
        "resampling": Resampling[resampling],
        "src_nodata": np.nan,
        "nodata": np.nan,
        "dtype": clean.dataset.dtypes[0],
        "UNIFIED_SRC_NODATA": "NO",  # else a pixel that one band lacks is mixed into its neighbours
    }
    return replace(clean, dataset=stack.enter_context(WarpedVRT(clean.dataset, **options)), warped=True)
