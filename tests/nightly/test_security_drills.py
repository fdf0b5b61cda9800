"""Real runs with names that a shell would obey and with secrets everywhere: none is obeyed, none is written down."""

import base64
import copy
import json
import re
import shutil
import sys

import pytest
from conftest import write_patch
from kaggle_server import serving, zip_of
from project import ONE_SCENARIO, TINY, TUNED, Tracked

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
IN_FILES = ("planted-kaggle-file", "planted-aws-file", "planted-dvc", "planted-netrc")
DIRECT = """import os
from kagglesdk import kaggle_env
kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = os.environ["SERVER"]
"""
URL = "postgresql://ana:$DB_PASSWORD@127.0.0.1:1/t"
REMOTE = """[core]
    remote = store
['remote "store"']
    url = s3://bucket/store
    endpointurl = http://127.0.0.1:9
    access_key_id = planted-dvc
    secret_access_key = planted-dvc
"""
SBATCH = """#!/bin/sh
for script; do :; done
printf "%s\\n" "$@" >>"$SEEN"
SLURM_JOB_ID=1 sh "$script" >/dev/null 2>&1
echo 1
"""


def tiny(**changes):
    config = copy.deepcopy(TINY) | {"predict": {}, "maps": {}}
    return config | {"scenes": [], "training": {"epochs": 1, "batch_size": 4}} | changes


def test_folders_that_a_shell_would_obey(tmp_path):
    """Every path of a configuration that is free, in real runs: they go well, and nothing in a name is done."""
    made = Tracked(tmp_path / "project", tiny(simulate={"patches": 24, "folder": NAME}))
    made.run("results/manifest.json")
    here = NAME.removesuffix(" $")  # in a path of the user's, a $ begins a variable
    (made.folder / NAME).rename(made.folder / here)
    (made.folder / "released").rename(made.folder / f"re {here}")
    shutil.rmtree(made.folder / "results")
    (roots,) = {path.parents[1].relative_to(made.folder) for path in (made.folder / here).rglob("*.tif")}
    local = {
        "source": "local",
        "roots": str(roots),
        "split": {"scheme": "paper"},
        "released": {"source": "local", "folder": f"re {here}"},
    }
    label = "a label; touch pwned $(touch pwned) %s 'q' \"d\" =1+1 $x_$ $ &"
    made.configure(tiny(**local, label=label, results="re sults é"))
    made.run()
    made.run("--report", "report.html")
    assert json.loads(made.read(f"re sults é/metrics/{TUNED}.json"))["macro_f1"] >= 0
    checkpoint, encoder = f"own {here}.pt", f"encoder {here}.pt"
    for copied in (checkpoint, encoder):
        shutil.copy(made.folder / f"re sults é/models/{TUNED}/checkpoint.pt", made.folder / copied)
    mine = {"architecture": "Unet", "encoder": "tu-mobilenetv3_small_100", "depth": 3, "pretrained": encoder}
    mine["options"] = {"decoder_channels": [16, 16, 8]}
    lists = TINY["scenarios"] | {"extra": ["mine-concat-nw-l1-tuned-1"]}
    made.configure(tiny(**local, checkpoints={TUNED: checkpoint}, models={"mine": mine}, scenarios=lists))
    of_both = f"results/models/{TUNED}/origin.json", "results/models/mine-concat-nw-l1-tuned-1/checkpoint.pt"
    made.run(*of_both)
    assert json.loads(made.read(f"results/models/{TUNED}/origin.json"))["file"] == checkpoint
    assert list(tmp_path.rglob("pwned*")) == []


def test_dvc_runs_nothing_of_a_configuration(tmp_path):
    made = Tracked(tmp_path / "project", ONE_SCENARIO | {"results": "x; touch pwned; #"})
    assert "results: 'x; touch pwned; #' does not match" in made.dvc("repro", ok=False)
    assert list(tmp_path.rglob("pwned*")) == []


def test_slurm_gets_names_that_it_can_take(tmp_path):
    """A job goes to a stand-in of sbatch, which runs it: names of files are no commands there either."""
    made = Tracked(tmp_path / "project", tiny(simulate={"patches": 12, "folder": NAME}))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {"sbatch": SBATCH, "squeue": "#!/bin/sh\n", "scancel": "#!/bin/sh\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    path = f"{programs}:{made.environment()['PATH']}"
    where = ("--workflow-profile", "profiles/slurm", "--latency-wait", "5", "--seconds-between-status-checks", "1")
    made.run("results/manifest.json", *where, PATH=path, SEEN=str(tmp_path / "seen"))
    assert "--job-name=cerraseg-simulate-all" in (tmp_path / "seen").read_text()
    assert list((made.folder / NAME).rglob("*.tif")) and list(tmp_path.rglob("pwned*")) == []


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


def looked_through(folder, but, secrets):
    """Each secret → the files below the folder that hold it, ``but`` for some."""
    files = [path for path in folder.rglob("*") if path.is_file() and path not in but]
    assert {path.suffix for path in files} >= {".html", ".db", ".pt", ".md", ".json", ".lock", ".log", ".svg", ".csv"}
    found = {secret: [path for path in files if secret.encode() in path.read_bytes()] for secret in secrets}
    return {secret: paths for secret, paths in found.items() if paths}


def test_secrets_are_written_nowhere(tmp_path, home):
    """A download, a training with all its reports, a search and DVC; then all files and words are looked through."""
    data = tmp_path / "data"
    for place in range(24):
        write_patch(data, str(place + 1), place)
    archive = zip_of({f"a/{path.relative_to(data)}": path.read_bytes() for path in sorted(data.rglob("*.tif"))})
    config = tiny(source="kaggle", kaggle={"dataset": "a/copy", "version": 3}, results="results")
    config["scenarios"] = config["scenarios"] | {"extra": []}
    search = {"scenario": TUNED, "trials": 1, "space": {"learning_rate": [0.001]}}
    made = Tracked(tmp_path / "project", config | {"tune": search | {"storage": URL}})
    script = made.folder / "workflow/scripts/download.py"
    script.write_text(DIRECT + script.read_text())
    (made.folder / ".dvc/config.local").write_text(REMOTE)
    env = SECRETS | {"HOME": str(home), "NO_PROXY": "localhost,127.0.0.1", "KAGGLE_CONFIG_DIR": str(home / ".kaggle")}
    with serving(archive) as server:
        said = [made.run(**env, SERVER=server.url)]
        assert server.asked("archive")
    said.append(made.run("--report", "report.html", **env))
    said.append(made.run("tune", ok=False, **env))
    assert f"tune.storage: {URL} cannot be opened" in said[-1]
    said += [made.run("-n", "--forceall", "--printshellcmds", **env)]
    made.configure(config | {"tune": search})
    said.append(made.run("tune", **env))
    said.append(made.call([sys.executable, "-m", "cerraseg.orchestration.dvc_sync", "record"], **env))
    said.append(made.call([sys.executable, "-m", "dvc", "push"], ok=False, **env, AWS_MAX_ATTEMPTS="1"))
    planted = re.findall(r"(?:planted-|hf_)[\w-]+", " ".join([*SECRETS.values(), *IN_FILES]))
    assert len(planted) == 11
    looked_for = [*planted, *(base64.b64encode(f"ana:planted-kaggle-{of}".encode()).decode() for of in ("key", "file"))]
    own = {made.folder / "config/config.yaml", made.folder / ".dvc/config.local"}
    assert looked_through(made.folder, own, looked_for) == {}
    assert [secret for secret in looked_for if any(secret in text for text in said)] == []
