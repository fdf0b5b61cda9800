"""Scale bar and north arrow of a map, measured on the ground at its centre."""

import math
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.offsetbox import AnchoredOffsetbox, DrawingArea
from matplotlib.patches import Polygon
from matplotlib.text import Text
from matplotlib.transforms import Affine2D
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar  # type: ignore[import-untyped]
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.warp import transform

from cerraseg.report.figures import EDGE, INK

LONGEST_BAR = 0.35
"""A scale bar's largest share of the map's width; round lengths lie up to 2.5-fold apart: the smallest is 0.14."""

_AXIS, _ECCENTRICITY2 = 6378137.0, 0.00669437999014  # of the ellipsoid WGS 84: m, and squared
_BOX = {"facecolor": "white", "edgecolor": EDGE, "linewidth": 0.5, "alpha": 0.85}


class Ground(NamedTuple):
    """A map against the ground at its centre.

    Attributes:
        unit: metres of one unit of x.
        aspect: how much longer a unit of y is drawn than one of x: degrees as they are on the ground, others alike.
        lean: degrees by which true north lies to the right of the map's up.
    """

    unit: float
    aspect: float
    lean: float


def ground(crs: Any, extent: tuple[float, float, float, float]) -> Ground | None:
    """Measure the ground at the centre of a map with this (left, right, bottom, top) in units of ``crs``.

    None where that has no place on Earth: without CRS, in a local one, outside its domain; and at a pole.
    """
    left, right, bottom, top = extent
    step = min(right - left, top - bottom) / 100
    metres = _metres(crs, (left + right) / 2, (bottom + top) / 2, step)
    if metres is None:
        return None
    unit, upwards = np.linalg.norm(metres, axis=0)
    aspect = upwards / unit if crs.is_geographic else 1.0
    x, y = np.linalg.solve(metres, (0.0, 1.0))
    return Ground(float(unit), float(aspect), math.degrees(math.atan2(x, y * aspect)))


def _metres(crs: Any, x: float, y: float, step: float) -> NDArray[np.float64] | None:
    """Metres towards east (first row) and north for one unit along x (first column) and y, on the ellipsoid WGS 84.

    Measured over ``step`` units to either side of a point.
    """
    if not crs or not (crs.is_projected or crs.is_geographic):
        return None
    xs, ys = [x - step, x + step, x, x, x], [y, y, y - step, y + step, y]
    try:
        east, north = np.array(transform(crs, CRS.from_epsg(4326), xs, ys))
    except CPLE_BaseError:  # outside the domain of the projection; rasterio has no public name for it
        return None
    if not np.isfinite([east, north]).all() or abs(north[4]) > 89.9:
        return None
    latitude = math.radians(north[4])
    curved = 1 - _ECCENTRICITY2 * math.sin(latitude) ** 2
    across = _AXIS / math.sqrt(curved) * math.cos(latitude)
    along = _AXIS * (1 - _ECCENTRICITY2) / curved**1.5
    turns = np.stack([east[1:4:2] - east[:4:2], north[1:4:2] - north[:4:2]])
    # A step over the date line is a short one.
    radians: NDArray[np.float64] = np.radians((turns + 180) % 360 - 180) / (2 * step)
    radians *= np.array([[across], [along]])
    return radians


def bar_length(width: float) -> float:
    """The largest length of 1, 2 or 5 × 10^n m that takes at most :data:`LONGEST_BAR` of a map of ``width`` m."""
    longest = LONGEST_BAR * width
    decade = 10.0 ** math.floor(math.log10(longest))
    return decade * max(digit for digit in (1, 2, 5) if digit * decade <= longest)


def draw_marks(axes: Axes, ground: Ground) -> None:
    """Draw scale bar and north arrow on the map in ``axes``, whose limits are the map's."""
    left, right = axes.get_xlim()
    length = bar_length((right - left) * ground.unit)
    bar = AnchoredSizeBar(
        axes.transData,
        length / ground.unit,
        f"{length:g} m" if length < 1000 else f"{length / 1000:g} km",
        "lower left",
        pad=0.5,
        borderpad=0.6,
        sep=3,
        color=INK,
        size_vertical=(right - left) / 120 / ground.aspect,
        fontproperties=FontProperties(size=7.5),
    )
    arrow = AnchoredOffsetbox("upper right", child=_arrow(ground.lean), pad=0.2, borderpad=0.6)
    for mark in (bar, arrow):
        mark.patch.set(**_BOX)
        axes.add_artist(mark)


def _arrow(lean: float) -> DrawingArea:
    """A needle with an N at its tip, turned clockwise by ``lean`` degrees, on 20 × 26 points."""
    area = DrawingArea(20, 26)
    turned = Affine2D().rotate_deg_around(10, 13, -lean)
    needle = [(10, 17), (6, 1), (10, 4.5), (14, 1)]
    area.add_artist(Polygon(needle, color=INK, linewidth=0, transform=turned + area.get_transform()))
    x, y = turned.transform((10, 21.5))
    area.add_artist(Text(x, y, "N", ha="center", va="center", rotation=-lean, fontsize=7.5, color=INK))
    return area
