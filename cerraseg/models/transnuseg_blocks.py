"""Building blocks of TransNuSeg on tokens (B, H, W, C): timm's Swin blocks and the layers between them."""

import math
from collections import OrderedDict
from typing import NamedTuple

import torch
from timm.layers.drop import DropPath
from timm.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F

_GROUPS = 5  # of channels in the token MLP, shifted by -2 to 2 tokens


class Stage(NamedTuple):
    """One resolution of encoder and decoders: ``resolution`` and ``window`` in tokens."""

    dim: int
    resolution: tuple[int, int]
    heads: int
    window: int
    drop_path: tuple[float, float]


def swin_blocks(stage: Stage) -> nn.Sequential:
    """Build two Swin blocks, the second with shifted windows."""
    return nn.Sequential(
        *(
            SwinTransformerBlock(
                stage.dim, stage.resolution, stage.heads, window_size=stage.window, shift_size=shift, drop_path=rate
            )
            for shift, rate in zip((0, stage.window // 2), stage.drop_path, strict=True)
        )
    )


class Down(nn.Module):
    """Swin blocks, then half the resolution: (B, H, W, C) → (B, H/2, W/2, 2C)."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.blocks = swin_blocks(stage)
        self.downsample = PatchMerging(stage.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.downsample(self.blocks(tokens))


class TokenMLP(nn.Module):
    """Token-MLP block with axis shifts (Valanarasu and Patel 2022, MICCAI: UNeXt): (B, H, W, C) → the same shape."""

    def __init__(self, dim: int, drop_path: float) -> None:
        super().__init__()
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = _ShiftMLP(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class _ShiftMLP(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, dim)
        convolution = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        nn.init.normal_(convolution.weight, std=math.sqrt(2 / 9))  # 9: fan-out of a channel, as published
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        self.dwconv = nn.Sequential(OrderedDict(dwconv=convolution))
        self.fc2 = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.dwconv(self.fc1(_shift(tokens, 1)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.fc2(_shift(F.gelu(hidden), 2))


def _shift(tokens: Tensor, axis: int) -> Tensor:
    """Move five groups of channels by -2 to 2 tokens along ``axis`` of (B, H, W, C), filling with 0."""
    reach, length = _GROUPS // 2, tokens.shape[axis]
    padded = F.pad(tokens, (0, 0, *((reach, reach) if axis == 2 else (0, 0, reach, reach))))
    groups = padded.chunk(_GROUPS, -1)
    moved = [group.narrow(axis, 2 * reach - n, length) for n, group in enumerate(groups)]
    return torch.cat(moved, -1)


class Expand(nn.Module):
    """More resolution from channels: (B, H, W, C) → (B, scale·H, scale·W, out)."""

    def __init__(self, dim: int, scale: int, out: int) -> None:
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(dim, scale * scale * out, bias=False)
        self.norm = nn.LayerNorm(out)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, height, width, _ = tokens.shape
        squares = self.expand(tokens).view(batch, height, width, self.scale, self.scale, -1)
        spread = squares.transpose(2, 3).reshape(batch, height * self.scale, width * self.scale, -1)
        return self.norm(spread)


class Up(nn.Module):
    """Swin blocks, then twice the resolution except at the last stage."""

    def __init__(self, stage: Stage, last: bool) -> None:
        super().__init__()
        self.blocks = swin_blocks(stage)
        self.upsample = nn.Identity() if last else Expand(stage.dim, 2, stage.dim // 2)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.upsample(self.blocks(tokens))


class SharedLinear(nn.Linear):
    """A projection of windows (N, tokens, C) to queries, keys and values, for which another projection stands in.

    In all windows, it does so for the first ``shared`` of ``heads`` heads; with ``windows``, for all heads: in training
    of the first so many windows of the batch, else of all, as in a batch of one patch.
    """

    taken: Tensor
    before = 0.0
    """Share of ``tokens`` that the batch has before them, where it is computed in parts."""

    def __init__(self, own: nn.Linear, other: nn.Linear, shared: int, heads: int, windows: int = 0) -> None:
        super().__init__(own.in_features, own.out_features)
        self.load_state_dict(own.state_dict())
        self.other, self.windows = (other,), windows  # a tuple, so that its parameters keep the other decoder's name
        taken = torch.zeros(3, heads, own.out_features // (3 * heads), dtype=torch.bool)
        taken[:, :shared] = True
        self.register_buffer("taken", taken.flatten(), persistent=False)
        self.requires_grad_(shared < heads or windows > 0)

    def forward(self, tokens: Tensor) -> Tensor:
        (other,) = self.other
        if self.windows:
            left = max(0, self.windows - round(self.before * len(tokens))) if self.training else len(tokens)
            return torch.cat([other(tokens[:left]), super().forward(tokens[left:])])
        weight = torch.where(self.taken[:, None], other.weight, self.weight)
        return F.linear(tokens, weight, torch.where(self.taken, other.bias, self.bias))
