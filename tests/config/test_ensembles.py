"""Ensembles of a configuration: members by id or pattern, an id of their own, scenes in a cross-validation."""

import pytest
from test_validate import CERRADATA, DEMO, SCHEMA, TRAINED, changed, fault

from cerraseg.config.scenario import known_names, parse
from cerraseg.config.validate import check_config, scenes_of
from cerraseg.orchestration.experiment import Experiment

RADAR, BOTH = "unet-sar-nw-l1-tuned-666", "unet-concat-nw-l1-tuned-666"


@pytest.mark.parametrize(
    ("members", "id_"),
    [
        (["unet-*-nw-l1-tuned-666"], "some-concat-nw-l1-ensemble-0"),
        ([RADAR, "unet-msi-nw-l1-tuned-666"], "some-concat-nw-l1-ensemble-0"),
        ([BOTH, "unet-concat-w-l1-tuned-666"], "some-concat-nw-l1-ensemble-0"),
    ],
)
def test_ensemble_has_the_sensors_of_all(members, id_):
    config, scenarios = check_config(changed(ensembles={"some": members}), SCHEMA)
    assert scenarios[-1].id == id_
    assert parse(id_, known_names(CERRADATA, ["some"], ["ensemble"])) == scenarios[-1]
    run = Experiment(config, SCHEMA, scenarios, CERRADATA)
    assert run.ensembles == {id_: config["ensembles"]["some"]} and id_ not in run.trained and id_ in run.models
    assert run.model_settings(id_) == {} and run.recipe(id_) == run.recipe(BOTH) and run.folds_of(id_) == [0]


def test_one_sensor_and_weighting_stay():
    extra = ["unet-sar-w-l1-tuned-1", "unet-sar-w-l1-tuned-2"]
    scenarios = check_config(changed(scenarios__extra=extra, ensembles={"some": extra}), SCHEMA)[1]
    assert scenarios[-1].id == "some-sar-w-l1-ensemble-0"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"some": ["unet-foo-*"]}, "ensembles.some: 'unet-foo-*' fits the id of no scenario"),
        ({"some": [RADAR]}, "alone"),
        ({"some": [BOTH, "unet-concat-nw-l2-tuned-666"]}, "levels l1 and l2"),
        ({"unet": [BOTH, RADAR]}, "ensembles.unet: expected a new name"),
    ],
)
def test_faults_are_told(given, message):
    assert message in fault(changed(ensembles=given))


def test_folds_are_averaged_by_fold_for_scores_and_all_for_scenes():
    given = {"ensembles": {"some": [BOTH, RADAR]}, "split": {"scheme": "kfold", "folds": 2}, "scenes": DEMO["scenes"]}
    config, scenarios = check_config(changed(**given), SCHEMA)
    whole = "some-concat-nw-l1-ensemble-0"
    assert scenes_of(config, scenarios, CERRADATA)[0]["scenarios"] == [whole]
    run = Experiment(config, SCHEMA, scenarios, CERRADATA)
    ids = config["ensembles"]["some"]
    assert run.ensembles[f"{whole}/fold2"] == [f"{id_}/fold2" for id_ in ids]
    assert run.ensembles[whole] == [f"{id_}/fold{fold}" for fold in (1, 2) for id_ in ids]
    assert (run.folds_of(whole), run.folds_of(f"{whole}/fold2")) == ([1, 2], [2])
    assert len(check_config(changed(**given | {"ensembles": {"some": [TRAINED]}}), SCHEMA)[1]) == len(scenarios)
