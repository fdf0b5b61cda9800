"""State dicts of TransNuSeg as the authors released them."""

from collections.abc import Mapping

from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor

from cerraseg.models.transnuseg import PUBLISHED_NAMES, TransNuSeg, dimensions, import_published, rename


def from_published(state: Mapping[str, Tensor]) -> TransNuSeg:
    """The model of a released state dict, in evaluation mode."""
    model = TransNuSeg(**{"image_size": 128, **dimensions(state)})
    model.load_state_dict(import_published(state))
    return model.eval()


def export_published(model: TransNuSeg) -> dict[str, Tensor]:
    """Return the state dict of a ``published`` model as in released checkpoints: names, duplicates and buffers."""
    published = {ours: name for name, ours in PUBLISHED_NAMES.items()}
    state = {rename(name, published): tensor for name, tensor in model.state_dict().items()}
    for name in [name for name in state if name.startswith("layers_up2.") and ".attn.qkv." in name]:
        source = state[name.replace("layers_up2.", "layers_up.")]
        state[name.replace(".qkv.", ".shared_qkv.")] = source
    for name, module in model.named_modules():
        if isinstance(module, SwinTransformerBlock):
            block = rename(name, published)
            state[f"{block}.attn.relative_position_index"] = module.attn.relative_position_index
            if module.attn_mask is not None:
                state[f"{block}.attn_mask"] = module.attn_mask
    return state
