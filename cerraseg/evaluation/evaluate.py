"""Score a scenario's predicted test patches against their masks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import Scenario
from cerraseg.core.logs import log
from cerraseg.data.packed import Store, open_array
from cerraseg.data.tables import find_ids, read_ids, read_split, rows_of
from cerraseg.evaluation import edges, leakage, metrics, released, score_files
from cerraseg.evaluation.metrics import Scores


def evaluate(
    scenario: Scenario,
    dataset: Dataset,
    store: Store,
    split: Path,
    predicted: Path,
    prediction: Path,
    edge_prediction: Path,
    distances: Path,
    folder: Path,
    info: Mapping[str, object],
    split_facts: Path | None = None,
) -> Scores:
    """Write the scores of the test patches by :func:`cerraseg.evaluation.score_files.write_scores`; return them.

    ``predicted`` has the ids of the patches of the arrays ``prediction`` (positions in the legend) and
    ``edge_prediction``, all test patches among them; ``info`` goes into the metrics beside the scenario and the scores.
    With ``split_facts``, the file ``split.json``, see :func:`cerraseg.evaluation.released.check_released`.
    """
    test = rows_of(split, "test", store.header.ids)
    ids = read_split(split)["id"].iloc[test].tolist()
    among = read_ids(predicted)
    places = find_ids(among, ids, predicted)
    level = dataset.levels[scenario.level]
    confusions = metrics.patch_confusions(
        store.masks[test, store.layer(level.name)], open_array(prediction, len(among))[places], len(level.classes)
    )
    if split_facts:
        released.check_released(scenario, confusions.sum(axis=0, dtype=np.int64), split_facts)
    edge_truth = store.masks[test, store.layer(level.edges)]
    facts = {
        "scenario": {"id": scenario.id, **vars(scenario)},
        "patches": len(test),
        "edges": edges.edge_scores(edge_truth, open_array(edge_prediction, len(among))[places]),
        "leakage": leakage.leakage_summary(confusions, ids, distances),
        **info,
    }
    scores = score_files.write_scores(folder, confusions, ids, level.classes, facts)
    log.info("%d test patches: macro F1 %.2f %%, mIoU %.2f %%", len(test), 100 * scores.macro_f1, 100 * scores.miou)
    return scores
