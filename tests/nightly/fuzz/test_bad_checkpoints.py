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

from cerraseg.config.recipes import RECIPES
from cerraseg.config.scenario import parse
from cerraseg.models import adopt, checkpoint, pretrained
from cerraseg.models.checkpoint import Blueprint, Segmenter
from cerraseg.models.factory import build

SETTINGS = {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": [16, 16, 8]}
SCENARIO = parse("unet-sar-nw-l1-paper-1")
ENCODER = {
    "architecture": "Unet",
    "encoder": "tu-mobilenetv3_small_100",
    "depth": 3,
    "options": {"decoder_channels": [16, 16, 8]},
}


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    yield from cells(
        tmp_path_factory, "torch cerraseg.models.adopt cerraseg.models.pretrained test_bad_checkpoints", seconds=40
    )


@pytest.fixture(scope="module")
def good():
    """What a checkpoint holds."""
    torch.manual_seed(0)
    blueprint = Blueprint("unet", SETTINGS, "sar", "l1", (1.0, 2.0), (3.0, 4.0))
    parameters = dict(Segmenter(blueprint).net.state_dict())
    return {"blueprint": vars(blueprint), "parameters": parameters, "training": {"scenario": SCENARIO.id}}


@pytest.fixture(scope="module")
def whole(good):
    """The bytes of a checkpoint."""
    return saved(good)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoint")


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def loaded(path):
    return checkpoint.load(path)[1]


def adopted(path):
    out = path.parent / "out"
    adopt.adopt(path, SCENARIO, RECIPES["paper"]["unet"], SETTINGS, {}, out / "best.pt", out / "origin.json")


def started(path):
    pretrained.load_encoder(build("mine", 2, 7, ENCODER), ("VV", "VH"), path)


def all_ways(cell, path):
    """Outcomes of a file as a scenario's checkpoint, as one to adopt, and as an encoder's parameters."""
    return [assert_no_fault(cell.run(way, path)) for way in (loaded, adopted, started)]


@given(data=st.data())
@settings(max_examples=max(8, CASES // 8))
def test_damaged_files_are_refused(cell: Cell, place: Path, whole: bytes, data: st.DataObject) -> None:
    changed = bytearray(whole)
    # The pickle stands first, the archive's directory last; numbers, between them, are what no reader can judge.
    places = st.one_of(st.integers(0, 40_000), st.integers(len(whole) - 40_000, len(whole) - 1))
    for where in data.draw(st.lists(places, min_size=1, max_size=6)):
        changed[where] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(changed)), st.integers(0, len(changed))))
    (place / "damaged.pt").write_bytes(changed[:cut])
    all_ways(cell, place / "damaged.pt")


def spoilt_tensors(own):
    """What may stand for a tensor (16, 2, 3, 3) that is none a model can be filled with."""
    wide = torch.zeros(1).expand(16, 10**9, 3, 3)
    return {
        "one number for 10^11": wide,
        "NaN": own * float("nan"),
        "infinite": own / 0,
        "sparse": own.to_sparse(),
        "without content": own.to("meta"),
        "complex": own.to(torch.complex64),
        "text": "weights",
        "a list": own.tolist(),
    }


@pytest.mark.parametrize("what", spoilt_tensors(torch.ones(1)))
def test_tensors_that_fill_no_model_are_refused(cell: Cell, place: Path, good, what: str) -> None:
    first = next(name for name, tensor in good["parameters"].items() if tensor.ndim == 4)
    spoilt = spoilt_tensors(good["parameters"][first])[what]
    parameters = {**good["parameters"], first: spoilt}
    (place / "tensor.pt").write_bytes(saved({**good, "parameters": parameters}))
    assert [outcome.kind for outcome in all_ways(cell, place / "tensor.pt")][1:] == ["refused", "refused"]
    (place / "bare.pt").write_bytes(saved(parameters))
    assert [outcome.kind for outcome in all_ways(cell, place / "bare.pt")] == ["refused"] * 3


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"encoder": "nothing"}}, {"settings": 5}, {"model": "mine"}, {"modality": "msi"},
        {"modality": None}, {"mean": (1.0,)}, {"std": (0.0, 1.0)}, {"unknown": 1}, None,
    ],
    ids=range(9),
)  # fmt: skip
def test_blueprints_of_other_models_are_refused(cell: Cell, place: Path, good, change) -> None:
    blueprint = change if change is None else {**good["blueprint"], **change}
    (place / "other.pt").write_bytes(saved({**good, "blueprint": blueprint}))
    assert [assert_no_fault(cell.run(way, place / "other.pt")).kind for way in (loaded, adopted)] == ["refused"] * 2


def test_a_good_file_is_taken_every_way(cell: Cell, place: Path, good, whole: bytes) -> None:
    (place / "good.pt").write_bytes(whole)
    assert [outcome.kind for outcome in all_ways(cell, place / "good.pt")] == ["taken"] * 3
    save_file({name: tensor.contiguous() for name, tensor in good["parameters"].items()}, place / "good.safetensors")
    assert cell.run(started, place / "good.safetensors").kind == "taken"


@pytest.mark.parametrize(
    "content", [None, 1, "x", [], {}, {1: torch.ones(2)}, {"blueprint": 1, "parameters": 2}, {"state_dict": 5}],
    ids=range(8),
)  # fmt: skip
def test_other_contents_are_refused(cell: Cell, place: Path, content) -> None:
    (place / "other.pt").write_bytes(saved(content))
    assert [outcome.kind for outcome in all_ways(cell, place / "other.pt")] == ["refused"] * 3


def test_a_packed_archive_is_refused_before_it_is_unpacked(cell: Cell, place: Path) -> None:
    whole = zipfile.ZipFile(io.BytesIO(saved({"weight": torch.zeros(25_000_000)})))
    with zipfile.ZipFile(place / "bomb.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb:
        for entry in whole.infolist():
            bomb.writestr(entry.filename, whole.read(entry))
    assert (place / "bomb.pt").stat().st_size < 10**6
    assert ["a compressed archive" in outcome.told for outcome in all_ways(cell, place / "bomb.pt")][1:] == [True, True]


@given(data=st.data())
@settings(max_examples=max(10, CASES // 2))
def test_damaged_safetensors_are_refused(cell: Cell, place: Path, data: st.DataObject) -> None:
    save_file({"conv1.weight": torch.ones(8, 3, 3, 3), "b": torch.ones(5, dtype=torch.int64)}, place / "a.safetensors")
    changed = bytearray((place / "a.safetensors").read_bytes())
    for where in data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=6)):
        changed[where] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(changed)))
    (place / "b.safetensors").write_bytes(changed[: data.draw(st.sampled_from([cut, len(changed)]))])
    assert assert_no_fault(cell.run(started, place / "b.safetensors")).kind == "refused"
