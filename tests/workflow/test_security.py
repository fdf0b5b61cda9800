"""A stranger's file cannot hurt: what would run code is never called, and checkpoints with code in them are refused."""

import ast
import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import arrays, opened, patch_file, write_patch
from scenes import CERRADATA
from scenes import NAMES as KNOWN
from test_train import plan

from cerraseg.config.custom_models import Pretrained
from cerraseg.config.recipes import RECIPES
from cerraseg.config.scenario import parse
from cerraseg.config.validate import check_config
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.data import index
from cerraseg.data import packed as store
from cerraseg.evaluation.score_files import read_patches
from cerraseg.models import adopt, checkpoint
from cerraseg.models.factory import build
from cerraseg.models.pretrained import load_encoder
from cerraseg.report.figures import curves
from cerraseg.report.markdown import markdown_text
from cerraseg.training import train

REPOSITORY = Path(__file__).parents[2]
SCHEMA = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
DEMO = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
UNSAFE = re.compile(
    r"(pickle|cPickle|dill|joblib|marshal|shelve)\.(load|loads|open|Unpickler)|(pd|pandas)\.read_pickle|os\.(system|popen)"
    r"|eval|exec|tempfile\.mktemp|yaml\.(load|load_all|unsafe_load|full_load|Loader|UnsafeLoader)|torch\.jit\.load"
    r"|torch\.hub\..*|torch\.package\..*|.*\.(extractall|unpack_archive|load_from_checkpoint)|ssl\._create_unverified.*"
)
ALLOWED = {
    ("cerraseg/training/distributed.py", "pickle.load"): "what srun brings from the step's own process, through a pipe",
    ("cerraseg/data/google_drive.py", "tar.extractall"): "with the filter of data",
    ("cerraseg/data/google_drive.py", "opened.extractall"): "of a zip whose entries were looked at",
}


class Harm:
    """What is in a file to write another one when it is read."""

    def __reduce__(self):
        return os.mkdir, ("harmed",)


def calls(path):
    """Dotted name and keywords of every call in a Python file; a Snakefile's rules are passed over."""
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
    else:
        for name, arguments in re.findall(r"([A-Za-z_][\w.]*)\(([^()]*)\)", text):
            yield name, dict(re.findall(r"(\w+)\s*=\s*([\w.]+)", arguments))


def unsafe(path):
    """What in a file could run what it reads, or hand what it is given to a shell, or trust any server."""
    for name, words in calls(path):
        loads = name == "torch.load" and words.get("weights_only") != "True"
        permits = {"allow_pickle": "True", "shell": "True", "verify": "False"}.items() & words.items()
        if loads or permits or UNSAFE.fullmatch(name):
            yield name


CODE = sorted(
    path
    for part in ("cerraseg", "workflow", "profiles", ".ci", "docs")
    for path in (REPOSITORY / part).rglob("*")
    if path.suffix in (".py", ".smk")
)


def test_nothing_unsafe_is_called():
    assert len(CODE) > 150
    found = {(path.relative_to(REPOSITORY).as_posix(), name) for path in CODE for name in unsafe(path)}
    assert found == ALLOWED.keys()


def test_no_rule_runs_a_shell():
    rules = "".join(path.read_text() for path in CODE if path.suffix == ".smk")
    assert not re.search(r"\bshell\(|^\s+(shell|run):", rules, re.MULTILINE)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-peers.txt"])
def test_every_dependency_is_locked_with_hashes(name):
    text = re.sub(r"^\s*#.*\n", "", (REPOSITORY / name).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) > 20
    for line in lines:
        assert re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[\w.+!-]+ ", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line) and "://" not in line and " @ " not in line, line


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Where harm would show, with the switch thrown that makes torch forget its caution."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    yield tmp_path
    assert not Path("harmed").exists()


