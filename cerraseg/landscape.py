"""A simulated Cerrado: the land cover, growth stage and texture of any window of an endless, seeded ground.

Nothing is stored between windows. Smooth fields are value noise on lattices hashed from global coordinates; objects
(plantations, towns, mines) belong to *neighbourhoods* of 640 × 640 px, each drawn by its own generator. So windows can
be made in any order, by any number of processes, and fit together without seams.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cerraseg.taxonomy import LEVELS

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Points = npt.NDArray[np.floating]

NEIGHBOURHOOD = 640
"""Side in px of a piece of ground that holds every class: 5 × 5 patches of 128 px."""

PARCEL = (46.0, 40.0)  # typical height and width of a field in px of 10 m
CREEK_SPACING = 150.0  # px along a river between the creeks of one bank
FOREST_FROM = -0.12  # a parcel with more wildness than this (about N(0, 1)) was never cleared
_WILD_STEPS = (430.0, 210.0, 100.0)  # px: the wild land comes in pieces of kilometres
TOWN_BLOCK = (9.0, 11.0)  # px, streets included

PA, V1, V2, WT, MG, UA, OB, FT, PR, SP, T1, T1P, OU, DF = range(len(LEVELS["l2"]))

# The 16 sites of a neighbourhood, from open land to forest: class, half side in px, shape. The sizes are floors: with
# the published 0.01 % of Mining and Other Uses a demo would have nothing to learn from.
_SITES = (
    *((T1P, 25.0, "disc"), (T1P, 24.0, "fields"), (T1, 25.0, "fields"), (T1, 24.0, "fields")),
    *((T1P, 22.0, "fields"), (SP, 22.0, "rows"), (SP, 20.0, "rows"), (PR, 21.0, "rows")),
    *((PR, 19.0, "rows"), (OU, 21.0, "blob"), (OU, 20.0, "blob"), (WT, 16.0, "blob")),
    *((FT, 30.0, "rows"), (FT, 27.0, "rows"), (DF, 25.0, "fields"), (DF, 23.0, "fields")),
)
_ROW_PERIOD = {FT: 4.3, PR: 6.1, SP: 9.0}  # px between plantation stands, tree rows and harvest lanes
_SALTS = (
    *("wild", "detail", "texture", "warp_y", "warp_x", "parcel", "river", "creek", "road", "shape", "stage"),
    *("light", "air", "moisture"),
)


class Window(NamedTuple):
    """A rectangle of ground in px: first row (to the south), first column (to the east), height and width."""

    top: int
    left: int
    height: int
    width: int


class Ground(NamedTuple):
    """What stands on a window (H, W): L2 class ids uint8; float32: growth stage about 0-1, tone of the field and
    texture about N(0, 1)."""

    l2: npt.NDArray[np.uint8]
    stage: Floats
    tone: Floats
    texture: Floats


class Site(NamedTuple):
    """One object: L2 class, half side in px, shape, centre in px, angle in radians, aspect, and a key to hash with."""

    l2: int
    radius: float
    shape: str
    y: float
    x: float
    angle: float
    aspect: float
    key: int


class Landscape:
    """The ground of one scene: equal (seed, scene) give equal ground, whichever window shows it."""

    def __init__(self, seed: int, scene: int) -> None:
        self._entropy = (seed, scene)
        state = np.random.SeedSequence(self._entropy).generate_state(len(_SALTS), np.uint64)
        self.salt = {name: int(value) for name, value in zip(_SALTS, state, strict=True)}

    def ground(self, window: Window) -> Ground:
        """Class, growth stage and texture of every pixel of ``window``, each (height, width)."""
        water, gallery = self._water(window)
        ground = self._parcels(window)
        ground.l2[gallery & (ground.l2 != DF)] = V1
        built = []
        for site in self._sites_near(window):
            if site.shape == "yard":
                built.append(site)
            else:
                _stamp(ground, site, window, self.salt["shape"])
        ground.l2[water] = WT
        self._draw_roads(ground, window)
        for site in built:
            _stamp(ground, site, window, self.salt["shape"])
        return ground

    def _parcels(self, window: Window) -> Ground:
        """Pasture, crops, forest, clearings and regrowth by parcel; remnants and gaps cut across parcels."""
        salt = self.salt
        index, row, column, y, x = self._parcel_grid(window)
        kind, fate, stage, tone = (uniform(salt["parcel"] + 7 * k, row, column) for k in (3, 4, 5, 6))
        wild = fractal_at(salt["wild"], y, x, _WILD_STEPS) + 0.9 * (kind - 0.5)
        table = np.where(wild > FOREST_FROM, V1, PA)
        table[(abs(wild - FOREST_FROM - 0.1) < 0.2) & (fate < 0.38)] = V2
        table[(wild > FOREST_FROM) & (wild < FOREST_FROM + 0.8) & (fate > 0.985)] = DF
        table[(wild < FOREST_FROM - 0.7) & (fate > 0.97)] = T1P
        l2 = table.astype(np.uint8).take(index)
        detail = fractal(salt["detail"], window, (52, 22, 9))
        l2[(l2 == PA) & (detail > 1.5)] = V2
        l2[(l2 == V2) & (detail > 2.1)] = V1
        l2[(l2 == V1) & (detail < -2.0)] = V2
        smooth = 0.5 + 0.22 * fractal(salt["stage"], window, (110, 40))
        own = np.where((l2 == V1) | (l2 == V2), np.float32(0.2), np.float32(1))  # what of a field its owner decides
        stage, tone = own * (0.8 * (stage - 0.5)).take(index), own * (3.4 * (tone - 0.5)).take(index)
        return Ground(
            l2, (smooth + stage).astype(np.float32), tone.astype(np.float32), fractal(salt["texture"], window, (7, 2.6))
        )

    def _parcel_grid(self, window: Window) -> tuple[Ints, Ints, Ints, Points, Points]:
        """The parcel of every pixel as an index (H, W) into the rows, columns and centres of the parcels in sight."""
        salt = self.salt
        y, x = _axes(window)
        # The slow warp turns the fields with the land, the fast one bends their borders a little.
        warped_y = y + 55 * fractal(salt["warp_y"], window, (420,)) + 1.5 * fractal(salt["warp_y"] + 1, window, (30,))
        warped_x = x + 55 * fractal(salt["warp_x"], window, (420,)) + 1.5 * fractal(salt["warp_x"] + 1, window, (30,))
        v, u = _turn(warped_y, warped_x, self._grid_angle())
        row = _jittered_cells(v / PARCEL[0], np.zeros((1, 1), np.int64), salt["parcel"])
        rows = np.arange(row.min(), row.max() + 1)
        widths = PARCEL[1] * (0.6 + 0.9 * uniform(salt["parcel"] + 1, rows, rows))
        column = _jittered_cells(u / widths.take(row - rows[0]), row, salt["parcel"] + 2)
        columns = np.arange(column.min(), column.max() + 1)
        index = (row - rows[0]) * columns.size + (column - columns[0])
        all_rows, all_columns = np.repeat(rows, columns.size), np.tile(columns, rows.size)
        v, u = (all_rows + 0.5) * PARCEL[0], (all_columns + 0.5) * np.repeat(widths, columns.size)
        centre_y, centre_x = _turn(v, u, -self._grid_angle())
        return index, all_rows, all_columns, centre_y, centre_x

    def _river_x(self, k: int, y: Points) -> Floats:
        """Column in px where river ``k``, the one of neighbourhood column ``k``, crosses the rows ``y``."""
        bends = ((500, 55.0), (150, 46.0), (56, 17.0))
        column = np.full_like(y, k)
        moves = (px * fractal_at(self.salt["river"] + step, y / step, column, (1,)) for step, px in bends)
        return np.asarray((k + 0.5) * NEIGHBOURHOOD + sum(moves), np.float32)

    def _road_y(self, k: int, x: Points) -> Floats:
        """Row in px where the road of neighbourhood row ``k`` crosses the columns ``x``."""
        move = 45 * fractal_at(self.salt["road"], np.full_like(x, k), x / 400, (1,))
        return np.asarray((k + 0.5) * NEIGHBOURHOOD + move, np.float32)

    def _water(self, window: Window) -> tuple[Bools, Bools]:
        """Water of rivers and creeks, and the gallery forest along them, each (H, W)."""
        y, x = _axes(window)
        off = np.full((window.height, window.width), np.inf, np.float32)
        half_width = np.zeros((window.height, 1), np.float32)
        for k in range(window.left // NEIGHBOURHOOD - 1, (window.left + window.width) // NEIGHBOURHOOD + 2):
            centre = self._river_x(k, y)
            slope = self._river_x(k, y + 1) - centre
            here = (x - centre) / np.sqrt(1 + slope**2)
            nearer = abs(here) < abs(off)
            off = np.where(nearer, here, off)
            wide = 3.4 + 0.8 * fractal_at(self.salt["river"], y, np.full_like(y, k), (90,))
            half_width = np.where(nearer, wide, half_width).astype(np.float32)
        along, reach = self._creeks(window, off)
        bank = 15 + 5 * fractal(self.salt["river"] + 1, window, (40, 14))
        water = (abs(off) < half_width) | (along < 1.3 * reach)
        return water, (abs(off) < bank) | (along < 0.75 * bank * reach)

    def _creeks(self, window: Window, off: Floats) -> tuple[Floats, Floats]:
        """Distance in px to the nearest creek, and how much of it is left there: 1 at its mouth, 0 past its spring."""
        y, _ = _axes(window)
        # Creeks flow down the river (southwards), so they leave it upstream.
        bent = (y + 26 * fractal(self.salt["creek"], window, (120, 45)) + 0.5 * abs(off)) / CREEK_SPACING
        cell = np.floor(bent).astype(np.int64)
        side = (off > 0).astype(np.int64)
        first = cell.min()
        cells = np.arange(first, cell.max() + 1)[:, None]
        at = 2 * (cell - first) + side
        place = uniform(self.salt["creek"] + 1, cells, np.arange(2)).take(at)
        length = 40 + 260 * uniform(self.salt["creek"] + 2, cells, np.arange(2)).take(at)
        along = abs(bent - cell - 0.25 - 0.5 * place) * CREEK_SPACING
        return along.astype(np.float32), np.maximum(1 - abs(off) / length, 0)

    def _draw_roads(self, ground: Ground, window: Window) -> None:
        """Roads of other built area across the ground; over rivers they are bridges."""
        y, x = _axes(window)
        for k in range(window.top // NEIGHBOURHOOD - 1, (window.top + window.height) // NEIGHBOURHOOD + 2):
            centre = self._road_y(k, x)
            slope = self._road_y(k, x + 1) - centre
            road = abs(y - centre) < 1.3 * np.sqrt(1 + slope**2)
            ground.l2[road] = OB
            ground.stage[road] = 0.15

    def _sites_near(self, window: Window) -> Iterator[Site]:
        """The sites of every neighbourhood that can reach into ``window``, in drawing order."""
        n, reach = NEIGHBOURHOOD, 80  # px: more than any site measures from its centre
        for my in range((window.top - reach) // n, (window.top + window.height + reach) // n + 1):
            for mx in range((window.left - reach) // n, (window.left + window.width + reach) // n + 1):
                yield from self._sites(my, mx)

    def _sites(self, my: int, mx: int) -> Iterator[Site]:
        """Plantations, crops, clearings, lakes and other uses on 4 × 4 slots, then town, mines and built yards."""
        n = NEIGHBOURHOOD
        rng = np.random.default_rng(np.random.SeedSequence((*self._entropy, my + 1, mx + 1)))

        def site(l2: int, radius: float, shape: str, y: float, x: float) -> Site:
            angle, aspect = self._grid_angle() + rng.normal(0, 0.2), np.exp(rng.uniform(-0.3, 0.3))
            size = radius * np.exp(rng.uniform(-0.12, 0.12))
            return Site(l2, float(size), shape, float(y), float(x), angle, float(aspect), int(rng.integers(1 << 30)))

        slot = np.arange(16)
        y = my * n + (slot // 4 + 0.5) * n / 4 + rng.uniform(-30, 30, 16)
        x = mx * n + (slot % 4 + 0.5) * n / 4 + rng.uniform(-30, 30, 16)
        wild = fractal_at(self.salt["wild"], y, x, _WILD_STEPS) + 0.5 * rng.standard_normal(16)
        for (l2, radius, shape), at in zip(_SITES, np.argsort(wild), strict=True):
            yield site(l2, radius, shape, y[at], x[at])
        y = my * n + rng.uniform((270, 70, 440), (370, 200, 570))
        x = self._river_x(mx, y) + rng.choice((-1, 1), 3) * (42, 27, 25)  # on either bank
        yield site(UA, 35, "town", y[0], x[0])
        yield site(MG, 20, "blob", y[1], x[1])
        yield site(MG, 18, "blob", y[2], x[2])
        x = mx * n + rng.uniform(20, n - 20, 6)
        y = self._road_y(my, x) + rng.choice((-1, 1), 6) * rng.uniform(8, 14, 6)
        for at_y, at_x in zip(y, x, strict=True):
            yield site(OB, rng.uniform(5, 9), "yard", at_y, at_x)

    def _grid_angle(self) -> float:
        """How far the fields are turned from north, in radians."""
        return self.salt["parcel"] % 1571 / 1000


def _stamp(ground: Ground, site: Site, window: Window, salt: int) -> None:
    """Draw one site on the part of ``ground`` that it covers."""
    reach = 1.9 * site.radius + 2
    top, left = max(int(site.y - reach), window.top), max(int(site.x - reach), window.left)
    bottom = min(int(site.y + reach), window.top + window.height)
    right = min(int(site.x + reach), window.left + window.width)
    if top >= bottom or left >= right:
        return
    part = Window(top, left, bottom - top, right - left)
    cut = slice(top - window.top, bottom - window.top), slice(left - window.left, right - window.left)
    y, x = _axes(part)
    v, u = _turn(y - site.y, x - site.x, site.angle)
    inside = _outline(site, v, u, part, salt)
    height, width = TOWN_BLOCK if site.shape == "town" else (24.0, 31.0)
    lot = uniform(site.key, np.floor(v / height).astype(np.int64), np.floor(u / width).astype(np.int64))
    l2, stage, tone, texture = (layer[cut] for layer in ground)
    l2[inside] = site.l2
    tone[inside] = (6.8 * abs(lot * 7 % 1 - 0.5) - 1.7)[inside]
    stage[inside] = (0.6 * stage + lot - 0.3)[inside]
    if site.shape == "rows":
        texture[inside] = (0.6 * texture + 1.1 * np.sin(2 * np.pi * v / _ROW_PERIOD[site.l2]))[inside]
    if site.shape == "town":
        street = (v % height < 2) | (u % width < 2)
        l2[inside & (lot < 0.13) & ~street] = OB
        texture[inside] = (0.5 * texture + np.where(street, -1.3, 0.7))[inside]


def _outline(site: Site, v: Points, u: Points, part: Window, salt: int) -> Bools:
    """Where in ``part`` a site lies, by position along its own axes in px from its centre."""
    half = site.radius * site.aspect
    inside: Bools
    if site.shape in ("blob", "town"):
        ragged = 1 + 0.15 * fractal(salt, part, (21, 9))
        inside = np.hypot(u * site.aspect, v / site.aspect) < site.radius * ragged
        return inside
    if site.shape == "disc":  # under a centre pivot
        inside = np.hypot(u, v) < 1.1 * site.radius
        return inside
    inside = (abs(u) < half) & (abs(v) < site.radius / site.aspect)
    if site.shape == "fields":  # a step in the outline, as where a neighbour holds the corner
        inside &= (u < 0.3 * half) | (v < 0.3 * half)
    return inside


def uniform(salt: int, i: Ints, j: Ints) -> Floats:
    """Hash pairs of integers (broadcast, at least 1-D) to numbers in [0, 1), float32: the same for the same pair."""
    bits = i.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + j.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    bits = bits + np.uint64(salt & 0xFFFFFFFFFFFFFFFF)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    top = (bits ^ (bits >> np.uint64(31))) >> np.uint64(40)
    numbers: Floats = top.astype(np.float32) * np.float32(2**-24)
    return numbers


def fractal(salt: int, window: Window, steps: tuple[float, ...]) -> Floats:
    """Smooth noise (H, W) of about zero mean and unit variance: one octave per lattice ``steps`` in px, each 0.6 of
    the one before."""
    total = np.zeros((window.height, window.width), np.float32)
    for octave, step in enumerate(steps):
        i, fy = _lattice(np.arange(window.top, window.top + window.height), step)
        j, fx = _lattice(np.arange(window.left, window.left + window.width), step)
        nodes = uniform(salt + octave, np.arange(i[0], i[-1] + 2)[:, None], np.arange(j[0], j[-1] + 2))
        nodes = (nodes - np.float32(0.5)) * np.float32(_gain(octave, len(steps)))
        lines = nodes[:, j - j[0]]  # columns first, while there are few rows: rows then copy in one piece
        lines += fx * (nodes[:, j - j[0] + 1] - lines)
        total += lines[i - i[0]]
        rise = np.diff(lines, axis=0)[i - i[0]]
        rise *= fy[:, None]
        total += rise
    return total


def fractal_at(salt: int, y: Points, x: Points, steps: tuple[float, ...]) -> Floats:
    """:func:`fractal` at points: ``y`` and ``x`` in px, of one shape (at least 1-D)."""
    total = np.zeros(np.shape(y), np.float32)
    for octave, step in enumerate(steps):
        (i, fy), (j, fx) = _lattice(y, step), _lattice(x, step)
        near = uniform(salt + octave, i, j) * (1 - fx) + uniform(salt + octave, i, j + 1) * fx
        far = uniform(salt + octave, i + 1, j) * (1 - fx) + uniform(salt + octave, i + 1, j + 1) * fx
        total += _gain(octave, len(steps)) * (near * (1 - fy) + far * fy - 0.5)
    return total


def _gain(octave: int, octaves: int) -> float:
    """Factor of an octave so that the sum has unit variance; one octave of value noise has 0.0460."""
    return float(0.6**octave / np.sqrt(0.0460 * sum(0.36**k for k in range(octaves))))


def _lattice(at: npt.NDArray[np.generic], step: float) -> tuple[Ints, Floats]:
    """Lattice cell of every coordinate, and the smoothstep position inside it, 0-1."""
    position = np.asarray(at, np.float64) / step
    cell = np.floor(position)
    inside = position - cell
    return cell.astype(np.int64), (inside * inside * (3 - 2 * inside)).astype(np.float32)


def _jittered_cells(position: Points, line: Ints, salt: int) -> Ints:
    """Cell of every position (H, W) on lines whose cell borders are moved by up to a quarter of a cell."""
    cell = np.floor(position).astype(np.int64)
    first, first_line = cell.min(), line.min()
    cells, lines = np.arange(first, cell.max() + 2), np.arange(first_line, line.max() + 1)
    border = 0.5 * uniform(salt, cells[:, None], lines) - 0.25
    at = (cell - first) * lines.size + (line - first_line)
    inside = position - cell
    moved: Ints = cell + (inside >= 1 + border.take(at + lines.size)) - (inside < border.take(at))
    return moved


def _axes(window: Window) -> tuple[Floats, Floats]:
    """Global rows (H, 1) and columns (1, W) of a window."""
    y = np.arange(window.top, window.top + window.height, dtype=np.float32)[:, None]
    return y, np.arange(window.left, window.left + window.width, dtype=np.float32)[None]


def _turn(y: Points, x: Points, angle: float) -> tuple[Points, Points]:
    """Coordinates along axes that are turned by ``angle`` radians."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return y * cos + x * sin, x * cos - y * sin
