"""The real DVC and the real Snakemake on one project: each calls current what the other made, and nothing else."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from project import ONE, ONE_SCENARIO, TINY, Tracked
from scenes import CERRADATA

from cerraseg.orchestration import dvc_sync

OTHER = "unet-sar-nw-l1-own-1"
OF_SCENARIO = {"train", "predict", "evaluate", "mosaic", "areas", "curves", "scenario_figures", "model_card"}
OF_SCENARIO |= {"map", "describe_map"}


def with_extra(*ids: str, **changes: object) -> dict:
    return ONE_SCENARIO | {"scenarios": ONE_SCENARIO["scenarios"] | {"extra": list(ids)}} | changes


def ran(said: str) -> set[str]:
    """The rules whose jobs a run began."""
    return set(re.findall(r"^(?:local)?rule (\w+):", said, re.MULTILINE)) - {"default", "all", "data", "models"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """A finished run of one scenario, made by ``dvc repro`` and pushed."""
    folder = tmp_path_factory.mktemp("tracking")
    made = Tracked(folder / "project", ONE_SCENARIO)
    made.dvc("remote", "add", "--default", "--local", "store", f"{folder / 'store'}")
    made.dvc("repro")
    made.commit()
    made.dvc("push")
    return made


def test_what_repro_made_is_current_for_both(project):
    project.agree()
    assert "Running stage" not in project.dvc("repro")
    kept = {Path(path).name for path in project.git("ls-files", "results").splitlines()}
    tables = {f"benchmark{end}" for end in (".csv", ".md", ".tex", "_classes.csv", "_pairs.csv")}
    assert kept >= {"manifest.json", "split.json", "statistics.json", f"{ONE}.json", *tables}
    assert {Path(name).suffix for name in kept} <= {".json", ".csv", ".md", ".tex"}


def test_every_output_belongs_to_a_stage(project, monkeypatch):
    """Of a configuration with all kinds of outputs; the simulated patches and scene are what each machine has."""
    monkeypatch.chdir(project.folder)
    project.configure(TINY)
    states = dvc_sync.outputs("all")
    project.git("checkout", "config")
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"].values()
    outs = [next(iter(out)).replace("${results}", "results") for stage in stages for out in stage["outs"]]
    left = {path for path in states if not any(Path(path).is_relative_to(out) for out in outs)}
    assert left == {"data/simulated/manifest.json", *map("data/simulated/scene/{}.tif".format, SCENE)}
    assert len(states) > 60


SCENE = ("msi", "sar", "truth_l1", "truth_l2")


def test_colleague_pulls_and_has_nothing_to_do(project, tmp_path):
    clone = project.clone(tmp_path / "clone")
    clone.dvc("pull")
    assert clone.planned()
    clone.sync("restore")
    clone.agree()
    assert not (clone.folder / "data").exists()
    clone.configure(with_extra(index={"max_rejected": 0.02}))  # needs patches, of which the manifest alone is here
    assert clone.planned("data").keys() >= {"simulate", "index"}


def test_part_of_a_pull_is_named_and_enough(project, tmp_path):
    clone = project.clone(tmp_path / "clone")
    checkpoint = f"results/models/{ONE}/checkpoint.pt"
    clone.dvc("pull", checkpoint)
    said = clone.sync("restore", ok=False)
    assert "recorded files are not here" in said and "results/benchmark.svg" in said and "more" in said
    assert clone.planned(checkpoint) == {}
    assert clone.planned(f"results/models/{ONE}/last.pt").keys() >= {"train"}


@pytest.mark.parametrize("cached", [True, False])
def test_restore_refuses_what_was_changed(project, cached, tmp_path):
    clone = project.clone(tmp_path / "clone")
    clone.dvc("pull")
    changed = clone.folder / f"results/scenarios/{ONE}/prediction.npy"
    with changed.open("ab") as file:
        file.write(b"x")
    before = changed.stat().st_mtime_ns
    if not cached:
        shutil.rmtree(clone.folder / ".dvc/cache")
    said = clone.sync("restore", ok=False)
    assert "nothing was touched" in said
    assert ("prediction.npy" if cached else "results/scenarios") in said
    assert changed.stat().st_mtime_ns == before
    assert clone.planned()


def test_restore_refuses_other_code(project, tmp_path):
    clone = project.clone(tmp_path / "clone")
    clone.dvc("pull")
    (clone.folder / "cerraseg/core/errors.py").open("a").write("# edited\n")
    assert "modified cerraseg" in clone.sync("restore", ok=False)


def test_one_more_scenario_by_snakemake_is_recorded(project):
    project.reset()  # with which the scene went, that no stage records; it is now checked for both sensors
    project.configure(with_extra(OTHER))
    said = project.run()
    assert ran(said) == OF_SCENARIO | {"simulate_scene", "scene", "benchmark", "overview"}
    assert "dvc.lock records data, models, results" in said
    project.agree()
    assert "Running stage" not in project.dvc("repro")
    project.commit()


def test_two_configurations_do_not_share_a_landscape(project):
    other = ONE_SCENARIO | {"results": "results-other", "simulate": {"patches": 30}}
    project.configure(other)
    shutil.copy(project.folder / "results/manifest.json", project.folder / "data/simulated/manifest.json")
    assert "simulate.folder: data/simulated holds the patches of another configuration" in project.run("-n", ok=False)
    project.configure(other | {"simulate": {"patches": 30, "folder": "data/other"}, "scenes": []})
    assert "simulate" in project.planned()
    shutil.rmtree(project.folder / "results-other", ignore_errors=True)  # dry runs may leave nothing
    project.git("checkout", "config")


def test_a_description_in_a_file_that_dvc_does_not_track_is_refused(tmp_path):
    """Whether the file is the description or the legend of one that stands in the configuration."""
    dataset = CERRADATA.as_dict()
    with_legend = dataset | {"levels": {"l1": {"classes": "l1.csv"}}}
    made = Tracked(tmp_path / "project", ONE_SCENARIO | {"dataset": "mine.yaml"})
    for folder in (made.folder, made.folder / "reference"):  # on which all stages depend
        (folder / "mine.yaml").write_text(yaml.safe_dump(dataset))
    (made.folder / "l1.csv").write_text("id,name\n0,Wild\n1,Used\n")
    for command in (["record"], ["run", "data"]):
        assert "config/config.yaml: dataset is read from mine.yaml" in made.sync(*command, ok=False)
    made.configure(ONE_SCENARIO | {"dataset": with_legend})
    assert "config/config.yaml: dataset is read from l1.csv" in made.sync("record", ok=False)
    for seen in ("reference/mine.yaml", dataset):
        made.configure(ONE_SCENARIO | {"dataset": seen})
        assert "dvc.lock records nothing new" in made.sync("record")
