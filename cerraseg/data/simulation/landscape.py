"""The ground of any window of a simulated land, without seams: land cover told by its form, not its spectrum."""

from collections.abc import Callable
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


# Objects, one to each square of land: class; px, side of the square; px, radius; aspect, 0 of a disc; texture; at the
# wildest of three places (1) or at the least wild; what noisy labels take it for; published share by that of here.
_OBJECTS = (
    ("UA", 232, 29, 0, "streets", -1, "Mg", 0.1),
    ("Ft", 150, 18, 1.5, "rows", 1, "V2", 0.35),
    ("SP", 140, 15, 2.0, "grid", -1, "T1", 0.03),
    ("PR", 135, 15, 1.2, "grid", -1, "V2", 0.02),
    ("T1", 132, 15, 1.4, "rows", -1, "T1+", 0.08),
    ("T1+", 144, 18, 0, "rings", -1, "T1", 0.4),
    ("Df", 118, 15, 0, "grain", 1, "Pa", 0.3),
    ("Mg", 118, 15, 0, "grain", -1, "UA", 0.02),
    ("OB", 56, 5, 1.0, "grain", -1, "UA", 0.02),
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
    for kind in _OBJECTS:
        _draw(ground, land, y, x, kind)
    river, sand = abs(land.noise("river", y, x, 320, 130)), land.noise("sand", y, x, 90)
    sand_bank, water = (river < 0.13) & (sand > (0.2 if even else 2)), river < (0.045 if even else 0.018)
    for name, here in (("OU", sand_bank), ("Wt", water)):
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
    l2 = np.where(forest, np.where(young, ID["V2"], ID["V1"]), ID["Pa"]).astype(np.uint8)
    labels = np.where(forest & (fate < 0.04 * land.label_noise), np.uint8(ID["V1"] + ID["V2"]) - l2, l2)
    return Ground(l2, labels, owner, np.zeros(l2.shape, np.float32))


def _draw(ground: Ground, land: Land, y: Floats, x: Floats, kind: tuple[Any, ...]) -> None:
    """Draw the objects of a kind; noisy labels leave some out, the more readily the smaller, and mistake others."""
    name, cell, size, aspect, texture, place, mistaken, published = kind
    cells = (np.arange((at.min() - 3 * size) // cell, (at.max() + 3 * size) // cell + 1) for at in (y, x))
    i, j = np.meshgrid(*cells, indexing="ij")
    tries = 3 * i + np.arange(3)[:, None, None]
    rows, columns = (cell * (at + land.uniform(f"{name} {k}", tries, j)) for k, at in enumerate((i, j)))
    best = (place * land.noise("wild", rows, columns, *_WILD)).argmax(axis=0)[None]
    row, column = (np.take_along_axis(at, best, 0)[0] for at in (rows, columns))
    kept = np.ones(i.shape, bool)
    if land.rarity == "published":  # what is rare lies together, in about a sixth of the land
        spread, least = (1, -9) if published > 0.16 else (0.16, 1)
        kept = land.uniform(f"kept {name}", i, j) < published / spread
        kept &= land.noise(f"rare {name}", row, column, 900) > least
    drawn = [row, column, *(land.uniform(f"{name} {key}", i, j) for key in ("size", "angle", "owner", "fate"))]
    for top, left, scale, angle, owner, fate in np.stack(drawn)[:, kept].T.tolist():
        here = tuple(
            slice(*np.searchsorted(at.ravel(), (p - 3 * size, p + 3 * size))) for at, p in ((y, top), (x, left))
        )
        l2, labels, owners, textures = (layer[here] for layer in ground)
        v, u = turn(y[here[0]] - top, x[:, here[1]] - left, _ANGLE + 0.4 * (angle - 0.5))
        radius = size * (0.75 + 0.5 * scale)
        inside = np.hypot(v, u) < radius
        if aspect:
            inside = (abs(v) < radius / aspect**0.5) & (abs(u) < radius * aspect**0.5)
        omitted = 0.08 * land.label_noise * min(3, 200 / radius**2)
        if fate >= omitted:
            labels[inside] = ID[mistaken if fate < omitted + 0.04 * land.label_noise else name]
        l2[inside], owners[inside], textures[inside] = ID[name], owner, _TEXTURES[texture](v, u)[inside]
        if name == "Mg":  # with a pond
            pond = np.hypot(v - 0.3 * radius, u) < 0.35 * radius
            l2[pond] = labels[pond] = ID["Wt"]