def evil(how):
    """A file with code in it: a checkpoint, a state dict, a bare pickle, or an old archive of torch's."""
    file, tensor = Path(f"{how}.pt"), torch.zeros(1)
    if how == "bare":
        file.write_bytes(pickle.dumps(Harm()))
    elif how == "checkpoint":
        torch.save({"blueprint": {"model": Harm()}, "parameters": {"weight": tensor}, "training": {}}, file)
    else:
        content = {"state_dict": {"weight": tensor, "code": Harm()}}
        torch.save(content, file, _use_new_zipfile_serialization=how != "old")
    return file


def test_the_harm_is_real(here):
    """Without the switch that CerraSeg sets, each of the files would do its harm."""
    for how in ("checkpoint", "state", "bare", "old"):
        file = evil(how)
        pickle.loads(file.read_bytes()) if how == "bare" else torch.load(file, weights_only=False)
        Path("harmed").rmdir()


@pytest.mark.parametrize("how", ["checkpoint", "state", "bare", "old"])
def test_code_in_a_checkpoint_is_not_run(here, packed, how):
    """As a user's own or a released one, as a pretrained encoder, as the results of another's run, as a state."""
    file, statistics = evil(how), json.loads((packed / "statistics.json").read_text())
    scenario = parse("unet-msi-nw-l1-paper-1", KNOWN)
    recipe = RECIPES["paper"]["unet"]
    with pytest.raises(DataError, match=r"could run code when it is read|not a checkpoint"):
        adopt.adopt(file, scenario, recipe, {}, statistics, CERRADATA, here / "out.pt", here / "origin.json")
    net = build("mine", [12], 7, {"architecture": "Linknet", "encoder": "resnet18"}, 128)
    for suffix in (".pt", ".pth", ".safetensors"):
        with pytest.raises(DataError, match=r"could run code when it is read|not a checkpoint"):
            source = Pretrained(file.rename(file.with_suffix(suffix)))
            load_encoder(net, [f"B{band}" for band in range(12)], [source], ())
        file = file.with_suffix(suffix)
    with pytest.raises(DataError, match="not a checkpoint that CerraSeg wrote"):
        checkpoint.load(file.rename("checkpoint.pt"))


@pytest.mark.parametrize("how", ["state", "bare"])
def test_code_in_a_trainings_state_is_not_run(here, packed, how):
    what, files = plan("unet-msi-nw-l1-tuned-1", 1), train.Outputs(*map(Path, ("best.pt", "last.pt", "h.csv")))
    parts = packed / "split.csv", packed / "statistics.json"
    resume = here / "resume"
    resume.mkdir()
    (resume / "plan.txt").write_text(train.described(what, opened(packed), *parts))
    evil(how).rename(resume / "last.ckpt")
    with pytest.raises((DataError, pickle.UnpicklingError)):
        train.train(what, opened(packed), *parts, files, resume)


def test_code_in_packed_arrays_and_scores_is_not_run(here, packed):
    _, masks, header = arrays(packed)
    np.save("evil.npy", np.array([Harm()], dtype=object), allow_pickle=True)
    with pytest.raises((DataError, ValueError), match=r"Python objects|not"):
        store.open_store("evil.npy", masks, header)
    np.savez("evil.npz", counts=np.array([Harm()], dtype=object), ids=np.array([Harm()], dtype=object))
    with pytest.raises((DataError, ValueError)):
        read_patches("evil.npz")


