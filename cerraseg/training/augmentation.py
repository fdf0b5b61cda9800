"""Augmentation of a batch on its device, drawn from torch's generator of the CPU.

Draws are for the whole batch, as one process would make them, and images are those that a process holds of it.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from cerraseg.config.recipes import Recipe
from cerraseg.core.taxonomy import IGNORE
from cerraseg.models.checkpoint import Blueprint, Segmenter


def augment(images: Tensor, masks: Tensor, held: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Turn each patch by one of the eight symmetries of the square (D4).

    Masks are (B, layers, S, S), images (C, S, S) each those of ``held``.
    """
    drawn = _sent(torch.randint(8, (len(masks),)), masks.device)
    places = _places(masks.shape[-1], masks.device)[drawn]
    return _taken(images, places[held]), _taken(masks, places)


@lru_cache(maxsize=4)
def _places(size: int, device: torch.device) -> Tensor:
    """Return which pixel each one becomes under each symmetry: (8, size · size) int64, row-major."""
    square = torch.arange(size * size, device=device).view(size, size)
    turned = [torch.rot90(square, k) for k in range(4)]
    return torch.stack([*turned, *(one.flip(-1) for one in turned)]).flatten(1)


def _taken(squares: Tensor, places: Tensor) -> Tensor:
    index = places[:, None].expand(-1, squares.shape[1], -1)
    return squares.flatten(2).gather(2, index).view(squares.shape)


def _sent(drawn: Tensor, device: torch.device) -> Tensor:
    """Copy what was drawn to a device, without waiting for a GPU."""
    return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn.to(device)


def paste(images: Tensor, masks: Tensor, chance: float) -> tuple[Tensor, Tensor]:
    """Paste half of the classes of another patch of the batch onto a patch, images and masks, with a ``chance``.

    ClassMix (V. Olsson et al. 2021, WACV), here with true masks. Of n classes n // 2 are pasted, so that a patch of one
    class is pasted nowhere. Images are (B, C, H, W), masks (B, layers, H, W), classes in the first layer.
    """
    patches = len(masks)
    if patches < 2:
        return images, masks
    other = (torch.arange(patches) + torch.randint(1, patches, (patches,))) % patches
    score, onto = torch.rand(patches, IGNORE + 1), torch.rand(patches, 1) < chance
    other, score, onto = (_sent(drawn, masks.device) for drawn in (other, score, onto))
    theirs = masks[other]
    classes = theirs[:, 0].flatten(1).long()
    present = torch.zeros_like(score, dtype=torch.bool).scatter_(1, classes, True)
    present[:, IGNORE] = False
    rank = score.masked_fill(~present, -1).argsort(1, descending=True).argsort(1)
    chosen = onto & (rank < present.sum(1, keepdim=True) // 2)
    pasted = chosen.gather(1, classes).view_as(theirs[:, :1])
    return torch.where(pasted, images[other], images), torch.where(pasted, theirs, masks)


class Radiometry(nn.Module):
    """Change the radiometry of each patch by sensor, and lose bands and sensors, in normalised images.

    A sensor's values are multiplied by exp(``gain`` · z) in the units of the files, and ``offset`` · z standard
    deviations of each band are added, z normal. Each band is lost with the chance ``drop_band`` and each sensor with
    ``drop_sensor``, which leaves the value of pixels without data; where nothing would be left, nothing is lost.
    """

    sensor: Tensor
    zero: Tensor
    unit: Tensor
    lost: Tensor

    def __init__(self, recipe: Recipe, blueprint: Blueprint, segmenter: Segmenter) -> None:
        super().__init__()
        self.recipe, data = recipe, blueprint.described
        parts = [len(sensor.bands) for sensor in data.sensors_of(blueprint.modality)]
        deviations = [blueprint.statistics[band]["std"] for band in data.bands(blueprint.modality)]
        raw = torch.tensor([[0.0] * sum(parts), deviations, [torch.nan] * sum(parts)])[:, :, None, None]
        zero, one, lost = torch.split(segmenter.normalise(raw), 1)  # a line in the values, see check_recipe
        sensor = torch.arange(len(parts)).repeat_interleave(torch.tensor(parts))
        for name, values in (("sensor", sensor), ("zero", zero), ("unit", one - zero), ("lost", lost)):
            self.register_buffer(name, values, persistent=False)
        self.sensors = len(parts)
        self.needed = any((recipe.gain, recipe.offset, recipe.drop_band, recipe.drop_sensor))

    def forward(self, images: Tensor, patches: int, held: slice = slice(None)) -> Tensor:
        """Return changed images (C, H, W) each, those of ``held`` in a batch of so many patches."""
        recipe, bands, device = self.recipe, len(self.sensor), images.device
        drawn = torch.cat([torch.randn(patches, 2 * self.sensors), torch.rand(patches, self.sensors + bands)], 1)
        drawn = _sent(drawn, device)[held, :, None, None]
        parts = torch.split(drawn, [self.sensors] * 3 + [bands], 1)
        gain, offset, sensor = (part[:, self.sensor] for part in parts[:3])
        gain = (recipe.gain * gain).exp()
        shift = self.zero * (1 - gain) + recipe.offset * offset * self.unit
        gone = (sensor < recipe.drop_sensor) | (parts[3] < recipe.drop_band)
        gone &= ~gone.all(1, keepdim=True)
        return torch.addcmul(torch.where(gone, self.lost, shift), images, gain.masked_fill(gone, 0))
