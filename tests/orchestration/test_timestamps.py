"""A clock that was moved back, and files that are dated later than now."""

import os
import time

import pandas as pd
import pytest
from project import TINY, Project

from cerraseg.core.errors import ConfigError
from cerraseg.orchestration import timestamps

DAY = 24 * 3600


def dated(path, seconds):
    """A file whose date is so far from now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    at = time.time() + seconds
    os.utime(path, (at, at))
    return path


def test_files_of_the_future_come_to_the_present_in_their_order(tmp_path):
    past, recent = dated(tmp_path / "a", -DAY), dated(tmp_path / "b", -1)
    later = [dated(tmp_path / f"deep/{name}", seconds) for name, seconds in (("z", 60), ("y", 90), ("x", DAY))]
    same = dated(tmp_path / "c", 0)
    for path in (later[2], same):
        os.utime(path, (later[2].stat().st_atime, later[2].stat().st_mtime))
    before = [path.stat().st_mtime for path in (past, recent)]
    assert timestamps.bring_back([tmp_path]) == 4
    dates = [path.stat().st_mtime for path in (past, recent, *later)]
    assert dates[:2] == before and dates == sorted(set(dates)) and time.time() - 5 < dates[2] < dates[-1] <= time.time()
    assert same.stat().st_mtime == dates[-1]
    assert timestamps.bring_back([tmp_path]) == 0


def test_of_a_written_folder_its_stamp_alone_is_dated(tmp_path):
    stamp = dated(tmp_path / "mosaic/.snakemake_timestamp", DAY)
    inside = dated(tmp_path / "mosaic/deep/a.tif", DAY)
    assert timestamps.bring_back([tmp_path, tmp_path / "absent"]) == 1
    assert stamp.stat().st_mtime <= time.time() < inside.stat().st_mtime


def test_inputs_of_the_future_are_refused(tmp_path):
    timestamps.ensure_past([dated(tmp_path / "a.tif", 30), tmp_path / "absent.tif"])
    with pytest.raises(ConfigError, match=r"b.tif is dated 20.*later than now.*`touch .*b.tif`"):
        timestamps.ensure_past([tmp_path / "a.tif", dated(tmp_path / "b.tif", DAY)])


@pytest.mark.drill
def test_clock_moved_back_between_two_runs(tmp_path):
    """What is done stays done, what is missing is made once, what is stale is made anew, and no job fails."""
    project, target = Project(tmp_path / "project", TINY), "results/statistics.json"
    made = [project.folder / "results" / name for name in ("manifest.json", "patches.parquet", "split.csv")]
    project.run(target)
    for n, path in enumerate(made):
        dated(path, 3600 + n)
    split = project.read("results/split.csv")
    (project.folder / target).unlink()
    assert "3 files were dated later than now" in project.run("-n", target)
    assert project.planned(target) == {"statistics": 1}
    project.run(target)
    assert project.planned(target) == {} and project.read("results/split.csv") == split
    table = pd.read_parquet(made[1])
    table["l1_0"] += 1
    table.to_parquet(made[1])  # what follows has not seen it
    for path, seconds in zip(made, (3600, 7200, 3601), strict=True):
        dated(path, seconds)
    assert project.planned(target) == {"split": 1, "pack": 1, "statistics": 1}
    project.run("results/digests.json")
    assert project.planned(target) == {"split": 1, "pack": 1, "statistics": 1}


@pytest.mark.drill
def test_scene_of_the_future_is_refused_at_once(tmp_path):
    scene = {"name": "own", "msi": "own.tif", "sar": "own.tif", "reference": "own.tif", "reference_level": "l2"}
    project = Project(tmp_path / "project", TINY | {"scenes": [scene]})
    dated(project.folder / "own.tif", DAY)
    assert "own.tif is dated" in project.run("-n", ok=False)
