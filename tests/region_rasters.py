"""A simulated region as a mapping agency has it: one raster per sensor, each on a grid of its own, and sparse polygons.

Pixels come from numpy alone. What the files hold is returned, so that tests compare with it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import rasterio.warp
import shapely
from numpy.typing import NDArray
from rasterio.transform import Affine, from_origin
from region import IDS

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
"""Of the dataset description."""
STORED = ("B12", "B04", "B8A", "B02", "B11", "B03", "B07", "B05", "B08", "B06")
"""Of the file, in its order."""
CROPS = {3: "mata", 15: "pasto", 24: "soja", 33: "milho", 39: "agua"}
"""Class id → value of the polygons' text field."""
UTM = "EPSG:32722"
CORNER = (600000.0, 8300000.0)  # upper left, metres

# Mean reflectance × 10,000 of woodland, grassland, soy, maize and water in BANDS; radar backscatter of VV and VH.
_SPECTRA = np.array(
    [
        [250, 450, 300, 700, 2000, 2500, 2700, 2900, 1300, 600],
        [500, 800, 900, 1300, 2100, 2400, 2600, 2700, 2800, 1800],
        [350, 900, 400, 1300, 3800, 4600, 5000, 5200, 2000, 1000],
        [450, 750, 650, 1200, 2600, 3100, 3300, 3500, 2200, 1300],
        [400, 450, 300, 280, 250, 240, 200, 190, 110, 80],
    ]
)
_RADAR = np.array([[0.16, 0.05], [0.08, 0.02], [0.10, 0.03], [0.14, 0.04], [0.01, 0.002]])
_HEIGHT = np.array([700, 760, 800, 780, 620])  # metres above the sea
_LABELLED = 0.4  # share of the fields that somebody has mapped


@dataclass(frozen=True)
class Region:
    """The files of a region."""

    folder: Path
    truth: NDArray[np.uint8]  # class ids, (H, W)
    optical: NDArray[np.uint16]  # in the order of BANDS, (10, H, W)
    labelled: NDArray[np.bool_]  # (H, W), where a polygon lies

    @property
    def transform(self) -> Affine:
        """Of the optical raster."""
        return from_origin(*CORNER, 10, 10)


def write_region(
    folder: Path, height: int = 704, width: int = 896, seed: int = 0, labelled: float = _LABELLED
) -> Region:
    """Write a region.

    s2.tif is on UTM at 10 m, s1.vrt at 20 m over a file per band, dem.tif in degrees; fields.gpkg labels a part of the
    ground, truth.tif all of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    fields = _fields(rng, height, width)
    position = rng.permutation(np.arange(len(fields)) % len(IDS))
    place = np.zeros((height, width), np.intp)
    for (top, left, bottom, right), kind in zip(fields, position, strict=True):
        place[top:bottom, left:right] = kind
    optical = _SPECTRA.T[:, place] * rng.normal(1, 0.08, (len(BANDS), height, width))
    optical = np.clip(optical, 1, 10000).astype(np.uint16)
    _write(folder / "s2.tif", optical[[BANDS.index(band) for band in STORED]], from_origin(*CORNER, 10, 10), STORED)
    speckle = rng.gamma(4, 1 / 4, (2, height // 2, width // 2))
    _write_radar(folder, (_RADAR.T[:, place[::2, ::2]] * speckle).astype(np.float32))
    _write_heights(folder / "dem.tif", place, rng)
    truth = np.array(IDS, np.uint8)[place]
    _write(folder / "truth.tif", truth[None], from_origin(*CORNER, 10, 10), (), nodata=255)
    chosen = rng.random(len(fields)) < labelled
    mapped = _write_polygons(folder / "fields.gpkg", fields, position, chosen, (height, width))
    return Region(folder, truth, optical, mapped)


def _fields(rng: np.random.Generator, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Rectangles (top, left, bottom, right) that fill the ground: strips, each cut at places of its own."""
    found = []
    for top, bottom in _cuts(rng, height):
        found += [(top, left, bottom, right) for left, right in _cuts(rng, width)]
    return found


