"""Build models once and let them see an empty patch, in a process of its own: ``models.preflight`` asks for it."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.layout import SIZE
from cerraseg.core.taxonomy import LEVELS, MODALITIES
from cerraseg.models.factory import build
from cerraseg.models.pretrained import load_encoder


def fault(model: str, modality: str, level: str, settings: Mapping[str, Any], pretrained: str | None) -> str:
    """What is wrong with a model for a modality and a level; empty where nothing is."""
    bands, classes = MODALITIES[modality], len(LEVELS[level])
    try:
        built = build(model, len(bands), classes, settings).eval()
    except ConfigError as error:
        return str(error)
    try:
        if pretrained:
            load_encoder(built, bands, Path(pretrained))
    except DataError as error:
        return f"models.{model}.pretrained: {error}"
    try:
        with torch.inference_mode():
            found = tuple(built(torch.zeros(1, len(bands), SIZE, SIZE)).shape)
    except Exception as error:  # the user chose what the library was given, and its words are the best there are
        return f"models.{model}: fails on a patch of {len(bands)} x {SIZE} x {SIZE}: {error}; change its options"
    wanted = (1, classes, SIZE, SIZE)
    wrong = f"models.{model}: makes {found} of a patch, expected {wanted}; change its options, such as upsampling"
    return wrong if found != wanted else ""


def main(trials: Sequence[Mapping[str, Any]]) -> None:
    """Print the faults of the models, as JSON in the last line."""
    faults = [fault(**trial) for trial in trials]
    print(f"\n{json.dumps(list(dict.fromkeys(filter(None, faults))))}")


if __name__ == "__main__":
    main(json.load(sys.stdin))
