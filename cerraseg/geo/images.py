"""Images and masks of patches and scenes, read as their files declare them.

Bands are found by name; scale and offset, no-data values, alpha and masks are applied; what lies on another grid is
warped as it is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from cerraseg.core.errors import DataError
from cerraseg.geo import rasters, safe, vrt
from cerraseg.geo.band_names import by_file_name, match, standard_name
from cerraseg.geo.grids import Grid
from cerraseg.geo.stored import Stored, open_file, place

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ImageFiles:
    """The image of one sensor: its files, and what they do not declare themselves."""

    files: tuple[Path, ...]  # one raster, several that share the bands, on any grids, or one Sentinel-2 SAFE folder
    bands: tuple[str, ...] = ()  # names of all bands in the files' order, where their descriptions do not give them
    nodata: float | None = None  # value without data
    mask: Path | None = None  # raster of one band, on any grid
    mask_values: tuple[float, ...] = ()  # of its values, those of pixels that are not to be used

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "ImageFiles":
        """Make one of plain values, as :mod:`cerraseg.config.areas` returns them: files, bands, nodata and mask."""
        files, bands, mask = tuple(map(Path, given["files"])), tuple(given["bands"]), given["mask"]
        masked = (Path(mask["file"]), tuple(mask["values"])) if mask else ()
        return cls(files, bands, given["nodata"], *masked)

    @property
    def sources(self) -> list[Path]:
        """All files that its pixels come from."""
        files = [*self.files, *([self.mask] if self.mask else [])]
        return [source for file in files for source in raster_sources(file)]


def raster_sources(path: Path) -> list[Path]:
    """Return the files that a raster's pixels come from: itself, those below a VRT, those of a SAFE folder."""
    return safe.all_files(path) if safe.is_safe(path) else vrt.files_below(path)


@dataclass(frozen=True)
class Mask:
    """An open raster of one band of whole numbers, such as class ids."""

    grid: Grid
    sources: Sequence[Stored]  # several across the antimeridian, whose halves fill each other

    def read(self, window: Window | None = None, shape: tuple[int, int] | None = None) -> tuple[NDArray[Any], Bools]:
        """Read the values (H, W) in the file's type, and where they are data; by the nearest pixel in another shape.

        Raises:
            DataError: if the file is damaged there.
        """
        (values, *others), (valid, *where) = zip(*(source.read(window, shape) for source in self.sources), strict=True)
        for other, there in zip(others, where, strict=True):
            values, valid = np.where(valid, values, other), valid | there
        return values[0], valid[0]


@dataclass(frozen=True)
class Image:
    """An open image on one grid."""

    grid: Grid
    bands: tuple[str, ...]
    warped: bool  # whether any of it lies on another grid
    scaled_by_tags: bool  # whether its files declare a scale or an offset
    sources: Sequence[Stored]
    mask: Mask | None = None
    mask_values: tuple[float, ...] = ()

    def read(self, window: Window | None = None) -> tuple[Floats, Bools]:
        """Read a window: the values (bands, H, W), NaN where they are no data, and where they are data.

        Values are no data where they are the file's no-data value or masked, NaN or infinite, or outside the file.

        Raises:
            DataError: if a file is damaged there.
        """
        shape = self.grid.shape if window is None else (int(window.height), int(window.width))
        whole = len(self.sources) == 1 and len(self.sources[0].channels) == len(self.bands)
        values = None if whole else np.full((len(self.bands), *shape), np.nan, np.float32)
        for source in self.sources:
            found = source.values(window)
            values = found if values is None else _put(values, source.channels, found)
        assert values is not None  # an image has a source
        valid = np.isfinite(values)
        if self.mask:
            valid &= self._usable(*self.mask.read(window))
        if not valid.all():
            values[~valid] = np.nan
        return values, valid

    def reduced(self, bands: Sequence[str], shape: tuple[int, int]) -> Floats:
        """Read some bands of the whole image as means over fewer pixels, (bands, height, width), NaN without data."""
        values = np.full((len(self.bands), *shape), np.nan, np.float32)
        channels = [self.bands.index(band) for band in bands]
        for source in self.sources:
            if part := source.part(channels):
                values = _put(values, part.channels, part.means(shape))
        if self.mask:
            values[:, ~self._usable(*self.mask.read(shape=shape))] = np.nan
        return values[channels]

    def _usable(self, values: NDArray[Any], valid: Bools) -> Bools:
        return np.asarray(~(valid & np.isin(values, self.mask_values)))


def _put(values: Floats, channels: Sequence[int], found: Floats) -> Floats:
    """Put bands where they are still missing: the two halves of an image across the antimeridian fill each other."""
    known = values[list(channels)]
    values[list(channels)] = np.where(np.isnan(known), found, known)
    return values


