"""Checkpoints that are damaged or absurd: refused in words, within memory, whatever their reader trips over."""

import io
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from cell import CASES, Cell, assert_no_fault, cells
from hypothesis import given, settings
from safetensors.torch import save_file
from scenes import CERRADATA, NAMES, TRAINED

from cerraseg.config.custom_models import Pretrained
from cerraseg.config.recipes import RECIPES
from cerraseg.config.scenario import parse
from cerraseg.models import adopt, checkpoint, pretrained
from cerraseg.models.checkpoint import Blueprint, Segmenter
from cerraseg.models.factory import build

cell = pytest.fixture(cells, scope="module")
SETTINGS = {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": [16, 16, 8]}
SCENARIO = parse("unet-sar-nw-l1-paper-1", NAMES)
ENCODER = {"architecture": "Unet", "encoder": SETTINGS["encoder"], "depth": 3}
ENCODER["options"] = {"decoder_channels": SETTINGS["decoder_channels"]}


@pytest.fixture(scope="module")
def good():
    """What a checkpoint holds."""
    torch.manual_seed(0)
    blueprint = Blueprint(
        "unet", SETTINGS, "sar", "l1", checkpoint.describe(CERRADATA, "sar", "l1"), (1.0, 2.0), (3.0, 4.0)
    )
    parameters = dict(Segmenter(blueprint).net.state_dict())
    return {"blueprint": vars(blueprint), "parameters": parameters, "training": {"scenario": SCENARIO.id}}


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def loaded(path):
    return checkpoint.load(path)[1]


def adopted(path):
    out = path.parent / "out"
    files = out / "best.pt", out / "origin.json"
    adopt.adopt(path, SCENARIO, RECIPES["paper"]["unet"], SETTINGS, {"bands": TRAINED}, CERRADATA, *files)


def started(path):
    pretrained.load_encoder(build("mine", [2], 7, ENCODER, 128), ("VV", "VH"), [Pretrained(path)], ())


def kinds(cell, path, *ways):
    """How a file ends as a scenario's checkpoint, as one to adopt, and as an encoder's parameters."""
    return [assert_no_fault(cell.run(way, path)).kind for way in ways or (loaded, adopted, started)]


def damage(data, content, places):
    """Change some bytes at places, and perhaps cut the end off."""
    changed = bytearray(content)
    for where in data.draw(st.lists(places, min_size=1, max_size=6)):
        changed[where] = data.draw(st.integers(0, 255))
    return bytes(changed[: data.draw(st.one_of(st.just(len(changed)), st.integers(0, len(changed))))])


@given(data=st.data())
@settings(max_examples=max(8, CASES // 8))
def test_damaged_files_are_refused(cell: Cell, tmp_path: Path, good, data: st.DataObject) -> None:
    whole = saved(good)
    # The pickle stands first, the archive's directory last; numbers, between them, are what no reader can judge.
    places = st.one_of(st.integers(0, 40_000), st.integers(len(whole) - 40_000, len(whole) - 1))
    (tmp_path / "damaged.pt").write_bytes(damage(data, whole, places))
    kinds(cell, tmp_path / "damaged.pt")


@given(data=st.data())
@settings(max_examples=max(10, CASES // 2))
def test_damaged_safetensors_are_refused(cell: Cell, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"conv1.weight": torch.ones(8, 3, 3, 3), "b": torch.ones(5, dtype=torch.int64)}, path)
    path.write_bytes(damage(data, path.read_bytes(), st.integers(0, 200)))
    assert kinds(cell, path, started) == ["refused"]


SPOILT = {
    "one number for 10^11": lambda own: torch.zeros(1).expand(16, 10**9, 3, 3),
    "NaN": lambda own: own * float("nan"),
    "infinite": lambda own: own / 0,
    "sparse": lambda own: own.to_sparse(),
    "without content": lambda own: own.to("meta"),
    "complex": lambda own: own.to(torch.complex64),
    "text": lambda own: "weights",
    "a list": lambda own: own.tolist(),
}
"""What may stand for a tensor (16, 2, 3, 3) that is none a model can be filled with."""


@pytest.mark.parametrize("what", SPOILT)
def test_tensors_that_fill_no_model_are_refused(cell: Cell, tmp_path: Path, good, what: str) -> None:
    first = next(name for name, tensor in good["parameters"].items() if tensor.ndim == 4)
    parameters = {**good["parameters"], first: SPOILT[what](good["parameters"][first])}
    (tmp_path / "tensor.pt").write_bytes(saved({**good, "parameters": parameters}))
    assert kinds(cell, tmp_path / "tensor.pt")[1:] == ["refused"] * 2
    (tmp_path / "bare.pt").write_bytes(saved(parameters))
    assert kinds(cell, tmp_path / "bare.pt") == ["refused"] * 3


BLUEPRINTS = [
    {"settings": {"encoder": "nothing"}}, {"settings": 5}, {"model": "mine"}, {"modality": "msi"}, {"modality": None},
    {"mean": (1.0,)}, {"std": (0.0, 1.0)}, {"unknown": 1},
]  # fmt: skip
CONTENTS = [None, [], {}, {1: torch.ones(2)}, {"blueprint": 1, "parameters": 2}, {"state_dict": 5}]


def test_blueprints_of_other_models_are_refused(cell: Cell, tmp_path: Path, good) -> None:
    for change in BLUEPRINTS:
        (tmp_path / "other.pt").write_bytes(saved({**good, "blueprint": {**good["blueprint"], **change}}))
        assert kinds(cell, tmp_path / "other.pt", loaded, adopted) == ["refused"] * 2, change
    for content in CONTENTS:
        (tmp_path / "other.pt").write_bytes(saved(content))
        assert kinds(cell, tmp_path / "other.pt") == ["refused"] * 3, content


def test_a_good_file_is_taken_every_way(cell: Cell, tmp_path: Path, good) -> None:
    (tmp_path / "good.pt").write_bytes(saved(good))
    assert kinds(cell, tmp_path / "good.pt") == ["taken"] * 3
    save_file({name: tensor.contiguous() for name, tensor in good["parameters"].items()}, tmp_path / "good.safetensors")
    assert kinds(cell, tmp_path / "good.safetensors", started) == ["taken"]


def test_a_packed_archive_is_refused_before_it_is_unpacked(cell: Cell, tmp_path: Path) -> None:
    whole = zipfile.ZipFile(io.BytesIO(saved({"weight": torch.zeros(25_000_000)})))
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb:
        for entry in whole.infolist():
            bomb.writestr(entry.filename, whole.read(entry))
    assert kinds(cell, tmp_path / "bomb.pt") == ["refused"] * 3
