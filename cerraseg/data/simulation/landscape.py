"""A simulated Cerrado: the ground of any window of an endless, seeded land, which fit together without seams.

Smooth fields are value noise hashed from global coordinates; objects belong to neighbourhoods with a generator each.
"""

import numpy as np

from cerraseg.data.simulation.noise import fractal, fractal_at, jittered_cells, uniform
from cerraseg.data.simulation.objects import WILD_STEPS, sites_near, stamp
from cerraseg.data.simulation.rivers_and_roads import draw_roads, water
from cerraseg.data.simulation.window import ID, Floats, Ground, Ints, Points, Salts, Window, axes, turn

_PARCEL = (46.0, 40.0)  # typical height and width of a field in px of 10 m
_FOREST_FROM = -0.12  # a parcel with more wildness than this (about N(0, 1)) was never cleared


def landscape(salt: Salts, window: Window) -> Ground:
    """Make the ground of ``window``: equal salts give equal ground, whichever window contains it."""
    wet, gallery = water(salt, window)
    ground = _parcels(salt, window)
    ground.l2[gallery & (ground.l2 != ID["Df"])] = ID["V1"]
    near = list(sites_near(salt, window))
    for site in (site for site in near if site.shape != "yard"):
        stamp(ground, site, window, salt.shape)
    ground.l2[wet] = ID["Wt"]
    draw_roads(salt, ground, window)
    for site in (site for site in near if site.shape == "yard"):
        stamp(ground, site, window, salt.shape)
    return ground


def _parcels(salt: Salts, window: Window) -> Ground:
    """Pasture, crops, forest, clearings and regrowth by parcel; remnants and gaps cut across parcels."""
    index, row, column, y, x = _parcel_grid(salt, window)
    kind, fate, stage, tone = (uniform(salt.parcel + 7 * k, row, column) for k in (3, 4, 5, 6))
    wild = fractal_at(salt.wild, y, x, WILD_STEPS) + 0.9 * (kind - 0.5)
    table = np.where(wild > _FOREST_FROM, ID["V1"], ID["Pa"]).astype(np.uint8)
    table[(abs(wild - _FOREST_FROM - 0.1) < 0.2) & (fate < 0.38)] = ID["V2"]
    table[(wild > _FOREST_FROM) & (wild < _FOREST_FROM + 0.8) & (fate > 0.985)] = ID["Df"]
    table[(wild < _FOREST_FROM - 0.7) & (fate > 0.97)] = ID["T1+"]
    l2 = table.take(index)
    detail = fractal(salt.detail, window, (52, 22, 9))
    l2[(l2 == ID["Pa"]) & (detail > 1.5)] = ID["V2"]
    l2[(l2 == ID["V2"]) & (detail > 2.1)] = ID["V1"]
    l2[(l2 == ID["V1"]) & (detail < -2.0)] = ID["V2"]
    wood = (l2 == ID["V1"]) | (l2 == ID["V2"])
    own = np.where(wood, np.float32(0.2), np.float32(1))  # what of a field its owner decides
    growth = fractal(salt.stage, window, (110, 40)) * 0.22 + 0.5 + own * (0.8 * (stage - 0.5)).take(index)
    return Ground(l2, growth, own * (3.4 * (tone - 0.5)).take(index), fractal(salt.texture, window, (7, 2.6)))


def _parcel_grid(salt: Salts, window: Window) -> tuple[Ints, Ints, Ints, Points, Points]:
    """The parcel of every pixel as an index (H, W) into the rows, columns and centres of the parcels in sight."""
    v, u = turn(*_warped(salt, window), salt.grid_angle)
    row = jittered_cells(v / np.float32(_PARCEL[0]), np.zeros((1, 1), np.int64), salt.parcel)
    rows = np.arange(row.min(), row.max() + 1)
    widths = _PARCEL[1] * (0.6 + 0.9 * uniform(salt.parcel + 1, rows, rows))
    column = jittered_cells(u / widths.take(row - rows[0]), row, salt.parcel + 2)
    columns = np.arange(column.min(), column.max() + 1)
    index = (row - rows[0]) * columns.size + column - columns[0]
    all_rows, all_columns = np.repeat(rows, columns.size), np.tile(columns, rows.size)
    y, x = turn((all_rows + 0.5) * _PARCEL[0], (all_columns + 0.5) * np.repeat(widths, columns.size), -salt.grid_angle)
    return index, all_rows, all_columns, y, x


def _warped(salt: Salts, window: Window) -> tuple[Floats, Floats]:
    """Rows and columns (H, W): a slow warp turns the fields with the land, a fast one bends their borders a little."""
    y, x = (
        55 * fractal(key, window, (420,)) + at + 1.5 * fractal(key + 1, window, (30,))
        for at, key in zip(axes(window), (salt.warp_y, salt.warp_x), strict=True)
    )
    return y, x
