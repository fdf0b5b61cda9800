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
    """What the configuration says of a scenario.

    Attributes:
        scenario: whose card it is.
        recipe: what the scenario's recipe means for its model.
        settings: the model's own settings.
        training: ``epochs`` (at most) and ``batch_size``.
        split: ``scheme``, shares by part, ``seed`` and ``validation_seed``.
        label: what the data is called; if it says "simulated", so does the card.
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
    """What the files and the machine say; the checkpoint and the split as texts with their hashes."""

    checkpoint: str
    metrics: Mapping[str, Any]
    header: Mapping[str, Any]
    manifest: Mapping[str, Any]
    split: str
    parts: Mapping[str, int]
    statistics: Mapping[str, Any]
    history: pd.DataFrame | None
    origin: Mapping[str, Any]
    commit: str


def gather(sources: Sources, repository: Path) -> Facts:
    """Read the files, and the commit that ``repository`` is at now, which need not be that of the training."""
    return Facts(
        checkpoint=_hashed(sources.checkpoint),
        metrics=_read(sources.metrics),
        header=_read(sources.header),
        manifest=_read(sources.manifest),
        split=_hashed(sources.split),
        parts=Counter(read_split(sources.split)["split"]),
        statistics=_read(sources.statistics),
        history=pd.read_csv(sources.history) if sources.history else None,
        origin=_read(sources.origin) if sources.origin else {},
        commit=commit(repository),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); run the step that makes it again") from None


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return f"{path.stat().st_size:,} bytes, SHA-256 `{hashlib.file_digest(file, 'sha256').hexdigest()}`"
