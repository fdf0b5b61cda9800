"""Whether a released checkpoint may be scored: not on patches that it learned from."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cerraseg.config.scenario import Scenario
from cerraseg.core.errors import DataError
from cerraseg.core.layout import SOURCE
from cerraseg.data.splits import file_lists
from cerraseg.evaluation import score_files

_MOVED = 0.001  # largest share of the pixels that float error may move to other cells of a confusion matrix


def check_released(scenario: Scenario, confusion: NDArray[np.integer], split_facts: Path) -> None:
    """Refuse to score a released checkpoint unless its test part is the published one or its scores are.

    Args:
        scenario: what the checkpoint is.
        confusion: its counts over the test part, (classes, classes), rows true.
        split_facts: the file ``split.json``.
    """
    if file_lists.is_published(split_facts) or _meets_published(scenario, confusion):
        return
    raise DataError(
        f"{scenario.id}: released checkpoints learned from most of CerraData-4MM, so from test patches of this split. "
        f"{file_lists.describe(split_facts)} Nor is its confusion matrix a published one. Expected either: take the "
        "scenario out, or set source, dataset and split to the published ones, see docs/splits.md"
    )


def _meets_published(scenario: Scenario, confusion: NDArray[np.integer]) -> bool:
    name = f"{scenario.model}_{scenario.modality}_{scenario.weighting}_{scenario.level}"
    file = SOURCE / f"reference/confusion_matrices/{name}.csv"
    if not file.exists():
        return False
    published = score_files.read_confusion(file)
    return bool(np.abs(published - confusion.astype(np.int64)).sum() <= 2 * _MOVED * published.sum())
