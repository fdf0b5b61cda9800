"""What is wrong in a search is said before anything runs."""

import pytest
from test_validate import SCHEMA, changed, fault

from cerraseg.config.validate import check_config

FROM = "unet-concat-nw-l1-tuned-666"


def tuned(space, **further):
    return changed(tune={"scenario": FROM, "space": space, **further})


def test_space_is_completed_in_the_types_of_the_schema():
    space = {
        "learning_rate": {"low": "0.0001", "high": 1, "log": True},
        "dice": {"low": 0, "high": 2},
        "patience": {"low": 5, "high": 50},
        "batch_size": ["4", 8],
        "weighting": ["nw", "w"],
        "augment": [True, "false"],
        "schedule": ["constant", "cosine"],
        "model.decoder_channels": [[16, 16, 8], [32, 16, 8]],
    }
    complete = check_config(tuned(space), SCHEMA)[0]["tune"]
    assert complete["space"] == space | {
        "learning_rate": {"low": 0.0001, "high": 1.0, "log": True},
        "dice": {"low": 0.0, "high": 2.0, "log": False},
        "patience": {"low": 5, "high": 50, "log": False},
        "batch_size": [4, 8],
        "augment": [True, False],
    }
    assert isinstance(complete["space"]["dice"]["low"], float) and isinstance(complete["space"]["patience"]["low"], int)
    assert [complete[key] for key in ("trials", "workers", "epochs", "pruner", "seed")] == [20, 1, 0, "median", 1]


def test_no_scenario_is_no_search():
    assert check_config(changed(), SCHEMA)[0]["tune"]["scenario"] == ""
    assert check_config(changed(tune={"space": {"no": [1]}}), SCHEMA)[0]["tune"]["space"] == {"no": [1]}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "tune.space: empty; expected one parameter or more of: zscore, softmax_in_loss"),
        ({"learning_rat": [1]}, "tune.space.learning_rat: unknown key; did you mean 'learning_rate'? allowed: zscore"),
        ({"model.encodr": ["a"]}, "tune.space.model.encodr: unknown key; did you mean 'model.encoder'?"),
        ({"dice": {"low": 1, "high": 1}}, "tune.space.dice: low 1.0 is not below high 1.0"),
        ({"dice": {"low": 0, "high": 1, "log": True}}, "tune.space.dice: log is true, but low is 0.0"),
        ({"dice": {"low": -1, "high": 1}}, "tune.space.dice.low: -1 is less than the minimum of 0; Factor of the Dice"),
        ({"dice": {"low": 0}}, "tune.space.dice.high: missing; Largest value."),
        ({"dice": {"low": 0, "hihg": 1}}, "tune.space.dice.hihg: unknown key; did you mean 'high'?"),
        ({"batch_size": {"low": 0.5, "high": 4}}, "tune.space.batch_size.low: 0.5 is not of type 'integer'"),
        ({"batch_size": [4, "many"]}, "tune.space.batch_size.1: 'many' is not of type 'integer'"),
        ({"batch_size": []}, "tune.space.batch_size: [] should be non-empty"),
        ({"batch_size": [4, 4]}, "tune.space.batch_size: [4, 4] has non-unique elements"),
        ({"batch_size": 4}, "tune.space.batch_size: 4 is not of type 'array', 'object'"),
        ({"schedule": ["cosin"]}, "tune.space.schedule.0: 'cosin' is not allowed; did you mean 'cosine'?"),
        ({"schedule": {"low": 0, "high": 1}}, "tune.space.schedule: {'low': 0, 'high': 1} is a range; expected a list"),
        ({"weighting": ["nw", "x"]}, "tune.space.weighting.1: 'x' is not allowed; allowed: nw, w"),
        ({"model.decoder_channels": [[16]]}, "tune.space.model.decoder_channels.0: [16] is too short"),
    ],
)
def test_faults_of_the_space(space, message):
    assert message in fault(tuned(space))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenario": "unet-concat-nw-l1-tuned-66"}, "is no scenario of this configuration; did you mean 'unet-concat"),
        ({"pruner": "medium"}, "tune.pruner: 'medium' is not allowed; did you mean 'median'?"),
        ({"trials": 0}, "tune.trials: 0 is less than the minimum of 1"),
        ({"storage": "study.db"}, "tune.storage: study.db: not a URL"),
        ({"storage": "postgresql://a:$NO_SUCH@b/c"}, "tune.storage: postgresql://***@b/c: an environment variable"),
    ],
)
def test_faults_of_the_search(changes, message):
    assert message in fault(tuned({"dice": [0, 1]}, **changes))


def test_what_is_not_trained_cannot_be_searched():
    config = changed(scenarios__extra=["unet-msi-nw-l1-released-0"])
    config["tune"] = {"scenario": "unet-msi-nw-l1-released-0", "space": {"dice": [0, 1]}}
    assert "unet-msi-nw-l1-released-0 takes a checkpoint and is not trained" in fault(config)


def test_every_pair_of_channels_and_heads_is_checked():
    config = changed(scenarios__extra=["transnuseg-msi-nw-l1-tuned-1"])
    space = {"model.embed_dim": [96, 100]}
    config["tune"] = {"scenario": "transnuseg-msi-nw-l1-tuned-1", "space": space}
    assert "stage 0 has 100 channels for 3 heads" in fault(config)
    space["model.heads"] = [[2, 4, 4]]
    assert check_config(config, SCHEMA)[0]["tune"]["space"] == space
