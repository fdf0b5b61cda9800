"""The training recipes: ``paper`` repeats the published one, errors included; ``tuned`` corrects them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import (
    AXES,
    BASELINE,
    BASELINES,
    PUBLISHED_MODELS,
    PUBLISHED_WEIGHTINGS,
    RELEASED,
    Scenario,
)
from cerraseg.core.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; the defaults are the published recipe of the U-Net (reference/README.md)."""

    # What the model gets of each band's values x: none, x; zscore, (x − mean) / std; with x at least 1e-6, 0to1,
    # (x − min) / (max − min), and 1to1, (ln x − ln mean) / ln std.
    normalise: Literal["none", "0to1", "1to1", "zscore"] = "none"
    # Whose statistics these are: the training part's, or the published ones (reference/band_statistics.json).
    normalise_by: Literal["training", "published"] = "training"
    softmax_in_loss: bool = True  # give probabilities to a cross-entropy that expects logits: softmax twice
    cross_entropy: float = 1.0  # factor of the cross-entropy
    dice: float = 0.0  # factor of the Dice loss
    dice_absent: bool = True  # let the Dice loss count classes that the batch's masks lack
    semantic: float = 1.0  # factor of the semantic task's loss
    edge: float = 0.0  # factor of the edge task's loss, for models with an edge decoder
    # Factor of the loss at each coarser level, which is added to that of the model's own before `semantic` multiplies
    # all. Such a model serves all levels and decides from the top, see cerraseg.models.inference.decide. 0: its own.
    hierarchy: float = 0.0
    crop: int = 0  # side in pixels of the squares cut at random from patches to train on; 0: whole patches
    crops: int = 0  # crops (or, with crop 0, patches) per step of the optimiser; 0: training.batch_size
    # Exponent of how often a class is drawn: by its share of the pixels to this power. Then one of its pixels is drawn,
    # and a crop (or, with crop 0, a patch) that holds it. 0: all classes alike; 1: patches and places, not classes.
    balance: float = 1.0
    augment: bool = False  # the eight flips and quarter turns of the square (D4), one at random per patch or crop
    gain: float = 0.0  # deviation of the logarithm of a factor per sensor and patch or crop
    offset: float = 0.0  # deviation of a number added per sensor and patch or crop, in standard deviations of each band
    drop_band: float = 0.0  # chance that a band of a patch or crop has the value of pixels without data
    drop_sensor: float = 0.0  # chance that all bands of a sensor have
    paste: float = 0.0  # chance that half of the classes of another patch or crop of the batch are pasted (ClassMix)
    label_smoothing: float = 0.0  # share of a pixel's label spread evenly over all classes, in the cross-entropy
    rollback: bool = True  # after every epoch, load back the best parameters so far
    # An epoch's loss is the mean over its batches' losses, by their labelled patches or pixels, or each alike.
    epoch_loss: Literal["patches", "batches", "pixels"] = "patches"
    optimizer: Literal["adam", "adamw"] = "adam"  # adam or adamw
    learning_rate: float = 1e-3  # peak value
    weight_decay: float = 0.0  # decoupled decay of adamw
    # Constant; cosine: to zero by a cosine after a linear warm-up over the first tenth of the steps; onecycle: from 4 %
    # to the peak by half a cosine over the first quarter, to zero by another.
    schedule: Literal["constant", "cosine", "onecycle"] = "constant"
    # History column that names the best epoch; a loss is minimised, a score maximised.
    select_on: Literal["val_loss", "val_semantic_loss", "val_macro_f1"] = "val_loss"
    patience: int = 50  # epochs without a better value of `select_on` before training stops
    mixed_precision: bool = False  # bfloat16 autocast on CUDA
    tf32: bool = False  # matrix products in TF32 on CUDA
    sharing: Literal["published", "heads"] = "published"  # of TransNuSeg's attention, see cerraseg.models.transnuseg
    edge_outputs: int = 0  # outputs of the edge head; 0: as many as classes
    ema: float = 0.0  # decay of the moving mean of the parameters, which is validated and kept; 0: none

    @property
    def hierarchical(self) -> bool:
        """Whether a model is trained for the coarser levels, too, and decides from the top."""
        return self.hierarchy > 0


_PAPER = Recipe()
_TUNED = replace(
    _PAPER,
    normalise="zscore",
    softmax_in_loss=False,
    dice=1.0,
    dice_absent=False,
    rollback=False,
    epoch_loss="pixels",
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=1e-2,
    schedule="cosine",
    select_on="val_macro_f1",
    mixed_precision=True,
    sharing="heads",
    edge_outputs=2,
)
_BOTH_TASKS: dict[str, Any] = {"cross_entropy": 0.4, "dice": 0.6, "semantic": 0.3, "edge": 0.35, "patience": 30}
# The published code counts its best epoch from 1 and the running one from 0, and adds up the losses of batches alike.
_TRANSNUSEG: dict[str, Any] = {"patience": 31, "epoch_loss": "batches", "tf32": True}

