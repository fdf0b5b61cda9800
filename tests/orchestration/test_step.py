"""Failures of a run are noted in their order, and trainings that they leave without use are not begun."""

from types import SimpleNamespace

import pytest

from cerraseg.core.errors import DataError
from cerraseg.orchestration import step as steps
from cerraseg.orchestration.step import FAILURES, failures, step


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(steps.crate, "write_note", lambda *_: None)
    FAILURES.parent.mkdir()


def run(rule, error=None):
    job = SimpleNamespace(rule=rule, log=[f"logs/{rule}.log"], input=[], config={"results": "results"})
    with step(job):
        if error:
            raise error


def test_failures_are_noted_in_their_order_a_line_each():
    run("index")
    assert failures() == []
    with pytest.raises(SystemExit, match="1"):
        run("index", DataError("no\nimages"))
    with pytest.raises(KeyError):
        run("pack", KeyError("a"))
    assert failures() == ["index (logs/index.log): no images", "pack (logs/pack.log): 'a'"]


@pytest.mark.parametrize("rule", ["distances", "truth", "scene"])
def test_a_training_is_not_begun_where_its_model_could_not_be_used(rule, caplog):
    for failed in ("curves", rule):
        with pytest.raises(SystemExit):
            run(failed, DataError("bad"))
    run("evaluate")
    with pytest.raises(SystemExit, match="1"):
        run("train")
    assert f"{rule} (logs/{rule}.log): bad" in caplog.messages[-1]
    assert failures()[0] == "curves (logs/curves.log): bad"


def test_a_training_is_begun_after_failures_of_other_rules():
    with pytest.raises(SystemExit):
        run("scenario_figures", DataError("bad"))
    run("train")
    assert len(failures()) == 1
