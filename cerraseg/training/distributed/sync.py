"""A batch divided among several devices: each computes its patches, and all get the numbers that one would get.

Lightning's DDP gives other numbers than one device: it means gradients over processes, however many labelled pixels
each has; batch norm (unless converted) and Dice see a process's part; its sampler repeats patches to even parts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Team:
    """One of ``count`` processes that train together, a device each; alone by default.

    Attributes:
        rank: which, from 0.
        count: how many.
        patches: of the batch at hand, over all ranks.
    """

    rank: int = 0
    count: int = 1
    patches: int = 0

    @property
    def share(self) -> slice:
        """This rank's patches of the batch at hand; none where the batch has fewer than there are ranks."""
        return slice(self.patches * self.rank // self.count, self.patches * (self.rank + 1) // self.count)

    @property
    def idle(self) -> bool:
        """Whether this rank has no patch of the batch at hand."""
        return self.patches * self.rank // self.count == self.patches * (self.rank + 1) // self.count

    def held(self, patches: int) -> slice:
        """Which of a batch's patches this rank computes: its share or, idle, the first, which then counts nothing."""
        mine = Team(self.rank, self.count, patches)
        return slice(0, 1) if mine.idle else mine.share

    def whole(self, mine: Tensor) -> Tensor:
        """The values of all patches of the batch at hand; this rank's alone carry gradients.

        Args:
            mine: (held patches, ...).
        """
        if self.count == 1:
            return mine
        share = self.share
        mine = mine[: share.stop - share.start]
        others = mine.new_zeros((self.patches, *mine.shape[1:]))
        others[share] = mine.detach()
        torch.distributed.all_reduce(others)
        return torch.cat([others[: share.start], mine, others[share.stop :]])

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every rank the gradients of the whole batch: the sum, as each rank's are of its patches' part."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.count == 1:
            return
        total = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(total)
        parts = torch.split(total, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def agree(self, value: Any) -> Any:
        """The first rank's ``value``, once all have come here."""
        if self.count == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values)
        torch.distributed.barrier()
        return values[0]

    def join(self, module: nn.Module) -> None:
        """Let the layers of ``module`` that look at a whole batch look at that of all ranks; their state stays."""
        if self.count == 1:
            return
        for name, child in module.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(module, name, _BatchNorm(child, self))
            elif isinstance(child, DropPath):
                setattr(module, name, _DropPath(child, self))
            elif isinstance(child, nn.modules.dropout._DropoutNd) and child.p:
                setattr(module, name, _Dropout(child, self))
            else:
                self.join(child)


class _BatchNorm(nn.SyncBatchNorm):
    """Batch normalisation over all ranks, then the activation that timm's layers hold and torch's conversion drops."""

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm, team: Team) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        self._parameters, self._buffers, self.team = layer._parameters, layer._buffers, team
        self.drop, self.act = (getattr(layer, name, nn.Identity()) for name in ("drop", "act"))

    def forward(self, images: Tensor) -> Tensor:
        if self.training and self.team.patches == 1 and images.shape[2:].numel() == 1:  # as a model's own layers do
            return F.batch_norm(images, self.running_mean, self.running_var, self.weight, self.bias, False, 0, self.eps)
        normalise = super().forward if images.is_cuda or not self.training else self._on_cpu
        uncounted = self.training and self.team.idle  # takes part in the sums, but with no patch
        normal = torch.cat([normalise(images[:0]), images]) if uncounted else normalise(images)
        result: Tensor = self.act(self.drop(normal))
        return result

    def _on_cpu(self, images: Tensor) -> Tensor:
        """What torch's own does on GPUs alone."""
        axes, column = (0, 2, 3), (1, -1, 1, 1)
        amount = _sum(images.new_tensor(images.numel() / self.num_features))
        mean = _sum(images.sum(axes)) / amount
        centred = images - mean.view(column)
        variance = _sum(centred.square().sum(axes)) / amount
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr, arg-type]
            unbiased = variance * amount / (amount - 1)
            self.running_var.lerp_(unbiased, self.momentum)  # type: ignore[union-attr, arg-type]
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale.view(column) + self.bias.view(column)


class _Sum(torch.autograd.Function):
    """The sum over all ranks, whose gradient is the sum over theirs."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


def _sum(values: Tensor) -> Tensor:
    return _Sum.apply(values)  # type: ignore[no-any-return]


class _DropPath(DropPath):
    """Stochastic depth that draws for all ranks' patches, as one device would, and takes its own."""

    def __init__(self, layer: DropPath, team: Team) -> None:
        super().__init__(layer.drop_prob, layer.scale_by_keep)
        self.team = team

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.drop_prob:
            return x
        factors = x.new_ones((self.team.patches, *[1] * (x.dim() - 1)))
        drawn: Tensor = super().forward(factors)  # type: ignore[no-untyped-call]
        return x * drawn[self.team.held(self.team.patches)]


class _Dropout(nn.Module):
    """Dropout that draws for all ranks' patches, as one device would, and takes its own."""

    def __init__(self, layer: nn.modules.dropout._DropoutNd, team: Team) -> None:
        super().__init__()
        self.layer, self.team = layer, team

    def forward(self, x: Tensor) -> Tensor:
        held = self.team.held(self.team.patches)
        if not self.training or len(x) != held.stop - held.start:  # windows of patches, say
            dropped: Tensor = self.layer(x)
            return dropped
        drawn: Tensor = self.layer(x.new_ones((self.team.patches, *x.shape[1:])))
        return x * drawn[held]
