"""A trained model as one file: parameters, and all that is needed to use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn

from cerraseg.config.recipes import Recipe, model_settings
from cerraseg.config.scenario import Scenario
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.signals import delay_signals
from cerraseg.core.taxonomy import LEVELS, MODALITIES
from cerraseg.models.factory import build


@dataclass(frozen=True)
class Blueprint:
    """What a model is, apart from its parameters."""

    model: str  # name that cerraseg.models.factory.build takes
    settings: Mapping[str, Any]  # the model's own settings
    modality: str  # its input bands
    level: str  # its output classes
    mean: tuple[float, ...] = ()  # subtracted from each band; empty for raw input
    std: tuple[float, ...] = ()  # divides each band; empty for raw input
    hierarchical: bool = False  # classes are decided from L1 down, see cerraseg.models.inference.decide

    @classmethod
    def from_checkpoint(cls, values: Mapping[str, Any]) -> "Blueprint":
        """Make a blueprint of a checkpoint's values; earlier versions named ``hierarchical`` ``top_down``."""
        return cls(**{"hierarchical" if key == "top_down" else key: value for key, value in values.items()})


def make_blueprint(
    scenario: Scenario, recipe: Recipe, settings: Mapping[str, Any], statistics: Mapping[str, Any]
) -> Blueprint:
    """Describe a scenario's model, with the band statistics where its recipe normalises by them."""
    bands = [statistics["bands"][band] for band in MODALITIES[scenario.modality]] if recipe.zscore else []
    return Blueprint(
        scenario.model,
        model_settings(scenario.model, settings, recipe),
        scenario.modality,
        scenario.level,
        mean=tuple(band["mean"] for band in bands),
        std=tuple(band["std"] or 1.0 for band in bands),
        hierarchical=recipe.hierarchical,
    )


class Segmenter(nn.Module):
    """A model behind its normalisation: raw pixels (B, bands, H, W) in, logits of one task or two out.

    The first of the logits are (B, classes, H, W); a model with an edge decoder gives those of interior and edge too.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        bands, classes = MODALITIES[blueprint.modality], LEVELS[blueprint.level]
        self.net = build(blueprint.model, len(bands), len(classes), blueprint.settings)
        self.hierarchical = blueprint.hierarchical
        self.register_buffer("mean", torch.tensor(blueprint.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(blueprint.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the logits of raw pixels, one tensor per task."""
        return self.logits(self.normalise(images))

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise raw pixels as the model expects them."""
        return (images - self.mean) / self.std if self.mean.numel() else images

    def logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the logits of normalised pixels, one tensor per task."""
        logits: Tensor | tuple[Tensor, ...] = self.net(images.contiguous(memory_format=torch.channels_last))
        return logits if isinstance(logits, tuple) else (logits,)


def build_model(blueprint: Blueprint, parameters: Mapping[str, Tensor]) -> Segmenter:
    """Build the model of a blueprint; raise any error of ours or torch's where the parameters do not fit it."""
    bands = len(MODALITIES[blueprint.modality])
    if {len(blueprint.mean), len(blueprint.std)} not in ({0}, {bands}) or not all(value > 0 for value in blueprint.std):
        raise ValueError(f"its mean or std are not {bands} numbers, those of std above 0")
    segmenter = Segmenter(blueprint)
    segmenter.net.load_state_dict(parameters)
    return segmenter


def save(path: str | Path, blueprint: Blueprint, parameters: Mapping[str, Tensor], training: Mapping[str, Any]) -> None:
    """Write a checkpoint; ``training`` holds plain values on how it was made: scenario, epoch, scores."""
    atomic_save(path, {"blueprint": vars(blueprint), "parameters": dict(parameters), "training": dict(training)})


def atomic_save(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values by ``torch.save``, whole or not at all."""
    with delay_signals(), atomic_write(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)  # given a path, torch would write the path's name into the file


def load(path: str | Path) -> tuple[Segmenter, Blueprint, dict[str, Any]]:
    """Read a checkpoint: the model in evaluation mode, its blueprint, and how it was trained.

    Raises:
        DataError: if the file is not a CerraSeg checkpoint or a byte of it has changed.
    """
    fault = integrity_error(path)
    try:
        if fault:
            raise BadZipFile
        content = torch.load(path, map_location="cpu", weights_only=True)
        blueprint = Blueprint.from_checkpoint(content["blueprint"])
        segmenter = build_model(blueprint, content["parameters"])
        training = dict(content["training"])
    except Exception as error:  # readers of a damaged file may raise anything
        raise DataError(
            f"{path}: not a checkpoint that CerraSeg wrote, or changed since ({fault or type(error).__name__}); "
            "expected the whole file: copy it again, or remove it and train the scenario again"
        ) from None
    return segmenter.eval(), blueprint, training


def integrity_error(path: str | Path) -> str:
    """Compare a file's parts with their checksums, which torch does not; return what is wrong, empty if nothing."""
    try:
        with ZipFile(path) as archive:
            part = archive.testzip()
    except Exception as error:  # readers of a damaged file may raise anything
        return f"it is cut short or no checkpoint ({type(error).__name__}: {error})"
    return f"its part {part} does not match its checksum" if part else ""