@pytest.mark.parametrize("encoder", ["tu-hf-hub:evil/model", "tu-local-dir:/evil", "tu-hf_hub:evil/model@main"])
def test_no_model_hub_is_asked(here, encoder, monkeypatch):
    """Neither a configuration nor a stranger's checkpoint, which says what it is built from, can have one asked."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was asked"))
    own = {"architecture": "Unet", "encoder": encoder}
    for model in ({"unet": {"encoder": encoder}}, {"models": {"mine": own}}):
        with pytest.raises(ConfigError, match="encoder"):
            check_config(DEMO | model, SCHEMA)
    for name, settings in (("unet", {"encoder": encoder}), ("mine", own)):
        with pytest.raises(ConfigError, match="hub"):
            build(name, [12], 7, settings, 128)


@pytest.mark.parametrize("option", ["pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path"])
def test_timm_reads_no_file_by_itself(option):
    own = {"architecture": "Unet", "encoder": "tu-mobilenetv3_small_100", "options": {option: "evil.pth"}}
    for refused in (
        lambda: check_config(DEMO | {"models": {"mine": own}}, SCHEMA),
        lambda: build("mine", [12], 7, own, 128),
    ):
        with pytest.raises(ConfigError, match=rf"models\.mine\.options\.{option}: "):
            refused()


NAMES = [
    "x; touch pwned", "$(touch pwned)", "`touch pwned`", "a'b", 'a"b', "a\n", "-x", "{x}", "a%j", "a*", "a\\b", "~/a",
    " a", "a ", "", "a\x00b",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_stand_in_commands_are_refused(name):
    kinds = {"architecture": "Unet", "encoder": "resnet18"}
    for changes, path in (
        ({"results": name}, "results"),
        ({"scenes": [DEMO["scenes"][0] | {"name": name}]}, "scenes.0.name"),
        ({"models": {name: kinds}}, f"models.{name}"),
        ({"recipes": {name: {"from": "tuned"}}}, f"recipes.{name}"),
        ({"scenarios": DEMO["scenarios"] | {"extra": [f"unet-concat-nw-l1-paper-{name}"]}}, "scenarios.extra"),
    ):
        with pytest.raises(ConfigError) as caught:
            check_config(DEMO | changes, SCHEMA)
        found = str(caught.value)
        assert path in found or f"a key of {path.partition('.')[0]}: {name!r} holds the invisible" in found
    assert check_config(DEMO | {"results": "/scratch/ana/Mes résultats/2.1+a=b"}, SCHEMA)


def test_what_pages_and_snakemake_would_fill_in_is_refused(tmp_path):
    for label in ("a\n\n.. raw:: html\n\n <b>", "<script>", "[a](javascript:b)", "`a`_", "{x}"):
        with pytest.raises(ConfigError, match=r"label: "):
            check_config(DEMO | {"source": "local", "roots": str(tmp_path), "label": label}, SCHEMA)
    file = tmp_path / "{scene}.tif"
    file.touch()
    with pytest.raises(ConfigError, match=r"scenes\.mine\.msi: .*braces"):
        check_config(DEMO | {"scenes": [{"name": "mine", "msi": str(file), "sar": str(file)}]}, SCHEMA)


@pytest.mark.parametrize("id_", ["=cmd|' !A0", "+1", "@SUM(1)", "-2+3"])
def test_an_id_that_is_a_formula_is_no_patch(tmp_path, id_):
    """Ids come from the names of files and go into tables that people open in spreadsheets."""
    for place, good in enumerate(("1", "2", "3")):
        write_patch(tmp_path / "data", good, place)
    write_patch(tmp_path / "data", "4", 3)
    for layer in ("msi", "sar", "l1", "l2"):
        patch_file(tmp_path / "data", layer, "4").rename(patch_file(tmp_path / "data", layer, id_))
    table, rejected = tmp_path / "patches.parquet", tmp_path / "rejected.csv"
    index.write_patch_table([tmp_path / "data"], CERRADATA, table, rejected, max_rejected=0.5)
    assert pd.read_parquet(table)["id"].tolist() == ["1", "2", "3"]
    (row,) = pd.read_csv(rejected, dtype=str).itertuples(index=False)
    assert row.id == f"'{id_}" and "would be a formula in a table" in row.reason


def test_titles_are_no_formulas_and_cards_hold_no_links_of_strangers(tmp_path):
    history = {name: np.ones(1) for name in ("epoch", "train_loss", "val_loss", "val_macro_f1", "val_miou", "selected")}
    curves(history, tmp_path / "curves.svg", title=r"$\evil{", source=r"</text><script>$x_$ \frac{$")
    text = (tmp_path / "curves.svg").read_text()
    assert "<script>" not in text and r"$\evil{" in text
    assert markdown_text("[a](javascript:alert(1)) <script>| b\nc") == r"[a]\(javascript:alert(1)) &lt;script>\| b c"
