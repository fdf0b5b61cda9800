"""The mean of a model's parameters over its training, which is what is validated and kept."""

from itertools import chain

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def follow(average: nn.Module, live: nn.Module, decay: float, steps: int) -> None:
    """Move ``average`` towards ``live``: an exponential moving mean of parameters and buffers; integers are copied.

    Averaging over the steps is Polyak & Juditsky's (1992, SIAM J. Control Optim. 30), the exponential mean as teacher
    Tarvainen & Valpola's (2017, NeurIPS). torch's ``AveragedModel`` does the same but waits for the device every step.

    Args:
        average: the mean so far, a copy of ``live`` at first.
        live: what the optimiser has just changed.
        decay: 0 to 1, what stays of the mean; in the first steps less, so that it soon forgets the start:
            (1 + steps) / (10 + steps).
        steps: optimiser steps before this one.
    """
    means, present = (list(chain(module.parameters(), module.buffers())) for module in (average, live))
    pairs = list(zip(means, present, strict=True))
    follows = [(mean, now) for mean, now in pairs if mean.is_floating_point()]
    get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(  # type: ignore[no-untyped-call]
        [mean for mean, _ in follows], [now.detach() for _, now in follows], None
    )
    for mean, now in pairs:
        if not mean.is_floating_point():
            mean.copy_(now)
