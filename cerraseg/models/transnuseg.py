"""TransNuSeg (He et al. 2023, MICCAI): a Swin encoder, a semantic and an edge Swin decoder that share attention."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.layers.weight_init import trunc_normal_
from timm.models.swin_transformer import SwinTransformerBlock, WindowAttention
from torch import Tensor, nn

from cerraseg.config.recipes import PATCH, check_heads, check_transnuseg_size, transnuseg_step
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.models.transnuseg_blocks import Down, Expand, SharedLinear, Stage, TokenMLP, Up

_WINDOWS = 32
"""Windows of a batch that the published code shares: half the tokens of a window, counted along the wrong axis."""


class TransNuSeg(nn.Module):
    """Images (B, channels, H, W) in; semantic (B, classes, H, W) and edge logits (B, edge_outputs, H, W) out.

    H and W are multiples of ``step``: of 128 with three stages and windows of 8; of 64 or 32 where it is built for
    images of that size. Two ways of sharing attention:

    ``published``: every head of the edge decoder uses query, key and value of the semantic decoder's projection, in
    training in the first 32 windows of the batch alone, as the published code does. In evaluation all windows do, as
    there at batch size 1, so that no patch depends on its batch. Parameters of the released checkpoints that compute
    nothing are kept. In training the encoder runs once for each decoder, as published.

    ``heads``: half of the heads are shared, the rest are the edge decoder's own, as in the paper.

    Args:
        channels: input bands.
        classes: semantic outputs.
        image_size: side of the images; a stage with fewer tokens than a window's side is one window of these, and a
            stage that is a single window does not shift it.
        embed_dim: channels of the first stage; each later one has twice as many.
        heads: attention heads of each stage.
        window: side of the attention windows in tokens.
        drop_path: largest rate of stochastic depth (Huang et al. 2016, ECCV); it grows with depth.
        sharing: how the decoders share attention.
        edge_outputs: outputs of the edge head: 0 is interior, 1 is edge; None: as many as ``classes``.

    Raises:
        ConfigError: if the heads do not divide their channels or the windows do not divide the image.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        image_size: int,
        embed_dim: int = 96,
        heads: Sequence[int] = (3, 6, 12),
        window: int = 8,
        drop_path: float = 0.1,
        sharing: Literal["published", "heads"] = "published",
        edge_outputs: int | None = None,
    ) -> None:
        super().__init__()
        check_heads(embed_dim, heads)
        self.sharing, self.size = sharing, (image_size, image_size)
        check_transnuseg_size(image_size, heads, window)
        self.step = transnuseg_step(image_size, heads, window)
        rates = torch.linspace(0, drop_path, 2 * len(heads) + 2).tolist()  # two for each stage, the deepest too
        stages = [
            Stage(embed_dim << n, (image_size // PATCH >> n,) * 2, count, window, (rates[2 * n], rates[2 * n + 1]))
            for n, count in enumerate(heads)
        ]
        deepest = embed_dim << len(heads)
        self.patch_embed = PatchEmbed(
            None, PATCH, channels, embed_dim, norm_layer=nn.LayerNorm, output_fmt="NHWC", strict_img_size=False
        )
        self.layers = nn.ModuleList([*map(Down, stages), TokenMLP(deepest, rates[-2])])
        self.norm = nn.LayerNorm(deepest)
        self.semantic = _Decoder(stages, classes)
        self.edge = _Decoder(stages, edge_outputs or classes)
        self.apply(_initialise)
        self.edge.share(self.semantic, whole=sharing == "published")
        if sharing == "published":
            joins = [nn.Identity(), *(nn.Linear(2 * stage.dim, stage.dim) for stage in stages[::-1])]
            self.unused = nn.ModuleDict({"norm2": nn.LayerNorm(deepest), "concat_back_dim3": nn.ModuleList(joins)})
            nn.ModuleList(joins[1:-1]).requires_grad_(False)  # there, second names of the edge decoder's

    def skip(self, share: float) -> None:
        """Set how many patches a batch in parts has before those of the next pass, as a share of the latter."""
        for attention in self.edge._attention():
            attention.qkv.before = share  # type: ignore[assignment]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute semantic and edge logits; raise :class:`ConfigError` if the windows do not divide the images."""
        self._set_size((images.shape[-2], images.shape[-1]))
        features = self._encode(images)
        semantic = self.semantic(*features)
        if self.training and self.sharing == "published":
            features = self._encode(images)
        return semantic, self.edge(*features)

    def _encode(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        tokens, skips = self.patch_embed(images), []
        for layer in self.layers:
            skips.append(tokens)
            tokens = layer(tokens)
        return self.norm(tokens), skips[:-1]

    def _set_size(self, size: tuple[int, int]) -> None:
        if size == self.size:
            return
        self._check_size(*size)
        self.size = size
        for block in (module for module in self.modules() if isinstance(module, SwinTransformerBlock)):
            stage = self.semantic.dims[::-1].index(block.dim)
            block.input_resolution = (size[0] // PATCH >> stage, size[1] // PATCH >> stage)
            block._init_buffers()

    def _check_size(self, height: int, width: int) -> None:
        if height % self.step or width % self.step:
            raise ConfigError(
                f"transnuseg: images of {height} x {width} pixels; expected a multiple of {self.step} "
                f"({PATCH} pixels a token, half as many tokens at each stage, whole windows)"
            )


class _Decoder(nn.Module):
    def __init__(self, stages: Sequence[Stage], outputs: int) -> None:
        super().__init__()
        up = stages[::-1]
        self.dims = [stage.dim for stage in up]
        first: list[nn.Module] = [Expand(2 * up[0].dim, 2, up[0].dim)]
        self.stages = nn.ModuleList([*first, *(Up(stage, stage is up[-1]) for stage in up)])
        self.joins = nn.ModuleList([nn.Identity(), *(nn.Linear(2 * dim, dim) for dim in self.dims)])
        self.norm = nn.LayerNorm(up[-1].dim)
        self.expand = Expand(up[-1].dim, PATCH, up[-1].dim)
        self.output = nn.Conv2d(up[-1].dim, outputs, 1, bias=False)

    def forward(self, tokens: Tensor, skips: Sequence[Tensor]) -> Tensor:
        tokens = self.stages[0](tokens)
        for stage, join, skip in zip(self.stages[1:], self.joins[1:], skips[::-1], strict=True):
            tokens = stage(join(torch.cat([tokens, skip], -1)))
        return self.output(self.expand(self.norm(tokens)).permute(0, 3, 1, 2))

    def share(self, other: "_Decoder", whole: bool) -> None:
        """Use ``other``'s projections for all heads, or for half of them."""
        for mine, theirs in zip(self._attention(), other._attention(), strict=True):
            shared = mine.num_heads if whole else max(1, mine.num_heads // 2)
            mine.qkv = SharedLinear(mine.qkv, theirs.qkv, shared, mine.num_heads, _WINDOWS if whole else 0)

    def _attention(self) -> list[WindowAttention]:
        return [module for module in self.modules() if isinstance(module, WindowAttention)]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


_PARTS = {"layers_up": "stages", "concat_back_dim": "joins", "norm_up": "norm", "up": "expand", "output": "output"}
PUBLISHED_NAMES = {
    **{published: f"semantic.{ours}" for published, ours in _PARTS.items()},
    **{f"{published}2": f"edge.{ours}" for published, ours in _PARTS.items()},
    **{name: f"unused.{name}" for name in ("norm2", "concat_back_dim3")},
}
"""First part of a published name → its name here; other names are the same."""


def dimensions(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Infer the arguments of :class:`TransNuSeg` from the shapes of a published state dict."""
    table = r"layers\.\d+\.blocks\.0\.attn\.relative_position_bias_table"
    tables = [name for name in state if re.fullmatch(table, name)]
    window = (math.isqrt(state[tables[0]].shape[0]) + 1) // 2 if tables else 8
    masks = state.get("layers.0.blocks.1.attn_mask")
    embed_dim, channels, *_ = state["patch_embed.proj.weight"].shape
    return {
        "channels": channels,
        "classes": state["output.weight"].shape[0],
        "embed_dim": embed_dim,
        "heads": [state[name].shape[1] for name in sorted(tables)],
        "window": window,
        "edge_outputs": state["output2.weight"].shape[0],
        **({} if masks is None else {"image_size": PATCH * window * math.isqrt(len(masks))}),
    }


def import_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a published state dict to the names used here, without entries that follow from others."""
    renamed = {}
    for name, tensor in state.items():
        if ".shared_qkv." in name:  # a second name of the semantic decoder's projection
            source = name.replace("layers_up2.", "layers_up.").replace(".shared_qkv.", ".qkv.")
            if not torch.equal(tensor, state[source]):
                raise DataError(f"{name} differs from {source}; expected one projection under two names")
        elif not name.endswith(("relative_position_index", "attn_mask")):  # buffers
            renamed[rename(name, PUBLISHED_NAMES)] = tensor
    return renamed


def rename(name: str, names: Mapping[str, str]) -> str:
    """Replace the first part of a name by that in ``names``."""
    return next((new + name[len(old) :] for old, new in names.items() if name.startswith(f"{old}.")), name)
