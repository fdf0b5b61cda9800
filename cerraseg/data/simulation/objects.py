"""Objects on the simulated Cerrado, neighbourhood by neighbourhood: they give every class its floor there."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cerraseg.data.simulation.noise import fractal, fractal_at, uniform
from cerraseg.data.simulation.rivers_and_roads import river_x, road_y
from cerraseg.data.simulation.window import ID, NEIGHBOURHOOD, Bools, Ground, Points, Salts, Window, axes, turn

WILD_STEPS = (430.0, 210.0, 100.0)
"""Lattices in px of the wildness of the land: it comes in pieces of kilometres."""

_TOWN_BLOCK = (9.0, 11.0)  # px, streets included
_LOT = (24.0, 31.0)  # px: what shares a tone and a stage elsewhere
_REACH = 80  # px: more than any site measures from its centre

# The 16 sites of a neighbourhood, from open land to forest: class, half side in px, shape. The sizes are floors, as of
# the published 0.01 % of Mining and Other Uses nothing could be learnt.
_SITES = (
    *(("T1+", 25.0, "disc"), ("T1+", 24.0, "fields"), ("T1", 25.0, "fields"), ("T1", 24.0, "fields")),
    *(("T1+", 22.0, "fields"), ("SP", 22.0, "rows"), ("SP", 20.0, "rows"), ("PR", 21.0, "rows")),
    *(("PR", 19.0, "rows"), ("OU", 21.0, "blob"), ("OU", 20.0, "blob"), ("Wt", 16.0, "blob")),
    *(("Ft", 30.0, "rows"), ("Ft", 27.0, "rows"), ("Df", 25.0, "fields"), ("Df", 23.0, "fields")),
)
_ROW_PERIOD = {"Ft": 4.3, "PR": 6.1, "SP": 9.0}  # px between stands, tree rows and harvest lanes


class Site(NamedTuple):
    """One object: abbreviation of its class, half side and centre in px, angle in radians, and a key to hash with."""

    land_cover: str
    radius: float
    shape: str
    y: float
    x: float
    angle: float
    aspect: float
    key: int


def sites_near(salt: Salts, window: Window) -> Iterator[Site]:
    """Yield the sites of every neighbourhood that can reach into ``window``, in drawing order."""
    n = NEIGHBOURHOOD
    for my in range((window.top - _REACH) // n, (window.top + window.height + _REACH) // n + 1):
        for mx in range((window.left - _REACH) // n, (window.left + window.width + _REACH) // n + 1):
            yield from _sites(salt, my, mx)


@lru_cache(maxsize=1024)  # neighbouring blocks share them
def _sites(salt: Salts, my: int, mx: int) -> list[Site]:
    """The objects of :data:`_SITES` on 4 × 4 slots, then town, mines and built yards."""
    n = NEIGHBOURHOOD
    rng = np.random.default_rng(np.random.SeedSequence((*salt.entropy, my + 1, mx + 1)))
    sites = []

    def add(land_cover: str, radius: float, shape: str, y: float, x: float) -> None:
        angle, aspect = salt.grid_angle + rng.normal(0, 0.2), np.exp(rng.uniform(-0.3, 0.3))
        size = radius * np.exp(rng.uniform(-0.12, 0.12))
        key = int(rng.integers(1 << 30))
        sites.append(Site(land_cover, float(size), shape, float(y), float(x), angle, float(aspect), key))

    slot = np.arange(16)
    y = my * n + (slot // 4 + 0.5) * n / 4 + rng.uniform(-30, 30, 16)
    x = mx * n + (slot % 4 + 0.5) * n / 4 + rng.uniform(-30, 30, 16)
    wild = fractal_at(salt.wild, y, x, WILD_STEPS) + 0.5 * rng.standard_normal(16)
    for (land_cover, radius, shape), at in zip(_SITES, np.argsort(wild), strict=True):
        add(land_cover, radius, shape, y[at], x[at])
    y = my * n + rng.uniform((270, 70, 440), (370, 200, 570))
    x = river_x(salt, mx, y) + rng.choice((-1, 1), 3) * (42, 27, 25)  # on either bank
    add("UA", 35, "town", y[0], x[0])
    add("Mg", 20, "blob", y[1], x[1])
    add("Mg", 18, "blob", y[2], x[2])
    x = mx * n + rng.uniform(20, n - 20, 6)
    y = road_y(salt, my, x) + rng.choice((-1, 1), 6) * rng.uniform(8, 14, 6)
    for at_y, at_x in zip(y, x, strict=True):
        add("OB", rng.uniform(5, 9), "yard", at_y, at_x)
    return sites


def stamp(ground: Ground, site: Site, window: Window, salt: int) -> None:
    """Draw one site on the part of ``ground`` that it covers."""
    reach = 1.9 * site.radius + 2
    top, left = max(int(site.y - reach), window.top), max(int(site.x - reach), window.left)
    bottom = min(int(site.y + reach), window.top + window.height)
    right = min(int(site.x + reach), window.left + window.width)
    if top >= bottom or left >= right:
        return
    part = Window(top, left, bottom - top, right - left)
    cut = slice(top - window.top, bottom - window.top), slice(left - window.left, right - window.left)
    y, x = axes(part)
    v, u = turn(y - site.y, x - site.x, site.angle)
    inside = _outline(site, v, u, part, salt)
    height, width = _TOWN_BLOCK if site.shape == "town" else _LOT
    lot = uniform(site.key, np.floor(v / height).astype(np.int64), np.floor(u / width).astype(np.int64))
    l2, stage, tone, texture = (layer[cut] for layer in ground)
    l2[inside] = ID[site.land_cover]
    tone[inside] = (6.8 * abs(lot * 7 % 1 - 0.5) - 1.7)[inside]
    stage[inside] = (0.6 * stage + lot - 0.3)[inside]
    if site.shape == "rows":
        texture[inside] = (0.6 * texture + 1.1 * np.sin(2 * np.pi * v / _ROW_PERIOD[site.land_cover]))[inside]
    if site.shape == "town":
        street = (v % height < 2) | (u % width < 2)
        l2[inside & (lot < 0.13) & ~street] = ID["OB"]
        texture[inside] = (0.5 * texture + np.where(street, -1.3, 0.7))[inside]


def _outline(site: Site, v: Points, u: Points, part: Window, salt: int) -> Bools:
    """Where in ``part`` a site lies, by position along its own axes in px from its centre."""
    half = site.radius * site.aspect
    inside: Bools
    if site.shape in ("blob", "town"):
        ragged = 1 + 0.15 * fractal(salt, part, (21, 9))
        inside = np.hypot(u * site.aspect, v / site.aspect) < site.radius * ragged
    elif site.shape == "disc":  # under a centre pivot
        inside = np.hypot(u, v) < 1.1 * site.radius
    else:
        inside = (abs(u) < half) & (abs(v) < site.radius / site.aspect)
        if site.shape == "fields":  # a step in the outline, as where a neighbour holds the corner
            inside &= (u < 0.3 * half) | (v < 0.3 * half)
    return inside
