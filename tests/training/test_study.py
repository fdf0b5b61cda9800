"""A study's storage and parameters, and what is written of it: a table, figures, a configuration that runs."""

import copy

import optuna
import pandas as pd
import pytest
import yaml
from scenes import CERRADATA
from test_validate import DEMO, SCHEMA

from cerraseg.config.search_space import change
from cerraseg.config.validate import check_config, scenes_of
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.report.search_figure import draw_search
from cerraseg.training.tuning.study import best_configuration, open_storage, suggest, write_search

FROM = "unet-concat-nw-l1-tuned-666"
SPACE = {"dice": {"low": 0.0, "high": 2.0, "log": False}, "patience": {"low": 1, "high": 64, "log": True},
         "batch_size": [2, 4], "model.decoder_channels": [[16, 16, 8], [32, 16, 8]]}  # fmt: skip


def filled(trials=8, fail=(2,)):
    """A study whose value is the trial's factor of Dice."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(1), study_name="study")
    for number in range(trials):
        trial = study.ask()
        values = suggest(trial, SPACE)
        assert 0 <= values["dice"] <= 2 and values["patience"] in range(1, 65) and values["batch_size"] in (2, 4)
        assert values["model.decoder_channels"] in SPACE["model.decoder_channels"]
        if number in fail:
            trial.set_user_attr("note", "the loss is nan")
        study.tell(trial, None if number in fail else values["dice"] / 4,
                   optuna.trial.TrialState.FAIL if number in fail else None)  # fmt: skip
    return study


def written(study, folder):
    config = {key: value for key, value in check_config(DEMO, SCHEMA)[0].items() if key != "tune"}
    found = folder / "trials.csv", folder / "best.yaml"
    write_search(study, FROM, SPACE, config, CERRADATA, "simulated landscape", *found)
    return pd.read_csv(folder / "trials.csv"), (folder / "best.yaml").read_text()


def test_search_is_written(tmp_path):
    rows, text = written(filled(), tmp_path)
    assert list(rows["state"]) == ["COMPLETE"] * 2 + ["FAIL"] + ["COMPLETE"] * 5
    assert list(rows["user_attrs_note"].dropna()) == ["the loss is nan"]
    best = rows.loc[rows["value"].idxmax()]
    assert f"# Trial {best['number']} of study study" in text and "on: simulated landscape" in text
    complete, scenarios = check_config(yaml.safe_load(text), SCHEMA)
    assert [scenario.id for scenario in scenarios] == [
        "unet-concat-nw-l1-searched-666", "pixel-concat-nw-l1-baseline-666"
    ]  # fmt: skip
    assert complete["recipes"] == {
        "searched": {"from": "tuned", "dice": pytest.approx(best["params_dice"]), "patience": best["params_patience"]}
    }
    assert complete["training"]["batch_size"] == best["params_batch_size"]
    assert str(complete["unet"]["decoder_channels"]) == best["params_model.decoder_channels"]
    (scene,) = scenes_of(complete, scenarios, CERRADATA)
    assert (complete["results"], scene["scenarios"]) == ("results-searched", [one.id for one in scenarios])


def test_nothing_finished(tmp_path):
    with pytest.raises(DataError, match="the loss is nan"):
        written(filled(trials=3, fail=range(3)), tmp_path)
    assert (tmp_path / "trials.csv").exists() and not (tmp_path / "best.yaml").exists()


@pytest.mark.parametrize("count", [1, 8])
def test_search_is_drawn_the_same_each_time(tmp_path, count):
    for folder in ("one", "two"):
        draw_search(filled(count, fail=()), tmp_path / folder, title="Search", source="simulated landscape")
    for name in ("history", "slices", "importances"):
        figure = (tmp_path / f"one/{name}.svg").read_text()
        assert figure == (tmp_path / f"two/{name}.svg").read_text() and "Data: simulated landscape" in figure


def test_second_search_starts_from_what_the_first_found():
    """Scenes that its bands cannot map are left out."""
    extra = {"extra": ["unet-sar-nw-l1-searched-666"]}
    given = {
        **copy.deepcopy(DEMO),
        "recipes": {"searched": {"from": "tuned", "dice": 2}},
        "scenarios": DEMO["scenarios"] | extra,
    }
    del given["scenes"][0]["sar"]
    config, name = check_config(given, SCHEMA)[0], "unet-sar-nw-l1-searched-666"
    found = best_configuration(config, CERRADATA, name, change({"edge": 1.0}))
    assert found["recipes"]["searched1"] == {"from": "searched", "edge": 1.0} and found["scenes"] == []
    ids = [scenario.id for scenario in check_config(found, SCHEMA)[1]]
    assert ids == ["unet-sar-nw-l1-searched1-666", "pixel-sar-nw-l1-baseline-666"]


@pytest.mark.parametrize("url", ["postgresql://ana:$SECRET@localhost:1/tune", "sqlite:////proc/no/study.db",
                                 "journal:////proc/no/a"])  # fmt: skip
def test_storage_that_cannot_be_opened_keeps_its_password(url, monkeypatch, caplog, capfd):
    monkeypatch.setenv("SECRET", "s3cret")
    with pytest.raises(ConfigError, match=r"^tune\.storage: ") as caught:
        open_storage(url)
    assert "s3cret" not in str(caught.value) + caplog.text + "".join(capfd.readouterr())
    assert caught.value.__suppress_context__
