"""A trained model as one file: parameters, and all that is needed to use them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn

from cerraseg.config.dataset import DEFAULT, Dataset
from cerraseg.config.normalisation import FORMULAS, constants
from cerraseg.config.recipes import Recipe, model_settings
from cerraseg.config.scenario import Scenario
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.signals import delay_signals
from cerraseg.models.factory import build
from cerraseg.models.inference import probabilities

STATISTICS = ("mean", "std", "min", "max")
"""Of a band, over the pixels of training."""


@dataclass(frozen=True)
class Blueprint:
    """What a model is, apart from its parameters."""

    model: str  # name that cerraseg.models.factory.build takes
    settings: Mapping[str, Any]  # the model's own settings
    modality: str  # its input bands
    level: str  # its output classes
    dataset: Mapping[str, Any]  # what these are, see `describe`
    mean: tuple[float, ...] = ()  # subtracted from each band; empty for raw input
    std: tuple[float, ...] = ()  # divides each band; empty for raw input
    hierarchical: bool = False  # classes are decided from the coarsest level down, see cerraseg.models.inference.decide
    statistics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # band → STATISTICS
    normalise: str = "zscore"  # of which values mean and std are, where there are any: see cerraseg.config.recipes
    calibration: Mapping[str, Any] = field(default_factory=dict)  # see cerraseg.training.calibrate; empty: none
    members: Sequence[Mapping[str, Any]] = ()  # blueprints of an ensemble's

    @classmethod
    def from_checkpoint(cls, values: Mapping[str, Any]) -> "Blueprint":
        """Make a blueprint of a checkpoint's values.

        Earlier versions named ``hierarchical`` ``top_down``; they knew CerraData-4MM alone, and kept no statistics.
        """
        given = {"hierarchical" if key == "top_down" else key: value for key, value in values.items()}
        if "dataset" not in given:
            given["dataset"] = describe(Dataset.of(DEFAULT), given["modality"], given["level"])
        return cls(**given)

    @property
    def described(self) -> Dataset:
        """The data that the model is for: the sensors of its modality, and the levels up to its own."""
        return Dataset.of(self.dataset)


def describe(dataset: Dataset, modality: str, level: str) -> dict[str, Any]:
    """Return the sensors of a model's modality and the levels up to its own, as plain values without folders."""
    names = list(dataset.levels)
    kept = {
        "sensors": [sensor.name for sensor in dataset.sensors_of(modality)],
        "levels": names[: names.index(level) + 1],
    }
    values = dataset.as_dict()
    for part, wanted in kept.items():
        values[part] = {name: given for name, given in values[part].items() if name in wanted}
        for given in values[part].values():
            del given["folders"]
            given.pop("edge_folders", None)
            given.pop("truth_folders", None)
    return values


def make_blueprint(
    scenario: Scenario, recipe: Recipe, settings: Mapping[str, Any], statistics: Mapping[str, Any], dataset: Dataset
) -> Blueprint:
    """Describe a scenario's model, its data and their ``statistics``, the contents of ``statistics.json``."""
    bands = {band: dict(statistics["bands"][band]) for band in dataset.bands(scenario.modality)}
    normalised = constants(recipe, bands)
    return Blueprint(
        scenario.model,
        model_settings(scenario.model, settings, recipe),
        scenario.modality,
        scenario.level,
        describe(dataset, scenario.modality, scenario.level),
        mean=tuple(mean for mean, _ in normalised),
        std=tuple(std for _, std in normalised),
        hierarchical=recipe.hierarchical,
        statistics=bands,
        normalise=recipe.normalise,
    )


