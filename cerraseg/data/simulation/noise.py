"""Value noise on lattices that are hashed from global coordinates: any window of it can be made alone."""

from functools import cache

import numpy as np
import numpy.typing as npt

from cerraseg.data.simulation.window import Bools, Floats, Ints, Points, Window


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
        i -= i[0]
        j -= j[0]
        lines = nodes[:, j]  # columns first, while there are few rows: rows then copy in one piece
        lines += fx * (nodes[:, j + 1] - lines)
        rises = lines[1:] - lines[:-1]
        total += lines[i]
        total += rises[i] * fy[:, None]
    return total


def fractal_at(salt: int, y: Points, x: Points, steps: tuple[float, ...]) -> Floats:
    """:func:`fractal` at points: ``y`` and ``x`` in px, of one shape (at least 1-D)."""
    total = np.zeros(np.shape(y), np.float32)
    for octave, step in enumerate(steps):
        (i, fy), (j, fx) = _lattice(y, step), _lattice(x, step)
        corners = uniform(salt + octave, np.stack((i, i, i + 1, i + 1)), np.stack((j, j + 1, j, j + 1)))
        near, far = corners[::2] * (1 - fx) + corners[1::2] * fx
        total += _gain(octave, len(steps)) * (near * (1 - fy) + far * fy - 0.5)
    return total


@cache
def _gain(octave: int, octaves: int) -> float:
    """Factor of an octave so that the sum has unit variance; one octave of value noise has 0.0460."""
    return float(0.6**octave / np.sqrt(0.0460 * sum(0.36**k for k in range(octaves))))


def _lattice(at: npt.NDArray[np.generic], step: float) -> tuple[Ints, Floats]:
    """Lattice cell of every coordinate, and the smoothstep position inside it, 0-1."""
    position = np.asarray(at, np.float64) / step
    cell = np.floor(position)
    inside = position - cell
    return cell.astype(np.int64), (inside * inside * (3 - 2 * inside)).astype(np.float32)


def jittered_cells(position: Floats, line: Floats, salt: int) -> Floats:
    """Cell of every position (H, W) on lines whose cell borders are moved by up to a quarter of a cell.

    Cells and lines are whole numbers in float32, which moves half the bytes of int64.
    """
    cell = np.floor(position)
    first, last, first_line, last_line = (int(edge) for edge in (cell.min(), cell.max(), line.min(), line.max()))
    cells, lines = np.arange(first, last + 2), np.arange(first_line, last_line + 1)
    border = 0.5 * uniform(salt, cells[:, None], lines) - 0.25
    at = table_index(cell - first, line - first_line, lines.size)
    inside = position - cell
    cell -= inside < border.take(at)
    cell += inside >= (1 + border[1:]).take(at)
    return cell


def table_index(row: Floats, column: Floats | Bools, columns: int) -> Ints:
    """Place in a flat table of every row and column, whole numbers from 0 on; overwrites ``row``."""
    row *= columns
    row += column
    return row.astype(np.int64)