RECIPES: dict[str, dict[str, Recipe]] = {
    "paper": {
        "unet": _PAPER,
        "transnuseg": replace(
            _PAPER, **_BOTH_TASKS | _TRANSNUSEG, softmax_in_loss=False, rollback=False, select_on="val_semantic_loss"
        ),
    },
    "tuned": {
        "unet": _TUNED,
        "fullres": replace(
            _TUNED,
            crop=32,
            crops=16,
            balance=0.3,
            label_smoothing=0.1,
            schedule="onecycle",
            learning_rate=5e-3,
        ),
        "transnuseg": replace(_TUNED, **_BOTH_TASKS, learning_rate=1e-3),
    },
}
"""Recipe → model → how it is trained. Recipes of one's own start from these."""

_BASELINE = Recipe(
    softmax_in_loss=False,
    rollback=False,
    optimizer="adamw",
    learning_rate=1e-2,
    weight_decay=1e-2,
    schedule="onecycle",
    select_on="val_macro_f1",
)
_WINDOWS = {"windows": (3, 7)}  # sides in pixels
_OF_BASELINES: dict[str, dict[str, Any]] = {"pixel": _WINDOWS | {"hidden": (96, 96)}, "gaussian": _WINDOWS}

PATCH = 4
"""Side in pixels of the squares that become the tokens of TransNuSeg's first stage."""


