"""The plan of a training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cerraseg.config.recipes import Recipe
from cerraseg.config.scenario import Scenario
from cerraseg.training.batches import Loading

Determinism = Literal["off", "warn", "strict"]


@dataclass(frozen=True)
class Plan:
    """What to train and how long.

    Attributes:
        scenario: model, modality, weighting, level, recipe and seed.
        recipe: what the scenario's recipe means for its model.
        settings: the model's own settings.
        epochs: most epochs.
        batch_size: patches per step of the optimiser.
        threads: on a CPU, torch's threads; with a GPU, all but one read batches ahead.
        devices: GPUs of a node, or processes on its CPU, that share each batch and the threads.
        nodes: of a SLURM job, which share each batch.
        loading: see :func:`cerraseg.training.batches.loaders`; batches are the same either way.
        accumulate: parts of it that are computed one after the other; batch norm and Dice see a part.
        compile: let ``torch.compile`` fuse the model's operations; needs a C++ compiler.
        pretrained: file of encoder parameters to start from, of a configuration's own model.
        determinism: ``warn`` takes the deterministic form of every operation that has one, ``strict`` refuses others,
            ``off`` takes the fastest.
        code: digest of the code, so that a resumed training never mixes two versions.
    """

    scenario: Scenario
    recipe: Recipe
    settings: Mapping[str, Any]
    epochs: int
    batch_size: int
    accumulate: int = 1
    compile: bool = False
    threads: int = field(default=1, repr=False)  # the next six: nothing that a resumed training must agree with
    devices: int = field(default=1, repr=False)
    nodes: int = field(default=1, repr=False)
    loading: Loading = field(default="auto", repr=False)
    pretrained: Path | None = field(default=None, repr=False)  # a resumed training must agree with what it holds
    determinism: Determinism = field(default="warn", repr=False)
    code: str = ""


def plan_of(told: Mapping[str, Any], pretrained: str | None = None, **further: Any) -> Plan:
    """Return the plan of a step's parameters ``scenario``, ``recipe``, ``settings`` and ``training``."""
    scenario, recipe = Scenario(**told["scenario"]), Recipe(**told["recipe"])
    file = Path(pretrained) if pretrained else None
    return Plan(scenario, recipe, told["settings"], **told["training"], pretrained=file, **further)


def fewer_at_once(plan: Plan) -> str:
    """Return what to change where a training has too little memory."""
    size, parts = plan.batch_size, plan.accumulate
    resident = ", or training.loading to streamed" if plan.loading == "resident" else ""
    return (
        f"training.batch_size is {size} and training.accumulate {parts}, so {size // parts} patches are computed at a "
        "time; expected as many as fit: set training.accumulate to a larger divisor, which leaves the optimiser its "
        f"batch, or training.batch_size to fewer{resident}; either begins the training anew"
    )
