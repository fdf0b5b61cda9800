"""The ground of any window of a simulated land, without seams: land cover told by its form, not its spectrum."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cerraseg.data.simulation.land import ID, Floats, Land, Window, axes, turn

_FIELD = 44  # px, side of the fields
_ANGLE = 0.4  # radians by which they are turned
_WILD = (400, 180)  # px, lattices of the wildness of the land, forest where it is above 0
_PAD = 4  # px, more than a border of noisy labels is off


class Ground(NamedTuple):
    """Layers (H, W): L2 ids; those of noisy labels; a number in [0, 1) by field; texture of mean 0 and variance 1."""

    l2: NDArray[Any]
    labels: NDArray[Any]
    owner: NDArray[Any]
    texture: NDArray[Any]


class _Kind(NamedTuple):
    name: str
    cell: float  # px, side of the squares of land with one object each
    radius: float  # px, half side of a rectangle
    aspect: float  # of a rectangle; 0: a disc
    texture: str
    place: int  # 1: at the wildest of three places, -1: at the least wild
    mistaken: str  # what noisy labels take it for
    published: float  # its published share of the land by that of even rarity


_KINDS = (
    _Kind("UA", 232, 29, 0, "streets", -1, "Mg", 0.1),
    _Kind("Ft", 150, 18, 1.5, "rows", 1, "V2", 0.35),
    _Kind("SP", 140, 15, 2.0, "grid", -1, "T1", 0.03),
    _Kind("PR", 135, 15, 1.2, "grid", -1, "V2", 0.02),
    _Kind("T1", 132, 15, 1.4, "rows", -1, "T1+", 0.08),
    _Kind("T1+", 144, 18, 0, "rings", -1, "T1", 0.4),
    _Kind("Df", 118, 15, 0, "grain", 1, "Pa", 0.3),
    _Kind("Mg", 118, 15, 0, "grain", -1, "UA", 0.02),
    _Kind("OB", 56, 5, 1.0, "grain", -1, "UA", 0.02),
)
_GRAIN = {"Pa": 2, "V1": 2, "OB": 2, "OU": 3.5, "Df": 3.5, "V2": 6, "Mg": 6, "Wt": 6}  # px, lattice of the texture


# Of unit variance. Rows, rings and grids have about the means and deviations of the finest grain in 3 and in 7 px.
_TEXTURES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "rows": lambda v, u: 1.4 * np.sin(0.9 * v),
    "rings": lambda v, u: 1.4 * np.sin(0.9 * np.hypot(v, u)),
    "grid": lambda v, u: 2 * np.sin(0.7 * v) * np.sin(0.7 * u),
    "streets": lambda v, u: np.sin(0.63 * v) + np.sin(0.63 * u),
    "grain": lambda v, u: v * 0,  # see _GRAIN
}


def landscape(land: Land, window: Window, pad: int = 0) -> Ground:
    """Make the ground of ``window`` and ``pad`` px more on every side, the same in whichever window it lies."""
    y, x = axes(window, pad + _PAD)
    even, ground = land.rarity == "even", _fields(land, y, x)
    for kind in _KINDS:
        for site in _sites(land, kind, y, x):
            _draw(ground, land, kind, site, y, x)
    river, sand = abs(land.noise("river", y, x, 320, 130)), land.noise("sand", y, x, 90)
    for name, here in (
        ("OU", (river < 0.13) & (sand > (0.2 if even else 2))),
        ("Wt", river < (0.045 if even else 0.018)),
    ):
        ground.l2[here] = ground.labels[here] = ID[name]
    grain = np.array([_GRAIN.get(name, 0) for name in ID])[ground.l2]
    for step in {*_GRAIN.values()}:
        np.copyto(ground.texture, land.noise("grain", *turn(y, x, 0.6), step), where=grain == step)
    moves = (0.7 * land.label_noise * land.noise(f"border {k}", *axes(window, pad), 16) for k in (0, 1))
    down, right = (np.rint(move).clip(-_PAD, _PAD).astype(int) for move in moves)
    i, j = np.indices(down.shape) + _PAD
    own = Ground(*(layer[_PAD:-_PAD, _PAD:-_PAD] for layer in ground))
    return own._replace(labels=ground.labels[i + down, j + right])


def _fields(land: Land, y: Floats, x: Floats) -> Ground:
    """Fields of pasture and of forest of two ages; noisy labels give some of the forest the other age."""
    v, u = turn(y + 3 * land.noise("down", y, x, 30), x + 3 * land.noise("aside", y, x, 30), _ANGLE)
    i = np.floor(v / _FIELD)
    aside = land.uniform("row of fields", i, i)
    j = np.floor(u / _FIELD + aside)
    kind, age, fate, owner = (land.uniform(f"field {k}", i, j) for k in range(4))
    centre = turn((i + 0.5) * _FIELD, (j + 0.5 - aside) * _FIELD, -_ANGLE)
    forest = land.noise("wild", *centre, *_WILD) + 1.4 * (kind - 0.5) > 0
    young = age < (0.4 if land.rarity == "even" else 0.12)
    ages = ID["V2"], ID["V1"]
    l2, other = (np.where(forest, np.where(young, *ids), ID["Pa"]).astype(np.uint8) for ids in (ages, ages[::-1]))
    labels = np.where(fate < 0.04 * land.label_noise, other, l2)
    return Ground(l2, labels, owner, np.zeros(l2.shape, np.float32))


def _sites(land: Land, kind: _Kind, y: Floats, x: Floats) -> Iterator[list[float]]:
    """Yield row, column and four numbers in [0, 1) of each object of a kind that can reach to ``y`` and ``x``."""
    name, reach = kind.name, 3 * kind.radius
    cells = (np.arange((at.min() - reach) // kind.cell, (at.max() + reach) // kind.cell + 1) for at in (y, x))
    i, j = (at.ravel() for at in np.meshgrid(*cells, indexing="ij"))
    tries = 3 * i + np.arange(3)[:, None]
    rows, columns = ((at + land.uniform(f"{name} {k}", tries, j)) * kind.cell for k, at in enumerate((i, j)))
    best = (kind.place * land.noise("wild", rows, columns, *_WILD)).argmax(axis=0), np.arange(i.size)
    row, column = rows[best], columns[best]
    kept = (abs(row - y.mean()) < np.ptp(y) / 2 + reach) & (abs(column - x.mean()) < np.ptp(x) / 2 + reach)
    if land.rarity == "published":  # what is rare lies together, in about a sixth of the land
        spread = 1 if kind.published > 0.16 else 0.16
        kept &= (spread == 1) | (land.noise(f"rare {name}", row, column, 900) > 1)
        kept &= land.uniform(f"kept {name}", i, j) < kind.published / spread
    numbers = (land.uniform(f"{name} {k}", i, j) for k in range(2, 6))
    yield from np.stack([row, column, *numbers], axis=1)[kept].tolist()


def _draw(ground: Ground, land: Land, kind: _Kind, site: list[float], y: Floats, x: Floats) -> None:
    """Draw an object; noisy labels leave it out, the more readily the smaller it is, or mistake it."""
    row, column, size, angle, owner, fate = site
    radius = kind.radius * (0.75 + 0.5 * size)
    v, u = turn(y - row, x - column, _ANGLE + 0.4 * (angle - 0.5))
    inside = np.hypot(v, u) < radius
    if kind.aspect:
        inside = (abs(v) < radius / kind.aspect**0.5) & (abs(u) < radius * kind.aspect**0.5)
    omitted = 0.08 * land.label_noise * min(3, 200 / radius**2)
    if fate >= omitted:
        ground.labels[inside] = ID[kind.mistaken if fate < omitted + 0.04 * land.label_noise else kind.name]
    ground.l2[inside], ground.owner[inside] = ID[kind.name], owner
    ground.texture[inside] = _TEXTURES[kind.texture](v, u)[inside]
    if kind.name == "Mg":  # with a pond
        pond = np.hypot(v - 0.3 * radius, u) < 0.35 * radius
        ground.l2[pond] = ground.labels[pond] = ID["Wt"]
