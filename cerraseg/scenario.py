"""A scenario: what is trained on what, how, and what it is called everywhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from cerraseg.errors import ConfigError

AXES: dict[str, tuple[str, ...]] = {
    "model": ("unet",),
    "modality": ("msi", "sar", "concat"),
    "weighting": ("nw", "w"),
    "level": ("l1", "l2"),
    "recipe": ("paper", "tuned"),
}
"""Axis → its values, in the order of a scenario's id; the seed comes last."""


@dataclass(frozen=True)
class Scenario:
    """One experiment: model × modality × weighting × level × recipe × seed."""

    model: str
    modality: str
    weighting: str
    level: str
    recipe: str
    seed: int

    @property
    def id(self) -> str:
        """Name used in every path, such as ``unet-concat-nw-l1-paper-666``."""
        return f"{self.model}-{self.modality}-{self.weighting}-{self.level}-{self.recipe}-{self.seed}"


def parse(name: str) -> Scenario:
    """Read a scenario from its id.

    Raises:
        ConfigError: if the id does not have six parts or a part is not a value of its axis.
    """
    form = "-".join(AXES) + "-seed"
    *parts, seed = name.split("-")
    if len(parts) != len(AXES) or not seed.isdigit():
        raise ConfigError(f"scenario {name!r}: expected the form {form}, such as unet-concat-nw-l1-paper-666")
    for (axis, values), part in zip(AXES.items(), parts, strict=True):
        if part not in values:
            raise ConfigError(f"scenario {name!r}: {axis} {part!r} is unknown; allowed: {', '.join(values)}")
    model, modality, weighting, level, recipe = parts
    return Scenario(model, modality, weighting, level, recipe, int(seed))


def expand(crossed: Mapping[str, Sequence[str]], seeds: Iterable[int], extra: Iterable[str] = ()) -> list[Scenario]:
    """Cross the axes' value lists (keyed by axis) and the seeds, then add the scenarios in ``extra``, each once."""
    names = ("-".join(map(str, values)) for values in product(*(crossed[axis] for axis in AXES), seeds))
    return list(dict.fromkeys(map(parse, [*names, *extra])))
