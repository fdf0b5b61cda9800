"""The plan of a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cerraseg.config.custom_models import Pretrained
from cerraseg.config.dataset import Dataset
from cerraseg.config.recipes import Recipe
from cerraseg.config.scenario import Scenario
from cerraseg.training.batches import Loading

Determinism = Literal["off", "warn", "strict"]


@dataclass(frozen=True)
class Plan:
    """What to train and how long."""

    scenario: Scenario
    recipe: Recipe  # what the scenario's recipe means for its model
    settings: Mapping[str, Any]  # the model's own
    dataset: Dataset = field(repr=False)  # a training depends on it but for names and colours, see train.described
    epochs: int  # at most
    batch_size: int  # patches per step of the optimiser, where the recipe does not say, and of validation
    epoch_steps: int = 0  # steps of the optimiser per epoch; 0: as many as see the pixels of the training part once
    accumulate: int = 1  # parts of it that are computed one after the other; batch norm and Dice see a part
    compile: bool = False  # let torch.compile fuse the model's operations; needs a C++ compiler
    # The next six: nothing that a resumed training must agree with, but for what the file of parameters holds.
    threads: int = field(default=1, repr=False)  # of torch on a CPU; with a GPU, all but one read batches ahead
    devices: int = field(default=1, repr=False)  # GPUs of a node, or processes on its CPU, that share batch and threads
    nodes: int = field(default=1, repr=False)  # of a SLURM job, which share each batch
    loading: Loading = field(default="auto", repr=False)  # see batches.loaders; batches are the same either way
    pretrained: tuple[Pretrained, ...] = field(default=(), repr=False)  # what encoders of custom models start from
    determinism: Determinism = field(default="warn", repr=False)  # take deterministic forms; strict: refuse other ones
    code: str = ""  # digest of the code, so that a resumed training never mixes two versions

    @property
    def batch(self) -> int:
        """How many patches or crops a step of the optimiser sees."""
        return self.recipe.crops or self.batch_size

    @property
    def coarser(self) -> dict[str, tuple[int, ...]]:
        """The coarser levels that a hierarchical model is trained for, too, see :meth:`Dataset.ancestors`."""
        return self.dataset.ancestors(self.scenario.level) if self.recipe.hierarchical else {}


def plan_of(told: Mapping[str, Any], dataset: Dataset, files: Sequence[str] | None, **further: Any) -> Plan:
    """Return the plan of a step's parameters ``scenario``, ``recipe``, ``settings``, ``training`` and ``pretrained``.

    ``files`` are those of the encoders' parameters.
    """
    scenario, recipe = Scenario(**told["scenario"]), Recipe(**told["recipe"])
    sources = tuple(Pretrained(file, *of[1:]) for file, of in zip(files or (), told["pretrained"], strict=True))
    return Plan(scenario, recipe, told["settings"], dataset, **told["training"], pretrained=sources, **further)


def fewer_at_once(plan: Plan) -> str:
    """Return what to change where a training has too little memory."""
    size, parts = plan.batch, plan.accumulate
    key, what = ("recipes.<name>.crops", "crops") if plan.recipe.crops else ("training.batch_size", "patches")
    resident = ", or training.loading to streamed" if plan.loading == "resident" else ""
    return (
        f"{key} is {size} and training.accumulate {parts}, so {size // parts} {what} are computed at a "
        "time; expected as many as fit: set training.accumulate to a larger divisor, which leaves the optimiser its "
        f"batch, or {key} to fewer{resident}; either begins the training anew"
    )
