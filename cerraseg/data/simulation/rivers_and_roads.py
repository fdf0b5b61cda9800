"""Rivers, creeks and roads of the simulated Cerrado."""

import numpy as np

from cerraseg.data.simulation.noise import fractal, fractal_at, uniform
from cerraseg.data.simulation.window import ID, NEIGHBOURHOOD, Bools, Floats, Ground, Points, Salts, Window, axes

_CREEK_SPACING = 150.0  # px along a river between the creeks of one bank
_VALLEY = 301  # px on either side of a river: more than its longest creek
_BENDS = ((500, 55.0), (150, 46.0), (56, 17.0))  # of a river: px along it and to the side


def river_x(salt: Salts, k: int, y: Points) -> Floats:
    """Return the column in px where river ``k``, the one of neighbourhood column ``k``, crosses the rows ``y``."""
    column = np.full_like(y, k)
    moves = (px * fractal_at(salt.river + step, y / step, column, (1,)) for step, px in _BENDS)
    return np.asarray((k + 0.5) * NEIGHBOURHOOD + sum(moves), np.float32)


def road_y(salt: Salts, k: int, x: Points) -> Floats:
    """Return the row in px where the road of neighbourhood row ``k`` crosses the columns ``x``."""
    move = 45 * fractal_at(salt.road, np.full_like(x, k), x / 400, (1,))
    return np.asarray((k + 0.5) * NEIGHBOURHOOD + move, np.float32)


def water(salt: Salts, window: Window) -> tuple[Bools, Bools]:
    """Find water of rivers and creeks, and the gallery forest along them, each (H, W)."""
    off, half_width = _rivers(salt, window)
    away = abs(off)
    along, reach = _creeks(salt, window, off, away)
    bank = 15 + 5 * fractal(salt.river + 1, window, (40, 14))
    wet = (away < half_width) | (along < 1.3 * reach)
    return wet, (away < bank) | (along < reach * bank * 0.75)


def _rivers(salt: Salts, window: Window) -> tuple[Floats, Floats]:
    """Distance in px to the nearest river (H, W), negative to its west, right up to _VALLEY; and half its width."""
    y, x = axes(Window(window.top, window.left, window.height + 1, window.width))
    off = np.full((window.height, window.width), _VALLEY, np.float32)
    half_width = np.zeros_like(off)
    for k in range(window.left // NEIGHBOURHOOD - 1, (window.left + window.width) // NEIGHBOURHOOD + 2):
        centre = river_x(salt, k, y)
        slant = np.sqrt(1 + np.diff(centre, axis=0) ** 2)
        here = (x - centre[:-1]) / slant
        nearer = abs(here) < abs(off)
        wide = 3.4 + 0.8 * fractal_at(salt.river, y[:-1], np.full_like(slant, k), (90,))
        off, half_width = np.where(nearer, here, off), np.where(nearer, wide, half_width)
    return off, half_width


def _creeks(salt: Salts, window: Window, off: Floats, away: Floats) -> tuple[Floats, Floats]:
    """Distance in px to the nearest creek, and how much of it is left there: 1 at its mouth, 0 past its spring."""
    y, _ = axes(window)
    # Creeks flow down the river (southwards), so they leave it upstream.
    bent: Floats = np.float32(26) * fractal(salt.creek, window, (120, 45)) + y + np.float32(0.5) * away
    bent /= np.float32(_CREEK_SPACING)
    cell = np.floor(bent)
    cells = np.arange(cell.min(), cell.max() + 1).astype(np.int64)[:, None]
    at = (cell.astype(np.int64) - cells[0]) * 2 + (off > 0)
    bent -= cell
    bent -= (0.25 + 0.5 * uniform(salt.creek + 1, cells, np.arange(2))).take(at)
    length = 40 + 260 * uniform(salt.creek + 2, cells, np.arange(2))
    reach = away / length.take(at)
    return abs(bent) * _CREEK_SPACING, np.maximum(1 - reach, 0)


def draw_roads(salt: Salts, ground: Ground, window: Window) -> None:
    """Draw roads of other built area across the ground; over rivers they are bridges."""
    y, x = axes(Window(window.top, window.left, window.height, window.width + 1))
    for k in range(window.top // NEIGHBOURHOOD - 1, (window.top + window.height) // NEIGHBOURHOOD + 2):
        centre = road_y(salt, k, x)
        half_width = 1.3 * np.sqrt(1 + np.diff(centre, axis=1) ** 2)
        road = abs(y - centre[:, :-1]) < half_width
        ground.l2[road] = ID["OB"]
        ground.stage[road] = 0.15
