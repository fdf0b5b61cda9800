"""Make one checkpoint of several models whose probabilities are averaged."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import Scenario
from cerraseg.core.content import content
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.data.packed import Store
from cerraseg.data.tables import rows_of
from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Blueprint, Segmenter
from cerraseg.training.calibrate import calibrate


def write_ensemble(
    files: Sequence[Path],
    splits: Sequence[Path],
    scenario: Scenario,
    dataset: Dataset,
    store: Store,
    output: Path,
    origin: Path,
) -> None:
    """Write the checkpoint of an ensemble, calibrated on the validation part, and a list of its members.

    Args:
        files: checkpoints of the members, those of each fold together.
        splits: split table of each fold, in the same order, or the only one. The members of a fold are calibrated on
            its validation patches, which the other folds' have learnt from; the pixels of all folds are pooled.
        scenario, dataset, store: the ensemble's scenario, and the run's data.
        output, origin: checkpoint to write, and JSON with scenario, bytes and SHA-256 of each member.
    """
    models, several = [checkpoint.load(file) for file in files], len(files) // len(splits)
    parts = []
    for fold, split in enumerate(splits):
        joined = _joined(models[fold * several : (fold + 1) * several], scenario, dataset)
        parts.append((checkpoint.build_model(*joined), rows_of(split, "validation", store.header.ids)))
    blueprint, parameters = _joined(models, scenario, dataset)
    members = {str(known["scenario"]): content(file) for file, (*_, known) in zip(files, models, strict=True)}
    blueprint = replace(blueprint, calibration=calibrate(parts, store))
    checkpoint.save(output, blueprint, parameters, {"scenario": scenario.id, "members": list(members)})
    with atomic_write(origin) as part:
        listed = {id_: asdict(found) for id_, found in members.items()}
        part.write_text(json.dumps({"members": listed}, indent=2) + "\n", encoding="utf-8")
    log.info("%s averages %s", scenario.id, ", ".join(members))


def _joined(
    models: Sequence[tuple[Segmenter, Blueprint, Any]], scenario: Scenario, dataset: Dataset
) -> tuple[Blueprint, dict[str, Tensor]]:
    """Return blueprint and parameters of an ensemble without calibration."""
    members, modality, level = [blueprint for _, blueprint, _ in models], scenario.modality, scenario.level
    known = {band: values for member in members for band, values in member.statistics.items()}
    blueprint = Blueprint(
        scenario.model,
        {},
        modality,
        level,
        checkpoint.describe(dataset, modality, level),
        hierarchical=all(member.hierarchical for member in members),
        statistics=known if all(member.statistics for member in members) else {},
        members=tuple(map(vars, members)),
    )
    states = [segmenter.net.state_dict() for segmenter, *_ in models]
    return blueprint, {f"{k}.{name}": value for k, state in enumerate(states) for name, value in state.items()}
