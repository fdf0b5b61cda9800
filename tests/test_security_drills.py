"""Real runs with names that a shell would obey, and with secrets everywhere: nothing is obeyed, nothing is written down."""

import base64
import copy
import json
import shutil

import pytest
from conftest import write_patch
from kaggle_server import serving, zip_of
from project import RELEASED, TINY, TUNED
from test_tracking import CONFIG, Tracked

pytestmark = pytest.mark.drill

NAME = "da ta; touch pwned `touch pwned` 'q' \"d\" %j * [a] & | > -x $"
SECRETS = {
    "KAGGLE_USERNAME": "ana",
    "KAGGLE_KEY": "planted-kaggle-key",
    "AWS_ACCESS_KEY_ID": "planted-aws-id",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-secret",
    "AWS_SESSION_TOKEN": "planted-aws-session",
    "HF_TOKEN": "hf_planted",
    "HTTPS_PROXY": "http://ana:planted-proxy@127.0.0.1:9",
    "DB_PASSWORD": "planted-in-variable",
}
IN_FILES = ("planted-kaggle-file", "planted-aws-file", "planted-dvc", "planted-netrc", "planted-in-url")
DIRECT = "import os\nfrom kagglesdk import kaggle_env\nkaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = os.environ['SERVER']\n"


def tiny(**changes):
    config = copy.deepcopy(TINY) | {"predict": {}, "maps": {}}
    return config | {"scenes": [], "training": {"epochs": 1, "batch_size": 4}} | changes


def test_folders_that_a_shell_would_obey(tmp_path):
    """Every path of a configuration that is free, in one run: it is done, and nothing in a name is."""
    made = Tracked(
        tmp_path / "project", tiny(simulate={"patches": 24, "folder": NAME, "scene": {"width": 150, "height": 140}})
    )
    made.run("--until", "pack")
    here = NAME.removesuffix(" $")  # a $ is a variable, in a path that the user has
    (made.folder / NAME).rename(made.folder / here)
    shutil.move(made.folder / "released", made.folder / f"re {here}")
    shutil.copytree(made.folder / here / "scene", made.folder / f"scene {here}", dirs_exist_ok=True) if (
        made.folder / here / "scene"
    ).exists() else None
    made.configure(
        tiny(
            source="local",
            roots=here,
            label="a label; touch pwned $(touch pwned) {x} %s 'q' \"d\" =1+1 $\\frac".replace("\\", ""),
            results="re sults (1)".replace("(1)", "é"),
            released={"source": "local", "folder": f"re {here}"},
        )
    )
    made.run()
    report = made.run("--report", "report.html")
    assert "Report created" in report or (made.folder / "report.html").exists()
    assert json.loads(made.read(f"re sults é/scores/{TUNED}/summary.json"))["macro_f1"] >= 0
    checkpoint, encoder = f"own {here}.pt", f"encoder {here}.pt"
    shutil.copy(made.folder / f"re sults é/scenarios/{TUNED}/checkpoint.pt", made.folder / checkpoint)
    shutil.copy(made.folder / checkpoint, made.folder / encoder)
    mine = {"architecture": "Unet", "encoder": "tu-mobilenetv3_small_100", "depth": 3, "pretrained": encoder}
    mine["options"] = {"decoder_channels": [16, 16, 8]}
    made.configure(
        tiny(
            source="local", roots=here, checkpoints={TUNED: checkpoint}, models={"mine": mine},
            scenarios=TINY["scenarios"] | {"extra": ["mine-concat-nw-l1-tuned-1"]},
        )
    )  # fmt: skip
    made.run("results/benchmark.csv")
    assert list(tmp_path.rglob("pwned*")) == []
    assert RELEASED not in made.read("results/benchmark.csv").decode()


def test_dvc_runs_nothing_of_a_configuration(tmp_path):
    """DVC puts ``results`` into commands of its stages: CerraSeg refuses it in the first one, which has none of it."""
    made = Tracked(tmp_path / "project", CONFIG)
    made.git("init", "--quiet", "--initial-branch=main")
    made.configure(CONFIG | {"results": "x; touch pwned; #"})
    output = made.dvc("repro", ok=False)
    assert "results: 'x; touch pwned; #' does not match" in output
    assert "does not match" in made.tracking("check", ok=False)
    made.configure(CONFIG | {"results": "re sults"})
    assert "a folder of results with a space" in made.tracking("check", ok=False)
    assert list(tmp_path.rglob("pwned*")) == []


