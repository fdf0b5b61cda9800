"""Value noise on lattices that are hashed from global coordinates: any window of it can be made alone."""

from functools import cache

import numpy as np
import numpy.typing as npt

from cerraseg.data.simulation.window import Floats, Ints, Points, Window


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
    """Make smooth noise (H, W) of about N(0, 1): one octave per lattice of ``steps`` px, each 0.6 of the one before."""
    total = np.zeros((window.height, window.width), np.float32)
    for octave, step in enumerate(steps):
        i, fy = _lattice(np.arange(window.top, window.top + window.height), step)
        j, fx = _lattice(np.arange(window.left, window.left + window.width), step)
        nodes = uniform(salt + octave, np.arange(i[0], i[-1] + 2)[:, None], np.arange(j[0], j[-1] + 2))
        nodes = (nodes - np.float32(0.5)) * np.float32(_gain(octave, len(steps)))
        i -= i[0]
        j -= j[0]
        lines = nodes[:, j] + fx * (nodes[:, j + 1] - nodes[:, j])  # columns first, while there are few rows
        total += lines[i]
        total += np.diff(lines, axis=0)[i] * fy[:, None]
    return total


def fractal_at(salt: int, y: Points, x: Points, steps: tuple[float, ...]) -> Floats:
    """Make :func:`fractal` at points: ``y`` and ``x`` in px, of one shape (at least 1-D)."""
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


def jittered_cells(position: Floats, line: Ints, salt: int) -> Ints:
    """Return the cell of every position (H, W) on lines whose cell borders are moved by up to a quarter of a cell."""
    cell = np.floor(position).astype(np.int64)
    cells, lines = np.arange(cell.min(), cell.max() + 2), np.arange(line.min(), line.max() + 1)
    border = 0.5 * uniform(salt, cells[:, None], lines) - 0.25
    at = (cell - cells[0]) * lines.size + line - lines[0]
    inside = position - cell.astype(np.float32)
    moved: Ints = cell - (inside < border.take(at)) + (inside >= (1 + border[1:]).take(at))
    return moved