def model_settings(model: str, settings: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Return all settings that ``model`` is built with, its own and the recipe's, in alphabetical order."""
    of_recipe = {"sharing": recipe.sharing, "edge_outputs": recipe.edge_outputs} if model == "transnuseg" else {}
    return dict(sorted({**_OF_BASELINES.get(model, {}), **settings, **of_recipe}.items()))


def check_heads(embed_dim: int, heads: Sequence[int]) -> None:
    """Raise :class:`ConfigError` unless TransNuSeg's attention heads divide the channels of their stages."""
    for stage, count in enumerate(heads):
        if (embed_dim << stage) % count:
            raise ConfigError(
                f"transnuseg.heads: stage {stage} has {embed_dim << stage} channels for {count} heads; expected a "
                f"multiple: change embed_dim {embed_dim} or heads {', '.join(map(str, heads))}"
            )


def check_transnuseg_size(size: int, heads: Sequence[int], window: int) -> None:
    """Raise :class:`ConfigError` unless a TransNuSeg can be built for images of ``size``."""
    if size % transnuseg_step(size, heads, window):
        least, whole = PATCH << len(heads), transnuseg_step(PATCH * window << len(heads), heads, window)
        smaller = [one for one in range(least, whole, least) if not one % transnuseg_step(one, heads, window)]
        sizes = f"{', '.join(map(str, smaller))} or " * bool(smaller)
        raise ConfigError(
            f"patch_size: {size}; transnuseg has {PATCH} pixels a token, half as many tokens at each of {len(heads)} "
            f"stages, and whole windows of {window} tokens, so it takes {sizes}a multiple of {whole}: change the "
            "dataset's patch_size, or transnuseg.window"
        )


def transnuseg_step(size: int, heads: Sequence[int], window: int) -> int:
    """Return what the sides of images must be multiples of for a TransNuSeg that is built for images of ``size``.

    At each stage the tokens are whole windows; where they are fewer than a window's side, all are one window.
    """
    windows = (min(window, max(1, size // PATCH >> stage)) for stage in range(len(heads)))
    return math.lcm(PATCH << len(heads), *(PATCH * side << stage for stage, side in enumerate(windows)))


def recipe_of(scenario: Scenario, recipes: Mapping[str, Mapping[str, Recipe]]) -> Recipe:
    """Return a scenario's recipe for its model: released models have the paper's, custom models the U-Net's."""
    if scenario.recipe == BASELINE:
        return _BASELINE
    by_model = recipes["paper" if scenario.recipe == RELEASED else scenario.recipe]
    return by_model.get(scenario.model, by_model["unet"])


def check_recipe(scenario: Scenario, recipe: Recipe, dataset: Dataset) -> None:
    """Raise :class:`ConfigError` unless a recipe makes sense, in itself and with its scenario's level and weighting."""
    where, name = f"scenarios: {scenario.id}", scenario.recipe
    ours = scenario.model in BASELINES, scenario.weighting == "nw"
    if (name == BASELINE or ours[0]) and not (name == BASELINE and all(ours)):
        raise ConfigError(
            f"{where}: recipe {BASELINE} is for {' and '.join(BASELINES)} with weighting nw alone, and they have no "
            f"other; take it out: baselines: [{', '.join(BASELINES)}] adds them to each modality and level"
        )
    if name == RELEASED and scenario.weighting not in PUBLISHED_WEIGHTINGS:
        raise ConfigError(
            f"{where}: the authors released no model with weighting {scenario.weighting}; expected one of "
            f"{', '.join(PUBLISHED_WEIGHTINGS)}: take the scenario out, or train it with another recipe"
        )
    if name == RELEASED and scenario.model in set(AXES["model"]) - {*PUBLISHED_MODELS}:
        raise ConfigError(
            f"{where}: the authors released no model {scenario.model}; expected {' or '.join(PUBLISHED_MODELS)}: take "
            "the scenario out, or train it with another recipe"
        )
    _check_crops(where, scenario, recipe, dataset)
    if recipe.hierarchical and not dataset.ancestors(scenario.level):
        able = [level for level in dataset.levels if dataset.ancestors(level)]
        raise ConfigError(
            f"{where}: recipe {name} has hierarchy {recipe.hierarchy:g}, which adds a loss at coarser levels, and "
            f"{scenario.level} has none; expected one of {', '.join(able) or 'no level, as no class names a parent'}: "
            f"take {scenario.level} out for it, or set recipes.{name}.hierarchy to 0"
        )
    if recipe.hierarchical and recipe.softmax_in_loss:
        raise ConfigError(
            f"{where}: recipe {name} has hierarchy {recipe.hierarchy:g} and softmax_in_loss, whose outputs are no "
            f"probabilities to add up by class; expected one of them: set recipes.{name}.softmax_in_loss to false"
        )
    if recipe.ema and recipe.rollback:
        raise ConfigError(
            f"recipes.{name}: ema {recipe.ema:g} together with rollback, which loads the kept parameters back; "
            "expected one of them: set rollback: false, or ema: 0"
        )
    if scenario.edges and recipe.edge_outputs == 1:
        raise ConfigError(
            f"recipes.{name}.edge_outputs: 1 leaves no output for the edges; expected 2, or 0 for as many as classes"
        )
    if scenario.weighting == "focal" and recipe.softmax_in_loss:
        raise ConfigError(
            f"{where}: weighting focal turns to pixels that are not yet sure, but with softmax_in_loss (recipe {name}) "
            "none gets surer than about a third; expected another weighting, or a recipe without softmax_in_loss"
        )


def _check_crops(where: str, scenario: Scenario, recipe: Recipe, dataset: Dataset) -> None:
    """Raise :class:`ConfigError` unless a recipe's crops, draws and labels suit patches, model and weighting."""
    key, size = f"recipes.{scenario.recipe}", dataset.patch_size
    faults = {
        f"{key}.crop: {recipe.crop} pixels; expected 16 to the patch size, {size}, or 0 for whole patches": (
            recipe.crop and not 16 <= recipe.crop <= size
        ),
        f"{where}: {key}.crop is {recipe.crop}, but transnuseg is trained on images of the size that it is built for, "
        f"{size}; expected 0, with which balance draws whole patches: give it a recipe of its own": (
            scenario.model == "transnuseg" and recipe.crop not in (0, size)
        ),
        f"{key}.normalise: 1to1 takes logarithms, on which gain {recipe.gain:g} and offset {recipe.offset:g} are not "
        "defined; expected both 0, or another normalisation": (
            recipe.normalise == "1to1" and (recipe.gain or recipe.offset)
        ),
        f"{where}: weighting rare draws patches by their classes, as {key}.balance {recipe.balance:g} does; expected "
        "one of them: another weighting, or balance: 1": scenario.weighting == "rare" and recipe.balance != 1,
        f"{where}: weighting focal needs one true class a pixel, and {key}.label_smoothing is "
        f"{recipe.label_smoothing:g}; expected one of them: another weighting, or label_smoothing: 0": (
            scenario.weighting == "focal" and recipe.label_smoothing
        ),
    }
    for words in (words for words, found in faults.items() if found):
        raise ConfigError(words)


def check_accumulate(key: str, batch: int, accumulate: int) -> None:
    """Raise :class:`ConfigError` unless ``accumulate`` cuts the batch that ``key`` sets into equal parts."""
    if batch % accumulate:
        raise ConfigError(
            f"training.accumulate: {accumulate} does not divide {key} {batch}; expected equal parts: change one of them"
        )


def with_custom(custom: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Recipe]]:
    """Return the built-in recipes and ``custom``, name → ``from`` (a recipe named before) and the changed fields."""
    recipes = dict(RECIPES)
    for name, changes in custom.items():
        fields = {key: value for key, value in changes.items() if key != "from"}
        recipes[name] = {model: replace(recipe, **fields) for model, recipe in recipes[changes["from"]].items()}
    return recipes
