"""Assign whole groups of patches to parts, so that each part gets its share of every class and of the patches.

First iterative stratification, with pixels for labels and groups for samples (Sechidis, Tsoumakas and Vlahavas 2011,
ECML PKDD, LNCS 6913, 145-158), then single groups are moved while that betters the shares. The best of several tries.
"""

from collections.abc import Sequence

import numpy as np

from cerraseg.geo.positions import Floats, Ints

_TRIES = 10
_EFFORT = 5_000  # groups × tries
_MOVES = 100
_LOOKS = 500_000  # groups × moves of a try; many small groups need few, as they start well
_LEAST = 1e-9  # gain worth a move
_FAULT = 100.0  # what a part without patches, or off by more than the tolerance, costs beside a class that is absent


class Partition:
    """The division of G groups into P parts: weights of the groups, by class and in patches, and the wanted shares.

    Args:
        counts: pixels of each class in each group, (G, K).
        patches: patches of each group, (G,).
        shares: wanted share of each part, (P,), summing to 1.
        tolerance: how far a part's share of the patches may be off.
        holders: how many groups of each class a part needs at least, (P,): as many as it will be divided into.
    """

    def __init__(
        self, counts: Ints, patches: Ints, shares: Sequence[float], tolerance: float, holders: Sequence[int] = (1,)
    ) -> None:
        present = counts[:, counts.any(axis=0)]
        self.classes: Floats = present / present.sum(axis=0)
        self.holds: Floats = (present > 0).astype(np.float64)
        self.patches: Floats = patches / patches.sum()
        self.shares: Floats = np.asarray(shares, dtype=np.float64)
        self.holders = np.asarray(holders)[:, None]
        self.tolerance = tolerance

    def size_cost(self, sizes: Floats) -> Floats:
        """Cost of parts with these shares of the patches (..., P)."""
        off = abs(sizes - self.shares)
        fault = (sizes < 1e-12) + np.maximum(0, off - self.tolerance) / self.tolerance
        return off**2 / self.shares + _FAULT * fault

    def state(self, parts: Ints) -> tuple[Floats, Floats, Floats]:
        """Of each part: its share of each class (P, K), its groups that hold the class, its share of the patches."""
        members = (parts == np.arange(len(self.shares))[:, None]).astype(np.float64)
        return members @ self.classes, members @ self.holds, members @ self.patches

    def cost(self, parts: Ints) -> float:
        """The squared error of the shares by the wanted share, means over classes, and 1 for each holder that lacks."""
        shares, holding, sizes = self.state(parts)
        wanted = self.shares[:, None]
        error = ((shares - wanted) ** 2 / wanted).sum() / max(1, shares.shape[1])
        return float(error + np.maximum(0, self.holders - holding).sum() + self.size_cost(sizes).sum())

    def gains(self, parts: Ints) -> Floats:
        """By how much the cost changes if a group goes to a part, (G, P)."""
        shares, holding, sizes = self.state(parts)
        classes, wanted = max(1, shares.shape[1]), self.shares
        slope = 2 * self.classes @ (shares / wanted[:, None] - 1).T / classes
        curve = (self.classes**2).sum(axis=1)[:, None] / wanted / classes
        grown, shrunk = sizes + self.patches[:, None], sizes - self.patches[:, None]
        enter = slope + curve - self.holds @ (holding < self.holders).T + self.size_cost(grown)
        leave = curve - slope + self.holds @ (holding <= self.holders).T + self.size_cost(shrunk)
        own = parts[:, None]
        change = enter - self.size_cost(sizes) + np.take_along_axis(leave - self.size_cost(sizes), own, axis=1)
        np.put_along_axis(change, own, 0, axis=1)
        return np.asarray(change)


def share_out(task: Partition, random: np.random.Generator) -> Ints:
    """Assign each group to a part: (G,) from 0 to P - 1."""
    groups = len(task.patches)
    tries = [_refined(task, _stratified(task, random)) for _ in range(max(1, min(_TRIES, _EFFORT // groups)))]
    return min(tries, key=task.cost)


def _stratified(task: Partition, random: np.random.Generator) -> Ints:
    """Group after group of the class that the fewest hold goes to the part that lacks the class most."""
    features = np.column_stack([task.classes, task.patches])
    wanted = task.shares[:, None] * features.sum(axis=0)
    parts = np.full(len(features), -1)
    while (rest := np.flatnonzero(parts < 0)).size:
        held = (features[rest] > 0).sum(axis=0)
        rarest = int(np.argmin(np.where(held > 0, held, len(features) + 1)))
        for group in random.permutation(rest[features[rest, rarest] > 0]):
            part = np.lexsort((random.random(len(wanted)), wanted[:, -1], wanted[:, rarest]))[-1]
            parts[group] = part
            wanted[part] -= features[group]
    return parts


def _refined(task: Partition, parts: Ints) -> Ints:
    """Move one group at a time, the one that gains most, until none gains."""
    parts = parts.copy()
    for _ in range(max(_MOVES, _LOOKS // len(parts))):
        gains = task.gains(parts)
        group, part = divmod(int(np.argmin(gains)), gains.shape[1])
        if gains[group, part] > -_LEAST:
            break
        parts[group] = part
    return parts