def test_slurm_gets_names_that_it_can_take(tmp_path):
    """A job goes to a stand-in of sbatch, which runs it: names of files are no commands there either."""
    made = Tracked(tmp_path / "project", tiny(simulate={"patches": 12, "folder": NAME}))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {
        "sbatch": 'for script; do :; done\nprintf "%s\\n" "$@" >>"$SEEN"\nSLURM_JOB_ID=1 sh "$script" >/dev/null 2>&1\necho 1',
        "squeue": "exit 0",
        "scancel": "exit 0",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    path = f"{programs}:{made.environment()['PATH']}"
    where = ("--workflow-profile", "profiles/slurm", "--latency-wait", "5", "--seconds-between-status-checks", "1")
    made.run("results/manifest.json", *where, PATH=path, SEEN=str(tmp_path / "seen"))
    assert "--job-name=cerraseg-simulate-all" in (tmp_path / "seen").read_text()
    assert (made.folder / NAME / "msi_images").is_dir() and list(tmp_path.rglob("pwned*")) == []


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose files hold secrets, as programs expect them there."""
    made = tmp_path_factory.mktemp("home")
    for name, text in {
        ".kaggle/kaggle.json": '{"username": "ana", "key": "planted-kaggle-file"}',
        ".aws/credentials": "[default]\naws_access_key_id = planted-aws-file\naws_secret_access_key = planted-aws-file",
        ".netrc": "machine localhost login ana password planted-netrc",
    }.items():
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text(text)
        (made / name).chmod(0o600)
    return made


@pytest.mark.parametrize("credentials", ["environment", "file"])
def test_secrets_are_written_nowhere(tmp_path, home, credentials):
    """A download, a training with all its reports, a search and DVC; then every file and every word is looked through."""
    data = tmp_path / "data"
    for place in range(24):
        write_patch(data, str(place + 1), place)
    archive = zip_of({f"a/{path.relative_to(data)}": path.read_bytes() for path in sorted(data.rglob("*.tif"))})
    shutil.rmtree(data)
    search = {"scenario": TUNED, "trials": 1, "space": {"learning_rate": [0.001]}}
    config = tiny(source="kaggle", kaggle={"dataset": "a/copy", "version": 3}, results="results")
    config["scenarios"] = config["scenarios"] | {"extra": []}
    made = Tracked(
        tmp_path / "project", config | {"tune": search | {"storage": "postgresql://ana:planted-in-url@127.0.0.1:1/t"}}
    )
    made.git("init", "--quiet", "--initial-branch=main")
    script = made.folder / "workflow/scripts/download.py"
    script.write_text(DIRECT + script.read_text())
    (made.folder / ".dvc/config.local").write_text("[core]\n remote = s\n['remote \"s\"']\n url = s3://b/c\n"
                                                   " secret_access_key = planted-dvc\n access_key_id = planted-dvc\n")  # fmt: skip
    secrets = {k: v for k, v in SECRETS.items() if credentials == "environment" or not k.startswith("KAGGLE")}
    env = secrets | {"HOME": str(home), "NO_PROXY": "localhost", "KAGGLE_CONFIG_DIR": str(home / ".kaggle")}
    said = []
    with serving(archive) as server:
        env["SERVER"] = server.url
        said.append(made.run(**env))
        assert len(server.asked("archive")) == 2
    said.append(made.run("--report", "report.html", **env))
    failed = made.run("tune", ok=False, **env)
    assert "tune.storage: postgresql://***@127.0.0.1:1/t cannot be opened" in failed
    made.configure(config | {"tune": search | {"storage": "postgresql://ana:$DB_PASSWORD@127.0.0.1:1/t"}})
    said += [failed, made.run("tune", ok=False, **env), made.run("-n", "--forceall", "--printshellcmds", **env)]
    made.configure(
        config | {"tune": search | {"storage": "sqlite:///results/tune/study.db?timeout=9&password=planted-in-url"}}
    )
    said.append(made.run("tune", **env))
    said += [
        made.call(["env", *(f"{k}={v}" for k, v in env.items()), "dvc", *args])
        for args in (["status"], ["commit", "-f"])
    ]
    planted = [
        value.rpartition(":")[2].partition("@")[0] for name, value in secrets.items() if name != "KAGGLE_USERNAME"
    ]
    assert "planted-proxy" in planted
    looked_for = [secret.encode() for secret in (*planted, *IN_FILES)]
    looked_for += [base64.b64encode(f"ana:{key}".encode()) for key in ("planted-kaggle-key", "planted-kaggle-file")]
    own = {made.folder / "config/config.yaml", made.folder / ".dvc/config.local"}
    files = [path for path in made.folder.rglob("*") if path.is_file() and path not in own]
    assert {path.suffix for path in files} >= {".html", ".db", ".pt", ".md", ".json", ".lock", ".log", ".svg", ".csv"}
    for secret in looked_for:
        assert not [path for path in files if secret in path.read_bytes()], secret
        assert not [text for text in said if secret.decode() in text], secret
