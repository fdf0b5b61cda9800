"""Score a scenario's predicted test patches against their masks."""

from collections.abc import Mapping
from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import Scenario
from cerraseg.core.logs import log
from cerraseg.data.packed import Store, open_array
from cerraseg.data.tables import find_ids, read_ids, read_split, rows_of
from cerraseg.evaluation import edges, leakage, metrics, score_files
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
) -> Scores:
    """Write the scores of the test patches by :func:`cerraseg.evaluation.score_files.write_scores`; return them.

    ``predicted`` has the ids of the patches of the arrays ``prediction`` (positions in the legend) and
    ``edge_prediction``, all test patches among them; ``info`` goes into the metrics beside the scenario and the scores.
    """
    test = rows_of(split, "test", store.header.ids)
    parts = read_split(split).iloc[test]
    ids, groups = parts["id"].tolist(), parts["group"].tolist() if "group" in parts else None
    among = read_ids(predicted)
    places = find_ids(among, ids, predicted)
    level = dataset.levels[scenario.level]
    confusions = metrics.patch_confusions(
        store.masks[test, store.layer(level.name)], open_array(prediction, len(among))[places], len(level.classes)
    )
    edge_truth = store.masks[test, store.layer(level.edges)]
    facts = {
        "scenario": {"id": scenario.id, **vars(scenario)},
        "patches": len(test),
        "edges": edges.edge_scores(edge_truth, open_array(edge_prediction, len(among))[places]),
        "leakage": leakage.leakage_summary(confusions, ids, distances, groups),
        **info,
    }
    scores = score_files.write_scores(folder, confusions, ids, level.classes, facts, groups)
    log.info("%d test patches: macro F1 %.2f %%, mIoU %.2f %%", len(test), 100 * scores.macro_f1, 100 * scores.miou)
    return scores
