"""What a model card is made of: the files of a scenario and of its data, and its configuration."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerraseg.config.recipes import Recipe
from cerraseg.config.scenario import Scenario
from cerraseg.core.content import content
from cerraseg.core.errors import DataError


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


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: if the file holds none.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); run the step that makes it again") from None


def size_and_hash(path: Path) -> str:
    """Describe a file by its size and its SHA-256."""
    found = content(path)
    return f"{found.bytes:,} bytes, SHA-256 `{found.sha256}`"
