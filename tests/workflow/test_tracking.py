"""One result by two memories: the real DVC and the real Snakemake on one project."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from moto.server import ThreadedMotoServer
from project import TINY, Project

from cerraseg.core.errors import CerraSegError
from cerraseg.orchestration import run_lock
from cerraseg.orchestration.dvc_sync import commands, snakemake, stages

ONE, OTHER = "unet-msi-nw-l1-own-1", "unet-sar-nw-l1-own-1"
CONFIG = {key: value for key, value in TINY.items() if key not in ("released", "predict", "maps")} | {
    "results": "results",
    "recipes": {"own": {"from": "tuned", "learning_rate": 0.0005}},
    "scenarios": TINY["scenarios"] | {"modalities": ["msi"], "recipes": ["own"], "extra": []},
    "training": {"epochs": 1, "batch_size": 4},
}
SCENARIO_STAGES = ("train", "curves", "predict", "evaluate", "mosaic", "areas", "scenario_figures", "model_card")
MAP_STAGES = ("map", "scene_areas", "scene_figures", "stac")

pytestmark = pytest.mark.drill


class Tracked(Project):
    """A project in a git repository, with DVC."""

    parts = (*Project.parts, "dvc.yaml", ".dvc", ".dvcignore", ".gitignore")

    def git(self, *args: str) -> str:
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", *identity, *args], cwd=self.folder, check=True, text=True, capture_output=True
        ).stdout

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "state")

    def dvc(self, *args: str, ok: bool = True) -> str:
        return self.call([sys.executable, "-m", "dvc", *args], ok=ok)

    def tracking(self, *args: str, ok: bool = True) -> str:
        return self.call([sys.executable, "-m", "cerraseg.orchestration.dvc_sync", *args], ok=ok)

    def reset(self) -> None:
        """Back to the last commit, whatever was tried since."""
        self.git("reset", "--hard", "--quiet")
        self.dvc("checkout", "--force")
        self.tracking("restore")

    def ran(self, output: str) -> set[str]:
        """The stages that a `dvc repro` ran."""
        return set(re.findall(r"^Running stage '(.+)':", output, re.MULTILINE))

    def agree(self) -> None:
        """Both memories call everything up to date."""
        assert "Data and pipelines are up to date" in self.dvc("status")
        assert "Nothing to be done" in self.run("-n")

    def clone(self, folder: Path) -> "Tracked":
        subprocess.run(["git", "clone", "--quiet", self.folder, folder], check=True)
        made = object.__new__(Tracked)
        made.folder = folder
        return made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """A finished run of one scenario, made by `repro`."""
    made = Tracked(tmp_path_factory.mktemp("tracking") / "project", CONFIG)
    made.git("init", "--quiet", "--initial-branch=main")
    assert "dvc.lock and what is here agree: 25 stages" in made.tracking("repro")
    made.commit()
    return made


def with_extra(*ids: str, **changes: object) -> dict:
    return CONFIG | {"scenarios": CONFIG["scenarios"] | {"extra": list(ids)}} | changes


def test_what_repro_made_is_up_to_date_for_both(project):
    project.agree()
    assert not project.ran(project.dvc("repro"))
    assert json.loads(project.read(f"results/scores/{ONE}/summary.json"))["macro_f1"] > 0
    kept = [yaml.safe_load(path.read_text()) for path in (project.folder / ".dvc/cache/runs").glob("*/*/*")]
    assert {re.search(r"rules (\w+)", run["cmd"])[1] for run in kept} == stages.LONG


def test_git_holds_the_small_text_alone(project):
    kept = {Path(path).name for path in project.git("ls-files", "results").splitlines()}
    assert {"summary.json", "history.csv", "benchmark.md", "digests.json", "model_card.md"} <= kept
    assert not {Path(name).suffix for name in kept} - {".json", ".csv", ".md", ".tex"}


def test_nothing_is_blessed_beside_a_run(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    with run_lock.alone():
        for command in ("restore", "repro"):
            assert "a snakemake still runs in this folder" in project.tracking(command, ok=False)


def test_lock_is_what_dvc_itself_would_write(project):
    lock = project.read("dvc.lock")
    project.dvc("commit", "--force", "pack", f"train@{ONE}", "benchmark")
    assert project.read("dvc.lock") == lock


def test_experiment_shows_in_metrics_parameters_and_plots(project):
    project.dvc("exp", "run", "--name", "faster", "--set-param", "config/config.yaml:recipes.own.learning_rate=0.01")
    project.agree()
    assert '"faster"' in project.dvc("exp", "show", "--json")
    rate = json.loads(project.dvc("params", "diff", "--json"))["config/config.yaml"]["recipes.own.learning_rate"]
    assert (rate["old"], rate["new"]) == (0.0005, 0.01)
    metrics = json.loads(project.dvc("metrics", "diff", "--json"))
    assert "macro_f1" in metrics[f"results/scores/{ONE}/summary.json"]
    project.dvc("plots", "show", "--out", "plots")
    page = (project.folder / "plots/index.html").read_text()
    for shown in ("val_macro_f1", f"{ONE}_confusion.svg", f"{ONE}_curves.svg", f"{ONE}_map.png"):
        assert shown in page
    project.reset()
    project.agree()


def test_one_more_scenario_by_snakemake_is_recorded(project):
    project.configure(with_extra(OTHER))
    assert "dvc.lock records 37 stages; 0 are not up to date" in project.run()
    project.agree()
    assert not project.ran(project.dvc("repro"))
    changed = set(re.findall(r"^\+  (\S+):$", project.git("diff", "HEAD", "--", "dvc.lock"), re.MULTILINE))
    wanted = {f"{name}_extra@{OTHER}" for name in SCENARIO_STAGES}
    assert changed == wanted | {f"{name}_extra@scene0-{OTHER}" for name in MAP_STAGES}
    project.commit()


def test_one_setting_by_dvc_leaves_nothing_to_snakemake(project):
    project.configure(with_extra(OTHER, index={"max_rejected": 0.02}))
    assert project.ran(project.dvc("repro")) == {"digests", "index", "overview"}
    project.agree()
    project.configure(with_extra(OTHER))
    assert project.ran(project.dvc("repro")) == {"digests", "index", "overview"}
    project.agree()


def test_repro_runs_no_more_than_dvc_would(project):
    """An index that comes out as before makes nobody train; an edit that changes no digest makes nobody run."""
    checkpoint = project.folder / f"results/scenarios/{ONE}/checkpoint.pt"
    before = checkpoint.read_bytes(), checkpoint.stat().st_ino
    project.configure(with_extra(OTHER, index={"max_rejected": 0.03}))
    (project.folder / "cerraseg/core/errors.py").open("a").write("# edited\n")
    said = project.tracking("repro")
    assert re.findall("running ([0-9]+)", said) == ["1", "1", "1"]
    assert (checkpoint.read_bytes(), checkpoint.stat().st_ino) == before
    lock = project.read("dvc.lock")
    assert not project.ran(project.dvc("repro")) and project.read("dvc.lock") == lock
    project.agree()
    project.reset()


def test_failed_step_is_left_alone(project):
    path = project.folder / "workflow/scripts/mosaic.py"
    text = path.read_text()
    try:
        path.write_text(text + "\nraise SystemExit('broken')\n")
        assert "29 stages; 8 are not up to date" in project.run(ok=False)
        status = yaml.safe_load(project.dvc("status", "--json"))
        assert {name.split("@")[0].removesuffix("_extra") for name in status} == {
            "mosaic",
            "scenario_figures",
            "areas",
            "overview",
        }
    finally:
        path.write_text(text)
    project.reset()
    project.agree()


@pytest.mark.parametrize("remote", ["folder", "s3"])
def test_colleague_pulls_and_has_nothing_to_do(project, remote, tmp_path, monkeypatch):
    server = ThreadedMotoServer(port=0) if remote == "s3" else None
    where = ["--local", "store", f"{tmp_path / 'store'}"]
    try:
        if server:
            server.start()
            _, port = server.get_host_and_port()
            for name, value in {"ID": "AWS_ACCESS_KEY_ID", "key": "AWS_SECRET_ACCESS_KEY"}.items():
                monkeypatch.setenv(value, name)
            endpoint = f"http://127.0.0.1:{port}"
            make_bucket = (
                f"import boto3; boto3.client('s3', endpoint_url='{endpoint}').create_bucket(Bucket='cerraseg')"
            )
            subprocess.run([sys.executable, "-c", make_bucket], check=True)
            where[-1] = "s3://cerraseg/store"
        project.dvc("remote", "add", "--force", "--default", *where)
        if server:
            project.dvc("remote", "modify", "--local", "store", "endpointurl", endpoint)
        project.dvc("push", "--all-commits")
        clone = project.clone(tmp_path / "clone")
        shutil.copy(project.folder / ".dvc/config.local", clone.folder / ".dvc/config.local")
        clone.dvc("pull")
        assert clone.planned()["train"] == 2
        clone.tracking("restore")
        clone.agree()
        clone.git("checkout", "--quiet", "HEAD~1")
        clone.dvc("pull")
        clone.tracking("restore")
        clone.agree()
    finally:
        if server:
            server.stop()


def test_part_of_a_pull_is_enough(project, tmp_path):
    project.dvc("remote", "add", "--force", "--default", "--local", "store", f"{tmp_path / 'store'}")
    project.dvc("push")
    clone = project.clone(tmp_path / "clone")
    shutil.copy(project.folder / ".dvc/config.local", clone.folder / ".dvc/config.local")
    clone.dvc("pull", f"mosaic@{ONE}")
    clone.tracking("restore")
    assert clone.planned(f"results/scenarios/{ONE}/mosaic") == {}
    assert not (clone.folder / f"results/scenarios/{ONE}/checkpoint.pt").exists()


@pytest.mark.parametrize("cached", [True, False])
def test_restore_refuses_what_was_changed_by_hand(project, cached, tmp_path):
    clone = project.clone(tmp_path / "clone")
    shutil.copytree(project.folder / ".dvc/cache", clone.folder / ".dvc/cache")
    clone.dvc("checkout")
    changed = clone.folder / f"results/scenarios/{ONE}/prediction.npy"
    with changed.open("ab") as file:
        file.write(b"x")
    if not cached:
        shutil.rmtree(clone.folder / ".dvc/cache")
    left = clone.folder / "results/scores/left/metrics.json"
    left.parent.mkdir()
    left.write_text("{}")
    before = changed.stat().st_mtime_ns
    said = clone.tracking("restore", ok=False)
    assert f"predict@{ONE}: modified results/scenarios/{ONE}/prediction.npy" in said and "nothing was touched" in said
    assert changed.stat().st_mtime_ns == before and left.exists()
    assert clone.planned()


def test_scores_of_a_scenario_that_left_are_set_aside(project):
    project.configure(CONFIG)
    project.run()
    assert not (project.folder / f"results/scores/{OTHER}").exists()
    assert (project.folder / f"results/former-scores/{OTHER}/metrics.json").exists()
    project.agree()
    project.reset()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_killed_dvc_repro_goes_on(project, how):
    project.configure(with_extra(OTHER, training={"epochs": 8 + list(signal.Signals).index(how), "batch_size": 4}))
    state = project.folder / f"results/resume/{ONE}/last.ckpt"
    shutil.rmtree(state.parent, ignore_errors=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--single-item", "digests", f"train@{ONE}"],
        cwd=project.folder, env=project.environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(1200):
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
    assert not (project.folder / f"results/scenarios/{ONE}/checkpoint.pt").exists()
    said = project.dvc("repro", "--single-item", "digests", f"train@{ONE}")
    assert "going on from the state" in said
    assert project.ran(said) >= {f"train@{ONE}"}


@pytest.fixture
def definitions(project, monkeypatch):
    """Jobs of the rules, and `dvc.yaml` to be changed."""
    project.git("reset", "--hard", "--quiet")
    monkeypatch.chdir(project.folder)
    text = Path("dvc.yaml").read_text()
    yield snakemake.jobs(), text
    Path("dvc.yaml").write_text(text)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", []),
        (
            "  curves_extra: {<<: *curves, matrix: *extra}\n",
            "",
            [f"results/scenarios/{OTHER}/curves.svg: output of rule curves that no stage of dvc.yaml has"],
        ),
        (
            "    deps: [\"${results}/scenarios/${key}/history.csv\"]\n",
            "",
            [
                f"curves@{ONE}: deps lack results/scenarios/{ONE}/history.csv, which rule curves reads",
                f"curves_extra@{OTHER}: deps lack results/scenarios/{OTHER}/history.csv, which rule curves reads",
            ],
        ),
        (
            "${run} pack -- ${results}/packed/images.npy",
            "${run} index -- ${results}/packed/images.npy",
            ["pack: cmd does not ask rule pack for one of its outputs: "],
        ),
        (
            "      - ${results}/packed/header.json\n",
            "",
            ["pack: outs lack results/packed/header.json, which rule pack writes"],
        ),
        (
            "      - ${results}/split.csv\n      - ${results}/provenance",
            "      - ${results}/split.csv\n      - extra.csv\n      - ${results}/provenance",
            ["split: outs name extra.csv, which rule split does not write"],
        ),
        (
            "deps: [\"${results}/manifest.json\"]",
            "deps: [\"${results}/manifest.json\", Snakefile]",
            ["index: deps name Snakefile, which rule index does not read"],
        ),
        ("digests.json: [split]", "digests.json: [pack]", ["split: params lack the digest split"]),
        ("  class_shares:\n", "  shares:\n", ["shares: its outputs are those of rule class_shares"]),
        (
            "${results}/class_shares.svg",
            "other.svg",
            ["class_shares: cmd does not ask rule class_shares", "class_shares: outs lack"],
        ),
    ],
)  # fmt: skip
def test_check_names_each_drift(definitions, old, new, expected):
    jobs, text = definitions
    assert old in text
    Path("dvc.yaml").write_text(text.replace(old, new))
    found = commands.drift(jobs, list(stages.opened().index.stages))
    for line in expected:
        assert any(fault.startswith(line) for fault in found), found
    assert bool(found) == bool(expected)


def test_check_explains_a_broken_file(definitions):
    Path("dvc.yaml").write_text(definitions[1].replace("${scenarios.seeds}", "${scenarios.sleds}"))
    with pytest.raises(CerraSegError, match="sleds"):
        stages.opened()