class Segmenter(nn.Module):
    """A model behind its normalisation: raw pixels (B, bands, H, W) in, logits of one task or two out.

    A pixel without data in a band, NaN, has the mean of training there, or 0 where the checkpoint does not have it.
    The first of the logits are (B, classes, H, W); a model with an edge decoder gives those of interior and edge too.
    """

    mean: Tensor
    std: Tensor
    fill: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.kind = blueprint.normalise
        data, level = blueprint.described, blueprint.level
        self.blueprint, self.net = blueprint, self._build(blueprint)
        self.ancestors = tuple(data.ancestors(level).values()) if blueprint.hierarchical else ()
        """What :func:`cerraseg.models.inference.decide` takes; empty where a model decides at its own level alone."""
        bands, statistics = data.bands(blueprint.modality), blueprint.statistics
        means = [statistics[band]["mean"] for band in bands] if statistics else blueprint.mean
        fill = means or [0.0] * len(bands)
        for name, values in (("mean", blueprint.mean), ("std", blueprint.std), ("fill", fill)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)
        for name in ("scale", "bias"):
            values = blueprint.calibration.get(name, ())
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def _build(self, blueprint: Blueprint) -> nn.Module:
        data = blueprint.described
        parts, classes = [len(s.bands) for s in data.sensors_of(blueprint.modality)], len(data.classes(blueprint.level))
        return build(blueprint.model, parts, classes, blueprint.settings, data.patch_size)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the logits of raw pixels, one tensor per task."""
        return self.logits(self.normalise(images))

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise raw pixels as the model expects them, those without data filled."""
        images = torch.where(images.isnan(), self.fill, images)
        images = images.clamp(min=1e-6) if self.kind in ("0to1", "1to1") else images
        images = images.log() if self.kind == "1to1" else images
        return (images - self.mean) / self.std if self.mean.numel() else images

    def logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the logits of normalised pixels, one tensor per task, those of the classes calibrated."""
        classes, *edges = self.raw(images)
        return self.calibrated(classes), *edges

    def calibrated(self, logits: Tensor) -> Tensor:
        """Calibrate the raw logits of the classes, where the checkpoint has a calibration."""
        return logits.float() * self.scale + self.bias if self.scale.numel() else logits

    def raw(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the logits of normalised pixels as the network gives them."""
        logits: Tensor | tuple[Tensor, ...] = self.net(images.contiguous(memory_format=torch.channels_last))
        return logits if isinstance(logits, tuple) else (logits,)


class Ensemble(Segmenter):
    """Models of one level whose calibrated probabilities are averaged; raw logits are the logarithms of the means."""

    def _build(self, blueprint: Blueprint) -> nn.Module:
        data = blueprint.described
        members = [Segmenter(Blueprint.from_checkpoint(member)) for member in blueprint.members]
        bands, modalities = data.bands(blueprint.modality), [member.blueprint.modality for member in members]
        self.members = nn.ModuleList(members)
        self.channels = [[bands.index(band) for band in data.bands(modality)] for modality in modalities]
        return nn.ModuleList(member.net for member in members)  # whose parameters the checkpoint holds

    def normalise(self, images: Tensor) -> Tensor:
        """Return the pixels as they are: each member normalises by its own statistics."""
        return images

    def raw(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the logits of the classes; an ensemble has no edge decoder."""
        return self.with_disagreement(images)[:1]

    def with_disagreement(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the raw logits and the members' disagreement, (B, 1, H, W), from 0 to 1.

        It is the mutual information of class and member, the entropy of the mean less the mean of the entropies (N.
        Houlsby et al. 2011), which is the members' mean divergence from the ensemble (B. Lakshminarayanan et al. 2017),
        as a share of the largest that so many members and classes can have.
        """
        pairs = zip(self.members, self.channels, strict=True)
        shares = torch.stack([probabilities(member(images[:, channels])[0]) for member, channels in pairs])
        mean, entropy = shares.mean(0), torch.special.entr
        gained = entropy(mean).sum(1, keepdim=True) - entropy(shares).sum(2, keepdim=True).mean(0)
        most = math.log(max(2, min(shares.shape[0], shares.shape[2])))
        return mean.clamp_min(1e-12).log(), (gained / most).clamp(0, 1)


def build_model(blueprint: Blueprint, parameters: Mapping[str, Tensor]) -> Segmenter:
    """Build the model of a blueprint; raise any error of ours or torch's where the parameters do not fit it."""
    bands = blueprint.described.bands(blueprint.modality)
    lengths = {len(blueprint.mean), len(blueprint.std)}
    if lengths not in ({0}, {len(bands)}) or not all(value > 0 for value in blueprint.std):
        raise ValueError(f"its mean or std are not {len(bands)} numbers, those of std above 0")
    if blueprint.normalise not in ("none", *FORMULAS):
        raise ValueError(f"its normalisation {blueprint.normalise} is unknown")
    known = [blueprint.statistics[band][name] for band in bands for name in STATISTICS] if blueprint.statistics else []
    if not all(map(math.isfinite, known)):
        raise ValueError(f"its statistics are not finite numbers for {', '.join(bands)}")
    given, classes = blueprint.calibration, len(blueprint.described.classes(blueprint.level))
    lines = [given[name] for name in ("scale", "bias", "least")] if given else []
    if any(len(line) != classes or not all(map(math.isfinite, line)) for line in lines):
        raise ValueError(f"its calibration is not {classes} finite numbers each for scale, bias and least")
    segmenter = (Ensemble if blueprint.members else Segmenter)(blueprint)
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
