"""What a model card is made of: the files of a scenario and of its data, the configuration, the commit."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cerraseg.config.recipes import Recipe
from cerraseg.config.scenario import Scenario
from cerraseg.core.errors import DataError
from cerraseg.core.versions import commit
from cerraseg.data.tables import read_split


@dataclass(frozen=True)
class Sources:
    """The files that a card is made of: ``history`` for a scenario that was trained, else ``origin``."""

    checkpoint: Path
    metrics: Path
    header: Path
    manifest: Path
    split: Path
    statistics: Path
    history: Path | None = None
    origin: Path | None = None


@dataclass(frozen=True)
class Run:
    """What the configuration sets for a scenario.

    Attributes:
        scenario: the scenario of the card.
        recipe: its training recipe for its model.
        settings: the model's own settings.
        training: ``epochs`` (at most) and ``batch_size``.
        split: ``scheme``, shares by part, ``seed`` and ``validation_seed``.
        label: name of the data source; data whose label has "simulated" in it is marked as such.
        train_code: digest of the training code.
        pretrained: name of the file that the encoder started from; empty where there is none.
    """

    scenario: Scenario
    recipe: Recipe
    settings: Mapping[str, Any]
    training: Mapping[str, Any]
    split: Mapping[str, Any]
    label: str
    train_code: str
    pretrained: str = ""

    @property
    def simulated(self) -> bool:
        """Whether the data is no real land."""
        return "simulated" in self.label.lower()


@dataclass(frozen=True)
class Facts:
    """Contents of the files; of the checkpoint and the split the size in bytes and the SHA-256."""

    checkpoint: tuple[int, str]
    metrics: Mapping[str, Any]
    header: Mapping[str, Any]
    manifest: Mapping[str, Any]
    split: tuple[int, str]
    parts: Mapping[str, int]
    statistics: Mapping[str, Any]
    history: pd.DataFrame | None
    origin: Mapping[str, Any]
    commit: str


def read_facts(sources: Sources, repository: Path) -> Facts:
    """Read the files, and the present commit of the source tree in ``repository``."""
    return Facts(
        checkpoint=_size_and_hash(sources.checkpoint),
        metrics=_read_json(sources.metrics),
        header=_read_json(sources.header),
        manifest=_read_json(sources.manifest),
        split=_size_and_hash(sources.split),
        parts=Counter(read_split(sources.split)["split"]),
        statistics=_read_json(sources.statistics),
        history=pd.read_csv(sources.history) if sources.history else None,
        origin=_read_json(sources.origin) if sources.origin else {},
        commit=commit(repository),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); run the step that makes it again") from None


def _size_and_hash(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
