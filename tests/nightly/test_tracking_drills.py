"""DVC's experiments, an S3 remote, and ``dvc repro`` killed: minutes of real trainings."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from moto.server import ThreadedMotoServer
from project import ONE, ONE_SCENARIO, Tracked
from test_tracking import OTHER, ran, with_extra


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    made = Tracked(tmp_path_factory.mktemp("tracking") / "project", ONE_SCENARIO)
    made.dvc("repro")
    made.commit()
    return made


def test_experiment_shows_in_metrics_parameters_and_plots(project):
    project.dvc("exp", "run", "--name", "faster", "--set-param", "config/config.yaml:recipes.own.learning_rate=0.01")
    project.agree()
    assert '"faster"' in project.dvc("exp", "show", "--json")
    rate = json.loads(project.dvc("params", "diff", "--json"))["config/config.yaml"]["recipes.own.learning_rate"]
    assert (rate["old"], rate["new"]) == (0.0005, 0.01)
    assert "macro_f1" in json.loads(project.dvc("metrics", "diff", "--json"))[f"results/metrics/{ONE}.json"]
    project.dvc("plots", "diff", "--out", "plots")
    page = (project.folder / "plots/index.html").read_text()
    for shown in ("val_macro_f1", "confusion.svg", "curves.svg", "map.png", "workspace", "HEAD"):
        assert shown in page
    shutil.rmtree(project.folder / "plots")
    project.reset()
    project.agree()


def test_files_of_another_configuration_are_never_recorded(project):
    """A configuration is edited and run, then DVC brings back the files of the recorded one."""
    try:
        project.configure(ONE_SCENARIO | {"training": {"epochs": 2, "batch_size": 4}})
        project.run(CERRASEG_TRACKING="1")  # without `record` at its end
        project.dvc("checkout", "--force")
        project.run()
        old = project.read(f"results/models/{ONE}/last.pt")
        assert "unknown" in project.sync("record")
        lock = yaml.safe_load(project.read("dvc.lock"))["stages"]["models"]
        assert lock["params"]["config/config.yaml"]["training"]["epochs"] == 1
        project.dvc("repro")
        project.agree()
        assert project.read(f"results/models/{ONE}/last.pt") != old
    finally:
        project.reset()


def test_experiment_in_a_folder_of_its_own_trains_what_it_changes(project):
    """Patches are simulated again there, as a setting of the index changes; the models are those of the lock."""
    before = project.read("dvc.lock")
    said = project.dvc("exp", "run", "--temp", "--set-param", "config/config.yaml:+index.max_rejected=0.02")
    assert "rule simulate:" in said and "rule train:" not in said
    assert project.read("dvc.lock") == before
    project.agree()


def test_results_reach_a_colleague_by_s3(project, tmp_path, monkeypatch):
    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ID")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
        make = f"import boto3; boto3.client('s3', endpoint_url='{endpoint}').create_bucket(Bucket='cerraseg')"
        subprocess.run([sys.executable, "-c", make], check=True)
        project.dvc("remote", "add", "--force", "--default", "--local", "store", "s3://cerraseg/store")
        project.dvc("remote", "modify", "--local", "store", "endpointurl", endpoint)
        project.dvc("push")
        clone = project.clone(tmp_path / "clone")
        clone.dvc("pull")
        clone.sync("restore")
        clone.agree()
    finally:
        server.stop()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_killed_repro_goes_on(project, how):
    project.configure(ONE_SCENARIO | {"training": {"epochs": 8 + list(signal.Signals).index(how), "batch_size": 4}})
    state = project.folder / f"results/resume/{ONE}/last.ckpt"
    shutil.rmtree(state.parent, ignore_errors=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=project.folder, env=project.environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(2400):
        if state.exists():
            break
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, how)
    process.wait(60)
    for _ in range(300):  # dvc ends at once, Snakemake and the training put things away
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    assert not (project.folder / f"results/models/{ONE}/checkpoint.pt").exists()
    if how == signal.SIGKILL:
        project.run("--unlock")
    assert "going on from the state" in project.dvc("repro")
    project.agree()


def test_edit_that_changes_no_step_makes_nothing(project):
    (project.folder / "cerraseg/core/errors.py").open("a").write("# edited\n")
    assert ran(project.dvc("repro")) == set()
    project.agree()
    project.reset()


def test_failed_step_is_left_alone(project):
    script = project.folder / "workflow/scripts/mosaic.py"
    script.write_text(script.read_text() + "\nraise SystemExit('broken')\n")
    assert "stage results is left as it was" in project.run(ok=False)
    status = json.loads(project.dvc("status", "--json"))
    assert status.keys() == {"results"}
    project.reset()
    project.agree()


def test_scenario_that_left_is_in_no_folder_of_dvc(project):
    project.configure(with_extra(OTHER))
    project.run()
    project.commit()
    project.configure(ONE_SCENARIO)
    assert ran(project.dvc("repro")) == {"scene", "map", "describe_map", "benchmark", "overview"}  # of one sensor again
    results = project.folder / "results"
    assert [path.name for path in (results / "metrics").iterdir()] == [f"{ONE}.json"]
    assert (results / f"former/metrics/{OTHER}.json").exists()
    assert (results / f"former/models/{OTHER}/checkpoint.pt").exists()
    project.agree()
    project.reset()
    project.agree()
    assert (results / f"metrics/{OTHER}.json").exists()


def test_deleted_patches_are_made_again_when_they_are_read(project):
    shutil.rmtree(project.folder / "data")
    project.agree()
    project.configure(with_extra(OTHER, index={"max_rejected": 0.03}))
    said = project.dvc("repro")
    assert {"simulate", "index"} <= ran(said) and "train" not in ran(said)
    project.agree()
    shutil.rmtree(project.folder / "data/simulated/cerradata_4mm/msi_images")
    project.configure(with_extra(OTHER))
    assert "has not the files that results/manifest.json counted: msi_images" in project.dvc("repro", ok=False)
    project.reset()
