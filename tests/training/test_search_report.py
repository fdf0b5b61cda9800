"""What a search found: its table, its figure, and a configuration that runs."""

import pandas as pd
import pytest
import yaml
from optuna.trial import TrialState
from test_validate import DEMO, SCHEMA

from cerraseg.config.search_space import change
from cerraseg.config.validate import check_config
from cerraseg.core.errors import DataError
from cerraseg.training.tuning.report import Report, configuration, write_search
from cerraseg.training.tuning.study import Search, Watch, draw, opened

FROM = "unet-concat-nw-l1-tuned-666"
SPACE = {"dice": {"low": 0.0, "high": 2.0, "log": False}, "batch_size": [2, 4], "weighting": ["nw", "w"],
         "model.decoder_channels": [[16, 16, 8], [32, 16, 8]]}  # fmt: skip


def filled(folder, trials=8, fail=(2,)):
    """A study whose value is the trial's factor of Dice; a marker of its worker."""
    what = Search("study", f"journal:///{folder}/study.log", SPACE, {}, 3, trials)
    study = opened(what)
    for number in range(trials):
        trial = draw(what, study, None)
        if number in fail:
            trial.set_user_attr("reason", "the loss is nan")
            study.tell(number, state=TrialState.FAIL)
            continue
        Watch(what, trial)({"epoch": 1, "val_macro_f1": trial.params["dice"] / 4})
        pruned = {"state": TrialState.PRUNED} if number == 5 else {"values": trial.params["dice"] / 4}
        study.tell(number, **pruned)
    marker = folder / "worker_1.json"
    marker.write_text('{"study": "study"}')
    return what, marker


def written(folder, **changes):
    what, marker = filled(folder, **changes)
    report = Report(folder / "trials.csv", folder / "best.yaml", folder / "search.svg")
    config = {key: value for key, value in check_config(DEMO, SCHEMA)[0].items() if key != "tune"}
    (folder / "states").mkdir()
    write_search(marker, FROM, SPACE, what.storage, config, "simulated landscape", report, folder / "states")
    assert not (folder / "states").exists()
    return report


def test_search_is_written(tmp_path):
    report = written(tmp_path)
    rows = pd.read_csv(report.table)
    assert list(rows) == ["number", "state", "value", "epochs", "seconds", *SPACE, "note"]
    assert list(rows["state"]) == ["complete"] * 2 + ["failed"] + ["complete"] * 2 + ["pruned"] + ["complete"] * 2
    assert list(rows["note"].dropna()) == ["the loss is nan"] and list(rows["epochs"]) == [1, 1, 0, 1, 1, 1, 1, 1]
    best = rows[rows["state"] == "complete"].nlargest(1, "value").iloc[0]
    text = report.winner.read_text()
    assert f"# Trial {best['number']} of study study (6 complete, 1 failed, 1 pruned)" in text
    assert f"validation macro F1 {100 * best['value']:.2f} %" in text and "on: simulated landscape" in text
    complete, scenarios = check_config(yaml.safe_load(text), SCHEMA)
    assert [scenario.id for scenario in scenarios] == [f"unet-concat-{best['weighting']}-l1-searched-666"]
    assert complete["recipes"] == {"searched": {"from": "tuned", "dice": pytest.approx(best["dice"])}}
    assert complete["training"]["batch_size"] == best["batch_size"]
    assert str(complete["unet"]["decoder_channels"]) == best["model.decoder_channels"]
    assert (complete["results"], complete["scenes"][0]["scenarios"]) == ("results-searched", [scenarios[0].id])
    figure = report.figure.read_text()
    for part in ("Data: simulated landscape", "dice, importance", "best so far", "pruned", "failed"):
        assert part in figure
    (tmp_path / "again").mkdir()
    assert written(tmp_path / "again").winner.read_text().splitlines()[4:] == text.splitlines()[4:]


def test_nothing_finished(tmp_path):
    with pytest.raises(DataError) as caught:
        written(tmp_path, trials=3, fail=range(3))
    assert "none of the 3 trials finished" in str(caught.value)
    assert "3 times: the loss is nan" in str(caught.value)
    assert (tmp_path / "trials.csv").exists() and not (tmp_path / "best.yaml").exists()


def test_configuration_of_a_searched_one():
    """A second search starts from what the first one found; scenes that its bands cannot map are left out."""
    given = {
        **DEMO,
        "recipes": {"searched": {"from": "tuned", "dice": 2}},
        "scenarios": DEMO["scenarios"] | {"extra": ["unet-sar-nw-l1-searched-666"]},
    }
    del given["scenes"][0]["sar"]
    complete = check_config(given, SCHEMA)[0]
    found = configuration(complete, "unet-sar-nw-l1-searched-666", change({"edge": 1.0}))
    assert found["recipes"] == {
        "searched": {"from": "tuned", "dice": 2},
        "searched1": {"from": "searched", "edge": 1.0},
    }
    assert found["scenes"] == []
    assert [scenario.id for scenario in check_config(found, SCHEMA)[1]] == ["unet-sar-nw-l1-searched1-666"]
