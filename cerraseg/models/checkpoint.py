"""A trained model as one file: parameters, and all that is needed to use them."""

import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from cerraseg.config.recipes import Recipe, model_settings
from cerraseg.config.scenario import Scenario
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.signals import delay_signals
from cerraseg.core.taxonomy import LEVELS, MODALITIES
from cerraseg.models.factory import build

_SPARE = 50_000_000  # parameters
_LARGEST = 1 << 14  # channels, heads, pixels: what a setting of a model counts


@dataclass(frozen=True)
class Blueprint:
    """What a model is, apart from its parameters.

    Attributes:
        model: name in ``cerraseg.models.factory.MODELS``.
        settings: the model's own settings.
        modality: its input bands.
        level: its output classes.
        mean: subtracted from each band; empty for raw input.
        std: divides each band; empty for raw input.
        hierarchical: whether its classes are decided from L1 down, see :func:`cerraseg.models.inference.decide`.
    """

    model: str
    settings: Mapping[str, Any]
    modality: str
    level: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    hierarchical: bool = False

    @classmethod
    def from_checkpoint(cls, values: Mapping[str, Any]) -> "Blueprint":
        """Make a blueprint from the values in a checkpoint; earlier ones name ``hierarchical`` ``top_down``."""
        return cls(**{"hierarchical" if key == "top_down" else key: value for key, value in values.items()})


def make_blueprint(
    scenario: Scenario, recipe: Recipe, settings: Mapping[str, Any], statistics: Mapping[str, Any]
) -> Blueprint:
    """The blueprint of a scenario's model, with the band statistics where its recipe normalises by them."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    if recipe.zscore:
        bands = [statistics["bands"][band] for band in MODALITIES[scenario.modality]]
        mean = tuple(band["mean"] for band in bands)
        std = tuple(band["std"] or 1.0 for band in bands)
    complete = model_settings(scenario.model, settings, recipe)
    return Blueprint(
        scenario.model, complete, scenario.modality, scenario.level, mean, std, hierarchical=recipe.hierarchical
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
        """Logits of raw pixels, one tensor a task."""
        return self.logits(self.normalise(images))

    def normalise(self, images: Tensor) -> Tensor:
        """What the model sees of raw pixels."""
        return (images - self.mean) / self.std if self.mean.numel() else images

    def logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of normalised pixels, one tensor a task."""
        logits: Tensor | tuple[Tensor, ...] = self.net(images.contiguous(memory_format=torch.channels_last))
        return logits if isinstance(logits, tuple) else (logits,)


def save(path: str | Path, blueprint: Blueprint, parameters: Mapping[str, Tensor], training: Mapping[str, Any]) -> None:
    """Write a checkpoint. ``training`` says how it came about, in plain values: scenario, epoch, scores."""
    atomic_save(path, {"blueprint": vars(blueprint), "parameters": dict(parameters), "training": dict(training)})


def add_facts(source: Path, path: str | Path, **facts: Any) -> None:
    """Copy a checkpoint, with further facts about its training."""
    content = torch.load(source, map_location="cpu", weights_only=True)
    content["training"] |= facts
    atomic_save(path, content)


def atomic_save(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values as torch does; a signal to end is heard when the file is whole."""
    with delay_signals(), atomic_write(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)  # given a name, torch would write it into the file


def integrity_error(path: str | Path) -> str:
    """What is wrong with the bytes of a file that torch wrote; empty where each part matches its checksum.

    torch writes the checksums and passes over them when it reads: a changed byte would be a changed parameter.
    """
    try:
        with ZipFile(path) as archive:
            part = archive.testzip()
    except (OSError, BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error) as error:
        return f"it is cut short or no checkpoint ({type(error).__name__}: {error})"
    return f"its part {part} does not match its checksum" if part else ""


def load(path: str | Path) -> tuple[Segmenter, Blueprint, dict[str, Any]]:
    """Read a checkpoint: the model in evaluation mode, its blueprint, and how it was trained.

    Raises:
        DataError: if the file is not a CerraSeg checkpoint or a byte of it has changed.
    """
    fault = integrity_error(path)
    try:
        if fault:
            raise BadZipFile(fault)
        content = torch.load(path, map_location="cpu", weights_only=True)
        blueprint = Blueprint.from_checkpoint(content["blueprint"])
        segmenter = build_model(blueprint, content["parameters"])
        training = dict(content["training"])
    except Exception as error:  # a damaged file makes the readers trip over anything
        raise DataError(
            f"{path}: not a checkpoint that CerraSeg wrote, or no longer as it did ({fault or type(error).__name__}); "
            "expected the whole file: copy it again, or remove it and train the scenario again"
        ) from None
    return segmenter.eval(), blueprint, training


def build_model(blueprint: Blueprint, parameters: Mapping[str, Tensor]) -> Segmenter:
    """The model of a blueprint, which may be a stranger's, with these parameters.

    Raises what the model's builder does, RuntimeError where names or shapes differ, and ValueError where the blueprint
    asks for a far larger model than the parameters, before memory is taken for it, or its statistics fit no bands.
    """
    bands = len(MODALITIES[blueprint.modality])
    sound = all(map(math.isfinite, (*blueprint.mean, *blueprint.std))) and all(value > 0 for value in blueprint.std)
    if not sound or {len(blueprint.mean), len(blueprint.std)} not in ({0}, {bands}):
        raise ValueError(f"its mean or std are not {bands} finite numbers, those of std above 0")
    if any(number > _LARGEST for number in _numbers(blueprint.settings)):
        raise ValueError(f"a setting is above {_LARGEST}, which no model has")
    with _no_more_than(sum(tensor.numel() for tensor in parameters.values())):
        segmenter = Segmenter(blueprint)
    segmenter.net.load_state_dict(parameters)
    return segmenter


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(part)
    elif isinstance(value, int | float):
        yield value


@contextmanager
def _no_more_than(numbers: int) -> Iterator[None]:
    """Stop the building of a model far larger than ``numbers``: memory is taken as its parameters are filled.

    Not of one somewhat larger, as builders replace layers and drop heads.
    """
    left = 4 * numbers + _SPARE

    def count(_module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal left
        left -= 0 if parameter is None else parameter.numel()
        if left < 0:
            raise ValueError(
                f"the model that it describes is far larger than the {numbers:,} numbers of the file ({name})"
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
