"""Whether a training's numbers stay finite: noted on the device step by step, looked at now and then."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cerraseg.core.errors import DataError

LOOK_EVERY = 50
"""Steps of the optimiser between two looks, which wait for the device."""

_MOST_NAMED = 40  # patches in an error

Names = Callable[[NDArray[np.int64]], NDArray[np.str_]]
"""The ids of the patches at positions of the training part."""


def numbered(positions: NDArray[np.int64]) -> NDArray[np.str_]:
    """Names where there are no ids: the positions."""
    return positions.astype(np.str_)


@dataclass(frozen=True)
class Bad:
    """What is not finite, its value, and at which part of a batch, counted from 0 in its epoch."""

    what: str
    value: float
    part: int


class FirstBad:
    """The first part of a batch in an epoch at which a loss, a gradient or a parameter is not finite.

    Nor may its square overflow, which the optimiser takes of gradients; so the Euclidean norm tells, the cheapest one.
    """

    def __init__(self, device: torch.device) -> None:
        self.found: dict[str, tuple[Tensor, Tensor]] = {}
        self.none = torch.tensor(-1, device=device), torch.tensor(0.0, device=device)

    def note(self, what: str, values: Iterable[Tensor], part: int) -> None:
        """Note the norm of all values at a ``part``; nobody waits for the device."""
        norm = torch.nn.utils.get_total_norm(list(values))
        first, value = self.found.get(what, self.none)
        new = (first < 0) & ~norm.isfinite()
        self.found[what] = torch.where(new, part, first), torch.where(new, norm, value)

    def look(self) -> Bad | None:
        """What was first not finite; of several at the same part, what was noted first."""
        bad = [Bad(what, float(value), int(part)) for what, (part, value) in self.found.items() if int(part) >= 0]
        return min(bad, key=lambda one: one.part, default=None)


def lost(bad: Bad, epoch: int, step: str, patches: NDArray[np.str_], recipe: str, kept: str) -> DataError:
    """The error of a training whose numbers are lost at a ``step`` of an epoch; ``kept`` says what is left of it."""
    named = ", ".join(patches[:_MOST_NAMED]) + " ..." * (len(patches) > _MOST_NAMED)
    return DataError(
        f"epoch {epoch}: {bad.what} is {bad.value:g}; lower the learning rate of recipe {recipe}, with which the "
        f"training begins anew, or look for extreme pixel values in the statistics and in the patches of step {step}: "
        f"{named}. {kept}"
    )
