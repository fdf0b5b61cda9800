"""The training recipes as a table: ``paper`` repeats the published one, faults included; ``tuned`` mends them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. Every field is one arm that can be compared on its own.

    Attributes:
        zscore: feed (x − mean) / std per band of the training split; else the raw values.
        softmax_in_loss: give probabilities to a cross-entropy that expects logits, i.e. apply softmax twice.
        dice: add the Dice loss over the classes present in the batch to the cross-entropy.
        augment: the eight flips and quarter turns of the square (D4), one at random per patch.
        rollback: after every epoch, load back the best parameters so far.
        batch_mean_loss: an epoch's loss is the mean over batches, however few pixels the last one has.
        optimizer: ``adam`` or ``adamw``.
        learning_rate: peak value.
        weight_decay: decoupled decay of ``adamw``.
        schedule: ``constant``, or ``cosine`` to zero after a linear warm-up over the first tenth of the steps.
        select_on: history column that names the best epoch; a loss is minimised, a score maximised.
        patience: epochs without a better value of ``select_on`` before training stops.
        mixed_precision: bfloat16 autocast on CUDA.
    """

    zscore: bool
    softmax_in_loss: bool
    dice: bool
    augment: bool
    rollback: bool
    batch_mean_loss: bool
    optimizer: Literal["adam", "adamw"]
    learning_rate: float
    weight_decay: float
    schedule: Literal["constant", "cosine"]
    select_on: Literal["val_loss", "val_macro_f1"]
    patience: int
    mixed_precision: bool


RECIPES: dict[str, Recipe] = {
    # As published with CerraData-4MM (reference/README.md, "The published recipe").
    "paper": Recipe(
        zscore=False,
        softmax_in_loss=True,
        dice=False,
        augment=False,
        rollback=True,
        batch_mean_loss=True,
        optimizer="adam",
        learning_rate=1e-3,
        weight_decay=0.0,
        schedule="constant",
        select_on="val_loss",
        patience=50,
        mixed_precision=False,
    ),
    "tuned": Recipe(
        zscore=True,
        softmax_in_loss=False,
        dice=True,
        augment=True,
        rollback=False,
        batch_mean_loss=False,
        optimizer="adamw",
        learning_rate=2e-3,
        weight_decay=1e-2,
        schedule="cosine",
        select_on="val_macro_f1",
        patience=50,
        mixed_precision=True,
    ),
}
