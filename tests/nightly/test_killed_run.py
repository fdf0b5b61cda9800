"""A run that is killed with all its jobs, in packing, training and mapping: the same command goes on each time."""

import pytest
from project import TINY, TUNED, Project
from sameness import differing


@pytest.mark.ci
def test_killed_run_ends_as_an_undisturbed_one(finished, tmp_path):
    made = Project(tmp_path / "project", TINY)
    made.kill_when("results/packed/.images*")
    assert not (made.folder / "results/packed/header.json").exists()
    made.kill_when(f"results/resume/{TUNED}/last.ckpt")
    assert not (made.folder / f"results/models/{TUNED}/checkpoint.pt").exists()
    made.kill_when(f"results/resume/maps/unseen/{TUNED}/classes.rows")
    assert not (made.folder / f"results/scenes/unseen/{TUNED}/map").exists()
    made.run()
    assert b"going on from the state" in made.read(f"results/logs/train/{TUNED}.log")
    assert differing(finished.folder / "results", made.folder / "results") == []
