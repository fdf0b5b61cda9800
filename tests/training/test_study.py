"""The study of a search: what is drawn, what is pruned, and what a storage that cannot be opened says."""

import pickle

import optuna
import pytest

from cerraseg.core.errors import ConfigError
from cerraseg.training.tuning.study import STARTUP, Search, Watch, draw, finished, opened, values

SPACE = {
    "dice": {"low": 0.0, "high": 2.0, "log": False},
    "patience": {"low": 1, "high": 64, "log": True},
    "augment": [True, False],
    "model.decoder_channels": [[16, 16, 8], [32, 16, 8]],
}


def search(folder, **changes):
    return Search(
        **{"study": "study", "storage": f"sqlite:///{folder}/a/study.db", "space": SPACE, "own": {}, "epochs": 4,
           "trials": 9} | changes
    )  # fmt: skip


def test_draws_follow_from_the_seed_and_the_trials_before(tmp_path):
    drawn = {}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        what = search(tmp_path, study=name, seed=seed)
        study = opened(what)
        for _ in range(STARTUP + 3):
            trial = draw(what, study, None)
            study.tell(trial.number, trial.params["dice"])
            drawn.setdefault(name, []).append(values(trial.params, SPACE))
    assert drawn["one"] == drawn["again"] != drawn["other"]
    for found in drawn["one"]:
        assert 0 <= found["dice"] <= 2 and found["patience"] in range(1, 65) and found["augment"] in (True, False)
        assert found["model.decoder_channels"] in SPACE["model.decoder_channels"]


def test_own_values_come_first_and_once(tmp_path):
    what = search(tmp_path, own={"dice": 0.25, "model.decoder_channels": [32, 16, 8]})
    opened(what)
    study = opened(what)
    first, second = (values(draw(what, study, None).params, SPACE) for _ in range(2))
    assert (first["dice"], first["model.decoder_channels"]) == (0.25, [32, 16, 8]) and second["dice"] != 0.25


@pytest.mark.parametrize(("pruner", "ends"), [("median", [1]), ("hyperband", None), ("none", [])])
def test_a_trial_that_falls_behind_is_pruned_but_not_at_its_end(tmp_path, pruner, ends):
    what = search(tmp_path, pruner=pruner)
    study = opened(what)
    for _ in range(STARTUP):
        trial = draw(what, study, None)
        for epoch in (1, 2, 3, 4):
            Watch(what, trial)({"epoch": epoch, "val_macro_f1": 0.5})
        study.tell(trial.number, 0.5)
    watch = pickle.loads(pickle.dumps(Watch(what, draw(what, study, None))))
    ended = [epoch for epoch in (1, 2, 3, 4) if watch({"epoch": epoch, "val_macro_f1": 0.1})]
    assert ended[:1] == ends if ends is not None else 4 not in ended
    last = study.get_trials()[-1]
    assert last.intermediate_values == dict.fromkeys((1, 2, 3, 4), 0.1)
    assert last.user_attrs.get("pruned", False) == bool(ended)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+nodriver://ana:s3cret@localhost:1/tune",
        "sqlite:////proc/no/s3cret@study.db",
        "journal:////proc/no/a",
    ],
)
def test_storage_that_cannot_be_opened_keeps_its_password(url, caplog, capfd):
    with pytest.raises(ConfigError) as caught:
        opened(search("", storage=url))
    assert str(caught.value).startswith(f"tune.storage: {url.split('://')[0]}://")
    assert "cannot be opened" in str(caught.value)
    if "ana" in url:
        said = str(caught.value) + caplog.text + "".join(capfd.readouterr())
        assert "s3cret" not in said and "ana" not in said
        assert caught.value.__suppress_context__


def test_lost_study_is_missed(tmp_path):
    what = search(tmp_path)
    study = opened(what)
    assert finished("study", what.storage).study_name == study.study_name
    with pytest.raises(ConfigError, match="has no study other, which the workers filled"):
        finished("other", what.storage)


def test_optuna_is_quiet(tmp_path, capfd):
    what = search(tmp_path)
    study = opened(what)
    study.tell(draw(what, study, None).number, state=optuna.trial.TrialState.FAIL)
    assert capfd.readouterr() == ("", "")
