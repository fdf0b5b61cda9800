"""Score a scenario's predicted test patches against their masks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cerraseg.config.scenario import Scenario
from cerraseg.core.layout import edge_layer
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import LEVELS
from cerraseg.data.packed import Store, open_array
from cerraseg.data.tables import read_split, rows_of
from cerraseg.evaluation import edges, leakage, metrics, score_files
from cerraseg.evaluation.metrics import Scores


def evaluate(
    scenario: Scenario,
    store: Store,
    split: Path,
    predicted: str,
    prediction: Path,
    edge_prediction: Path,
    distances: Path,
    folder: Path,
    info: Mapping[str, object],
) -> Scores:
    """Write the scores of the test patches by :func:`cerraseg.evaluation.score_files.write_scores`.

    Args:
        scenario: whose prediction it is.
        store: packed patches.
        split: split table.
        predicted: part of the split that was predicted, ``test`` or ``all``.
        prediction: class ids of those patches, in row order.
        edge_prediction: their edges.
        distances: how far each test patch lies from the training patches.
        info: goes into the metrics beside the scenario and the scores.

    Returns:
        The scores over all test patches.
    """
    test = rows_of(split, "test")
    ids = read_split(split)["id"].iloc[test].tolist()
    rows = rows_of(split, predicted)
    places = np.searchsorted(rows, test)
    classes = LEVELS[scenario.level]
    confusions = metrics.patch_confusions(
        store.masks[test, store.layer(scenario.level)], open_array(prediction, len(rows))[places], len(classes)
    )
    edge_truth = store.masks[test, store.layer(edge_layer(scenario.level))]
    facts = {
        "scenario": {"id": scenario.id, **vars(scenario)},
        "patches": len(test),
        "edges": edges.edge_scores(edge_truth, open_array(edge_prediction, len(rows))[places]),
        "leakage": leakage.leakage_summary(confusions, ids, distances),
        **info,
    }
    scores = score_files.write_scores(folder, confusions, ids, classes, facts)
    log.info("%d test patches: macro F1 %.2f %%, mIoU %.2f %%", len(test), 100 * scores.macro_f1, 100 * scores.miou)
    return scores