@contextmanager
def open_image(
    image: ImageFiles,
    wanted: Sequence[str],
    what: str,
    *,
    grid: Grid | None = None,
    resampling: str = "bilinear",
    scaled: bool = True,
) -> Iterator[Image]:
    """Open the wanted bands of an image.

    Args:
        wanted: names of bands, in the order to read them; none: only the grid is of interest.
        what: the image's name in messages, such as ``scene north: msi``.
        grid: grid to bring it to; None: that of the smallest pixels in the first file's system, north up.
        resampling: name of rasterio's resampling where grids differ.
        scaled: whether values are stored · scale + offset where the files declare these.

    Raises:
        DataError: if a file is missing, cannot be read, has not the bands or no georeference, or lies elsewhere.
    """
    with ExitStack() as stack:
        stack.enter_context(rasters.offline())
        image, offsets = _unpacked(image, wanted, what)
        opened = [stack.enter_context(open_file(file, what)) for file in image.files]
        chosen = _choose(opened, image, wanted, what)
        if grid is None:
            grids = [Grid.of(dataset) for dataset, _, _ in chosen]
            alike = [one for one in grids if one.crs == grids[0].crs]
            grid = min(alike, key=lambda one: abs(one.transform.determinant)).north_up()
        sources: list[Stored] = []
        for dataset, indexes, channels in (part for part in chosen if part[1]):
            offset = offsets.get(Path(dataset.name), 0.0)
            stored = Stored.of(dataset, indexes, channels, offset, scaled)
            sources += place(stack, stored, grid, resampling, image.nodata, what)
        mask = stack.enter_context(open_mask(image.mask, f"{what}: mask", grid=grid)) if image.mask else None
        yield Image(
            grid,
            tuple(wanted),
            any(source.warped for source in sources),
            any(source.tagged for source in sources),
            sources,
            mask,
            image.mask_values,
        )


@contextmanager
def open_mask(file: Path, what: str, *, grid: Grid | None = None) -> Iterator[Mask]:
    """Open a raster of whole numbers, on ``grid`` by the nearest pixel or on its own grid, north up.

    Raises:
        DataError: if it is missing, cannot be read, has more than one band or no georeference, or lies elsewhere.
    """
    with ExitStack() as stack:
        stack.enter_context(rasters.offline())
        dataset = stack.enter_context(open_file(file, what))
        if len(dataset.indexes) - _has_alpha(dataset) != 1:
            raise DataError(
                f"{what}: {file} has {dataset.count} bands; expected one of class ids: write the number of the class "
                "into one band, e.g. by rio calc"
            )
        grid = grid or Grid.of(dataset).north_up()
        yield Mask(grid, place(stack, Stored.of(dataset, [1], [0], 0.0, scaled=False), grid, "nearest", None, what))


def _unpacked(image: ImageFiles, wanted: Sequence[str], what: str) -> tuple[ImageFiles, dict[Path, float]]:
    """Return the image with the band files in place of a SAFE folder, and the offset of each that its metadata give."""
    if len(image.files) != 1 or not safe.is_safe(image.files[0]):
        return image, {}
    folder = image.files[0]
    nodata = safe.NODATA if image.nodata is None else image.nodata
    files = safe.band_files(folder, wanted, what)
    declared = safe.offsets(folder)
    offsets = {file: declared.get(standard_name(band), 0.0) for file, band in zip(files, wanted, strict=False)}
    return replace(image, files=tuple(files), bands=tuple(wanted), nodata=nodata), offsets


def _choose(
    opened: Sequence[Any], image: ImageFiles, wanted: Sequence[str], what: str
) -> list[tuple[Any, list[int], list[int]]]:
    """Return each raster that has any of the wanted bands, the numbers, from 1, of these, and their places."""
    if not wanted:
        return [(dataset, [], []) for dataset in opened]
    bands = [(dataset, index) for dataset in opened for index in dataset.indexes]
    listed = ", ".join(map(str, image.files))
    if image.bands and len(image.bands) != len(bands):
        raise DataError(
            f"{what}: {len(image.bands)} bands are named, but {listed} has {len(bands)}; expected one "
            "name a band of the file, in its order: correct the list of bands"
        )
    names: Sequence[str | None] = image.bands or [
        name or (by_file_name(Path(dataset.name).stem, wanted) if len(opened) > 1 and dataset.count == 1 else None)
        for dataset in opened
        for name in dataset.descriptions
    ]
    alpha = len(opened) == 1 and len(bands) == len(wanted) + 1 and _has_alpha(opened[0])
    try:
        places = match(tuple(wanted), tuple(names), alpha=alpha)
    except ValueError as error:
        raise DataError(
            f"{what}: {listed}: {error}; expected {', '.join(wanted)}: describe the bands in the file, "
            "or name them in the file's order (bands)"
        ) from None
    chosen: dict[int, tuple[Any, list[int], list[int]]] = {}
    for channel, position in enumerate(places):
        dataset, index = bands[position]
        _, indexes, channels = chosen.setdefault(id(dataset), (dataset, [], []))
        indexes.append(index)
        channels.append(channel)
    return list(chosen.values())


def _has_alpha(dataset: Any) -> bool:
    return MaskFlags.alpha in dataset.mask_flag_enums[0]
