"""The space of a search is checked before anything runs; the values of a trial go where they belong."""

import pytest
from test_validate import SCHEMA, changed, fault

from cerraseg.config.search_space import Change, change, expand_url, inside, storage_of
from cerraseg.config.validate import check_config

FROM, RELEASED = "unet-concat-nw-l1-tuned-666", "unet-msi-nw-l1-released-0"


def tuned(space, **further):
    return changed(tune={"scenario": FROM, "space": space, **further})


def test_space_is_completed_in_the_types_of_the_schema():
    space = {
        "learning_rate": {"low": "0.0001", "high": 1, "log": True},
        "dice": {"low": 0, "high": 2},
        "patience": {"low": 5, "high": 50},
        "batch_size": ["4", 8],
        "augment": [True, "false"],
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
    assert check_config(changed(tune={"space": {"no": [1]}}), SCHEMA)[0]["tune"]["space"] == {"no": [1]}


@pytest.mark.parametrize(
    ("space", "key"),
    [
        ({}, "tune.space: empty"),
        ({"learning_rat": [1]}, "tune.space: 'learning_rat' is not allowed; did you mean 'learning_rate'?"),
        ({"model.encodr": ["a"]}, "tune.space: 'model.encodr' is not allowed; did you mean 'model.encoder'?"),
        ({"dice": {"low": 1, "high": 1}}, "tune.space.dice: low 1.0 is not below high 1.0"),
        ({"dice": {"low": 0, "high": 1, "log": True}}, "tune.space.dice: log"),
        ({"dice": {"low": -1, "high": 1}}, "tune.space.dice.low: -1"),
        ({"dice": {"low": 0}}, "tune.space.dice.high: missing"),
        ({"batch_size": {"low": 0.5, "high": 4}}, "tune.space.batch_size.low: 0.5"),
        ({"batch_size": [4, "many"]}, "tune.space.batch_size.1: 'many'"),
        ({"batch_size": [4, 4]}, "tune.space.batch_size: [4, 4]"),
        ({"schedule": {"low": 0, "high": 1}}, "tune.space.schedule: {'low': 0, 'high': 1} is a range"),
        ({"crops": [0, 4, 7]}, "training.accumulate: 2 does not divide tune.space.crops 7"),
        ({"model.decoder_channels": [[16]]}, "tune.space.model.decoder_channels.0: [16]"),
    ],
)
def test_errors_of_the_space(space, key):
    assert key in fault(tuned(space) | {"training": {"accumulate": 2}})


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"scenario": "unet-concat-nw-l1-tuned-66"}, "tune.scenario: 'unet-concat-nw-l1-tuned-66'"),
        ({"scenario": RELEASED}, f"tune.scenario: {RELEASED} takes a checkpoint"),
        ({"pruner": "medium"}, "tune.pruner: 'medium' is not allowed; did you mean 'median'?"),
        ({"storage": "study.db"}, "tune.storage: study.db: not a URL"),
        ({"storage": "postgresql://a:$NO_SUCH@b/c"}, "tune.storage: postgresql://a:$NO_SUCH@b/c: an environment"),
    ],
)
def test_errors_of_the_search(changes, key):
    config = tuned({"dice": [0, 1]}, **changes)
    config["scenarios"]["extra"] = [RELEASED]
    assert key in fault(config)


def test_every_pair_of_channels_and_heads_is_checked():
    config = changed(scenarios__extra=["transnuseg-msi-nw-l1-tuned-1"])
    space = {"model.embed_dim": [96, 100]}
    config["tune"] = {"scenario": "transnuseg-msi-nw-l1-tuned-1", "space": space}
    assert "stage 0 has 100 channels for 3 heads" in fault(config)
    space["model.heads"] = [[2, 4, 4]]
    assert check_config(config, SCHEMA)[0]["tune"]["space"] == space


def test_values_are_sorted_by_what_they_change():
    values = {"dice": 0.5, "batch_size": 8, "weighting": "w", "model.encoder": "resnet18"}
    assert change(values) == Change({"dice": 0.5}, {"encoder": "resnet18"}, {"weighting": "w"}, {"batch_size": 8})


def test_values_inside_a_space():
    space = {"dice": {"low": 0.1, "high": 1.0, "log": True}, "edge": {"low": 0.0, "high": 1.0}, "batch_size": [4, 8]}
    values = {"dice": 0.0, "edge": 0.0, "batch_size": 8, "normalise": "zscore"}
    assert inside(space | {"model.depth": [3, 4]}, values) == {"edge": 0.0, "batch_size": 8}


def test_variables_of_a_storage_are_filled_in_late(monkeypatch):
    monkeypatch.setenv("CERRASEG_SECRET", "s3cret")
    assert expand_url("postgresql://ana:$CERRASEG_SECRET@db/tune") == "postgresql://ana:s3cret@db/tune"
    assert storage_of({"results": "out", "tune": {"storage": ""}}) == "sqlite:///out/tune/study.db"
    assert storage_of({"results": "out", "tune": {"storage": "journal:///a"}}) == "journal:///a"
