"""The section ``ensembles`` of a configuration: which scenarios' probabilities are averaged."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from cerraseg.config.dataset import CONCAT, Dataset
from cerraseg.config.scenario import AXES, ENSEMBLE, Scenario
from cerraseg.config.suggestions import check_name, nearest
from cerraseg.core.errors import ConfigError


def members_of(
    ensembles: Mapping[str, Sequence[str]], scenarios: Iterable[Scenario], taken: Collection[str], fewest: int
) -> dict[str, list[Scenario]]:
    """Return the members of each ensemble, or raise :class:`ConfigError`.

    Args:
        ensembles: name → ids, or patterns of ids as in a shell.
        scenarios: those of the configuration.
        taken: names of models, which no ensemble may have.
        fewest: members that one must have: 1 in a cross-validation, where a scenario's folds are members, else 2.
    """
    known = {scenario.id: scenario for scenario in scenarios}
    found = {}
    for name, patterns in ensembles.items():
        where = f"ensembles.{name}"
        check_name(where, name, [*AXES["model"], *taken])
        for pattern in patterns:
            if not any(fnmatchcase(id_, pattern) for id_ in known):
                raise ConfigError(f"{where}: {pattern!r} fits the id of no scenario{nearest(pattern, known)}")
        members = [one for id_, one in known.items() if any(fnmatchcase(id_, pattern) for pattern in patterns)]
        if len(members) < fewest:
            raise ConfigError(f"{where}: {members[0].id} alone; expected several members: name more, or take it out")
        if len(levels := sorted({member.level for member in members})) > 1:
            raise ConfigError(
                f"{where}: its members have the levels {' and '.join(levels)}; expected one, as classes are averaged: "
                "make an ensemble for each level"
            )
        found[name] = members
    return found


def ensemble_of(name: str, members: Sequence[Scenario], dataset: Dataset) -> Scenario:
    """Return an ensemble's scenario: the sensors of all its members, and their weighting, or nw where they differ."""
    wanted = {sensor.name for member in members for sensor in dataset.sensors_of(member.modality)}
    sensors = [sensor for sensor in dataset.sensors if sensor in wanted]
    modality = CONCAT if len(sensors) == len(dataset.sensors) > 1 else "+".join(sensors)
    weightings = {member.weighting for member in members}
    weighting = weightings.pop() if len(weightings) == 1 else "nw"
    return Scenario(name, modality, weighting, members[0].level, ENSEMBLE, seed=0)
