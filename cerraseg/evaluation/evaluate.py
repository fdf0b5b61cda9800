"""Score a scenario's predicted test patches against their masks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import Scenario
from cerraseg.core.errors import DataError
from cerraseg.core.layout import SOURCE
from cerraseg.core.logs import log
from cerraseg.data.masks import derive_edges
from cerraseg.data.packed import Store, open_array
from cerraseg.data.splits.file_lists import published_test_part
from cerraseg.data.tables import find_ids, read_ids, read_split, rows_of
from cerraseg.evaluation import calibration, edges, leakage, metrics, score_files
from cerraseg.evaluation.metrics import Scores

_MOVED = 0.001  # largest share of the pixels that float error may move to other cells of a confusion matrix


def evaluate(
    scenario: Scenario,
    dataset: Dataset,
    store: Store,
    split: Path,
    predicted: Path,
    prediction: Path,
    edge_prediction: Path,
    tally: Path,
    distances: Path,
    folder: Path,
    info: Mapping[str, object],
    split_facts: Path | None = None,
) -> Scores:
    """Write the scores of the test patches by :func:`cerraseg.evaluation.score_files.write_scores`; return them.

    ``predicted`` has the ids of the patches of the arrays ``prediction`` (positions in the legend) and
    ``edge_prediction``, all test patches among them; ``tally`` has their probabilities' counts. ``info`` goes into the
    metrics beside the scenario and the scores. With ``split_facts``, the file ``split.json``, see
    :func:`check_released`.
    """
    test = rows_of(split, "test", store.header.ids)
    parts = read_split(split).iloc[test]
    ids, groups = parts["id"].tolist(), parts["group"].tolist() if "group" in parts else None
    among = read_ids(predicted)
    places = find_ids(among, ids, predicted)
    level = dataset.levels[scenario.level]
    layer = store.truth(level.name)
    truth = store.masks[test, store.layer(layer)]
    confusions = metrics.patch_confusions(truth, open_array(prediction, len(among))[places], len(level.classes))
    if split_facts:
        check_released(scenario, confusions.sum(axis=0, dtype=np.int64), split_facts)
    # The edges in the store are those of the masks to train with.
    edge_truth = store.masks[test, store.layer(level.edges)] if layer == level.name else derive_edges(truth)
    facts = {
        "scenario": {"id": scenario.id, **vars(scenario)},
        "patches": len(test),
        "edges": edges.edge_scores(edge_truth, open_array(edge_prediction, len(among))[places]),
        "leakage": leakage.leakage_summary(confusions, ids, distances, groups),
        "calibration": calibration.measures(calibration.read_tally(tally), level.classes),
        **info,
    }
    scores = score_files.write_scores(folder, confusions, ids, level.classes, facts, groups)
    log.info("%d test patches: macro F1 %.2f %%, mIoU %.2f %%", len(test), 100 * scores.macro_f1, 100 * scores.miou)
    return scores


def check_released(scenario: Scenario, confusion: NDArray[np.integer], facts: Path) -> None:
    """Refuse a released checkpoint unless its test part is the published one by ``facts``, the file ``split.json``.

    Or unless its ``confusion`` (classes, classes) of the test part is the one that was published for the scenario.
    """
    name = f"{scenario.model}_{scenario.modality}_{scenario.weighting}_{scenario.level}"
    file = SOURCE / f"reference/confusion_matrices/{name}.csv"
    published, said = published_test_part(facts)
    if not published and file.exists():
        counts = score_files.read_confusion(file)
        published = np.abs(counts - confusion.astype(np.int64)).sum() <= 2 * _MOVED * counts.sum()
    if not published:
        raise DataError(
            f"{scenario.id}: the released checkpoints learned from most of CerraData-4MM, so from test patches of this "
            f"split. {said} Its confusion matrix is no published one either. Expected one of both: take the scenario "
            "out, or set source, dataset and split to the published ones, see docs/splits.md"
        )
