"""A callback that ends a training whose loss, gradients or parameters are no longer finite."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from cerraseg.core.errors import DataError
from cerraseg.data.tables import read_split
from cerraseg.training.order import Rows, patches_of
from cerraseg.training.plan import Plan

_CHECK_EVERY = 50  # steps of the optimiser between two checks, which wait for the device
_LOSS = "the training loss"
_MOST_IDS = 40  # in an error


class NanGuard(L.Callback):
    """Raise :class:`DataError` with the ids of the patches at which numbers stopped being finite.

    A gradient whose square is not finite counts, too: the optimiser computes it.

    Args:
        plan: what is trained.
        order: positions in ``rows`` of the patches of each part of a batch, in the present epoch.
        split: split table.
        rows: of the training part in it.
        resume: folder of the state after the last epoch.
    """

    def __init__(self, plan: Plan, order: Iterable[Rows], split: Path, rows: Rows, resume: Path) -> None:
        self.plan, self.order, self.split, self.rows, self.resume = plan, order, split, rows, resume

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.part, self.norms = 0, list[tuple[str, int, Tensor]]()

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        self.part = batch_idx

    def on_before_backward(self, trainer: L.Trainer, module: L.LightningModule, loss: Tensor) -> None:
        self._note(_LOSS, [loss.detach()])

    def on_before_optimizer_step(self, trainer: L.Trainer, module: L.LightningModule, optimizer: Any) -> None:
        self._note("a gradient", (p.grad for p in module.parameters() if p.grad is not None))
        if trainer.global_step % _CHECK_EVERY == 0:
            self._ensure_finite(trainer.current_epoch)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._note("a parameter", module.parameters())
        self._ensure_finite(trainer.current_epoch)

    def _note(self, what: str, values: Iterable[Tensor]) -> None:
        """Note the Euclidean norm of all values, on the device, without waiting for it."""
        self.norms.append((what, self.part, torch.nn.utils.get_total_norm(list(values))))

    def _ensure_finite(self, epochs: int) -> None:
        values = torch.stack([norm for *_, norm in self.norms]).tolist()
        noted = [(what, part, value) for (what, part, _), value in zip(self.norms, values, strict=True)]
        self.norms.clear()
        what, part, value = next((one for one in noted if not np.isfinite(one[2])), ("", 0, 0.0))
        if not what:
            return
        accumulate, order = self.plan.accumulate, list(self.order)
        first = part if what == _LOSS else part // accumulate * accumulate  # all that its gradient is of
        rows = self.rows[np.concatenate([patches_of(batch) for batch in order[first : part + 1]])]
        ids = [*dict.fromkeys(read_split(self.split)["id"].iloc[rows])]
        kept = (
            f"The state after epoch {epochs} is kept in {self.resume}." if epochs else "No epoch was finished before."
        )
        raise DataError(
            f"epoch {epochs + 1}: {what} is {value:g}; lower the learning rate of recipe "
            f"{self.plan.scenario.recipe}, with which the training begins anew, or look for extreme pixel values "
            f"in the statistics and in the patches of step {part // accumulate + 1} of "
            f"{-(-len(order) // accumulate)}: "
            f"{', '.join(ids[:_MOST_IDS])}{' ...' * (len(ids) > _MOST_IDS)}. {kept}"
        )