def _cuts(rng: np.random.Generator, length: int) -> list[tuple[int, int]]:
    ends = [0]
    while length - ends[-1] > 60:
        ends.append(ends[-1] + int(rng.integers(20, 40)))
    return list(zip(ends, [*ends[1:], length], strict=True))


def _write_radar(folder: Path, radar: NDArray[np.float32]) -> None:
    """Write a file per band, and a VRT that joins them."""
    height, width = radar.shape[1:]
    bands = []
    for number, (name, band) in enumerate(zip(("VV", "VH"), radar, strict=True), 1):
        _write(folder / f"s1_{name}.tif", band[None], from_origin(*CORNER, 20, 20), ())
        bands.append(
            f'<VRTRasterBand dataType="Float32" band="{number}"><Description>{name}</Description><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">s1_{name}.tif</SourceFilename><SourceBand>1</SourceBand>'
            "</SimpleSource></VRTRasterBand>"
        )
    (folder / "s1.vrt").write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{UTM}</SRS>'
        f"<GeoTransform>{CORNER[0]}, 20, 0, {CORNER[1]}, 0, -20</GeoTransform>{''.join(bands)}</VRTDataset>"
    )


def _write_heights(path: Path, place: NDArray[np.intp], rng: np.random.Generator) -> None:
    """Heights in degrees, pixels of about 30 m, around the region."""
    height, width = place.shape
    right, bottom = CORNER[0] + 10 * width, CORNER[1] - 10 * height
    west, south, east, north = rasterio.warp.transform_bounds(UTM, "EPSG:4326", CORNER[0], bottom, right, CORNER[1])
    pixel, margin = 0.00027, 0.003
    shape = (round((north - south + 2 * margin) / pixel), round((east - west + 2 * margin) / pixel))
    rows = np.clip(np.linspace(-0.05, 1.05, shape[0]) * height, 0, height - 1).astype(int)
    columns = np.clip(np.linspace(-0.05, 1.05, shape[1]) * width, 0, width - 1).astype(int)
    heights = _HEIGHT[place[np.ix_(rows, columns)]] + rng.normal(0, 15, shape)
    transform = from_origin(west - margin, north + margin, pixel, pixel)
    _write(path, heights[None].astype(np.float32), transform, ("elevation",), crs="EPSG:4326")


def _write_polygons(
    path: Path,
    fields: list[tuple[int, int, int, int]],
    position: NDArray[np.intp],
    chosen: NDArray[np.bool_],
    shape: tuple[int, int],
) -> NDArray[np.bool_]:
    """Write the chosen fields, two pixels within their borders, and return where they lie."""
    shapes, crops, mapped = [], [], np.zeros(shape, bool)
    to_ground = from_origin(*CORNER, 10, 10)
    for number in np.flatnonzero(chosen):
        top, left, bottom, right = fields[number]
        (west, north), (east, south) = to_ground * (left + 2, top + 2), to_ground * (right - 2, bottom - 2)
        shapes.append(shapely.box(west, south, east, north))
        crops.append(CROPS[IDS[position[number]]])
        mapped[top + 2 : bottom - 2, left + 2 : right - 2] = True
    options = {"layer": "fields", "geometry_type": "Polygon", "crs": UTM}
    pyogrio.raw.write(path, shapely.to_wkb(np.array(shapes, object)), [np.array(crops)], ["crop"], **options)
    return mapped


def _write(
    path: Path, array: NDArray, transform: Affine, bands: tuple[str, ...], crs: str = UTM, nodata: int | None = None
) -> None:
    count, height, width = array.shape
    size = {"count": count, "height": height, "width": width, "dtype": array.dtype, "nodata": nodata}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, tiled=True, **size) as file:
        file.write(array)
        for number, band in enumerate(bands, 1):
            file.set_band_description(number, band)
