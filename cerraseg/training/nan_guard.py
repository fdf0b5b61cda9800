"""A callback that ends a training whose loss, gradients or parameters are no longer finite."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cerraseg.core.errors import DataError
from cerraseg.training.plan import Plan

CHECK_EVERY = 50
"""Steps of the optimiser between two checks, which wait for the device."""

_LOSS = "the training loss"
_MOST_IDS = 40  # in an error


@dataclass(frozen=True)
class NonFinite:
    """What is not finite, its value, and at which part of a batch, counted from 0 in its epoch."""

    what: str
    value: float
    part: int


class FirstNonFinite:
    """The first part of a batch in an epoch at which a value or its square is not finite.

    The square counts as the optimiser computes it of gradients; the Euclidean norm shows both at the least cost.
    """

    def __init__(self, device: torch.device) -> None:
        self.found: dict[str, tuple[Tensor, Tensor]] = {}
        self.none = torch.tensor(-1, device=device), torch.tensor(0.0, device=device)

    def note(self, what: str, values: Iterable[Tensor], part: int) -> None:
        """Note the norm of all values at a ``part``, on the device, without waiting for it."""
        norm = torch.nn.utils.get_total_norm(list(values))
        first, value = self.found.get(what, self.none)
        new = (first < 0) & ~norm.isfinite()
        self.found[what] = torch.where(new, part, first), torch.where(new, norm, value)

    def check(self) -> NonFinite | None:
        """Return what was not finite first; of several at the same part, what was noted first."""
        bad = [NonFinite(what, float(value), int(part)) for what, (part, value) in self.found.items() if int(part) >= 0]
        return min(bad, key=lambda one: one.part, default=None)


class NanGuard(L.Callback):
    """Raise :class:`DataError` with the ids of the patches at which numbers stopped being finite.

    Args:
        plan: what is trained.
        order: positions of the patches of each part of a batch, in the present epoch.
        ids: from positions in the training part to patch ids.
        resume: folder of the state after the last epoch.
    """

    def __init__(
        self,
        plan: Plan,
        order: Iterable[NDArray[np.int64]],
        ids: Callable[[NDArray[np.int64]], NDArray[np.str_]],
        resume: Path,
    ) -> None:
        self.plan, self.order, self.ids, self.resume = plan, order, ids, resume

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.first, self.part = FirstNonFinite(module.device), 0

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        self.part = batch_idx

    def on_before_backward(self, trainer: L.Trainer, module: L.LightningModule, loss: Tensor) -> None:
        self.first.note(_LOSS, [loss.detach()], self.part)

    def on_before_optimizer_step(self, trainer: L.Trainer, module: L.LightningModule, optimizer: Any) -> None:
        gradients = (p.grad for p in module.parameters() if p.grad is not None)
        self.first.note("a gradient", gradients, self.part)
        if trainer.global_step % CHECK_EVERY == 0:
            self._ensure_finite(trainer.current_epoch)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.first.note("a parameter", module.parameters(), self.part)
        self._ensure_finite(trainer.current_epoch)

    def _ensure_finite(self, epochs: int) -> None:
        if not (bad := self.first.check()):
            return
        accumulate, order = self.plan.accumulate, list(self.order)
        first = bad.part if bad.what == _LOSS else bad.part // accumulate * accumulate  # all that its gradient is of
        ids = list(self.ids(np.concatenate(order[first : bad.part + 1])))
        kept = (
            f"The state after epoch {epochs} is kept in {self.resume}." if epochs else "No epoch was finished before."
        )
        raise DataError(
            f"epoch {epochs + 1}: {bad.what} is {bad.value:g}; lower the learning rate of recipe "
            f"{self.plan.scenario.recipe}, with which the training begins anew, or look for extreme pixel values "
            f"in the statistics and in the patches of step {bad.part // accumulate + 1} of "
            f"{-(-len(order) // accumulate)}: "
            f"{', '.join(ids[:_MOST_IDS])}{' ...' * (len(ids) > _MOST_IDS)}. {kept}"
        )
