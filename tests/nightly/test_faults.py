"""Disks that fill up and files that rot under each step: an error says what to do, nothing is lost, on it goes."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import arrays, opened
from scenes import CERRADATA, NAMES, write_model, write_scene
from test_cog import write_map
from test_train import Killed, kill, once_in, plan, run

from cerraseg.config.scenario import parse
from cerraseg.core.errors import DataError, StorageError
from cerraseg.data import index as patches
from cerraseg.data import pack as packing
from cerraseg.data.pack import pack
from cerraseg.data.tables import write_ids
from cerraseg.evaluation.evaluate import evaluate
from cerraseg.mapping import predict as prediction
from cerraseg.mapping.map_scene import Settings, map_scene
from cerraseg.mapping.mosaic import mosaic
from cerraseg.mapping.patch_geotiffs import export_geotiffs
from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Blueprint, Segmenter
from cerraseg.orchestration.step import step
from cerraseg.training import batches, train
from cerraseg.training.epoch_record import EpochRecord
from cerraseg.training.module import TrainingModule

NAME = "unet-sar-nw-l1-tuned-1"


@pytest.mark.parametrize("leaving", [5 * 10**6, 11_100_000])
def test_pack_on_a_disk_that_others_fill_goes_on_when_there_is_room(packed, small_disk, monkeypatch, leaving):
    small_disk.fill(leaving=leaving)  # the images do not fit; they do, the masks do not
    with monkeypatch.context() as patched:
        patched.setattr(packing, "need_room", lambda *_: None)
        with pytest.raises(StorageError, match=f"disk of {small_disk.folder} is full"):
            pack(packed / "patches.parquet", CERRADATA, *arrays(small_disk.folder))
    assert small_disk.left() == []
    small_disk.empty()
    pack(packed / "patches.parquet", CERRADATA, *arrays(small_disk.folder))
    for old, new in zip(arrays(packed), arrays(small_disk.folder), strict=True):
        assert old.read_bytes() == new.read_bytes()


def save_model(path):
    blueprint = Blueprint("unet", plan(NAME).settings, "sar", "l1", checkpoint.describe(CERRADATA, "sar", "l1"))
    checkpoint.save(path, blueprint, Segmenter(blueprint).net.state_dict(), {})


def predict(folder, packed):
    if not (model := folder.parents[1] / "model.pt").exists():
        save_model(model)
    rows, files = np.arange(12), [folder / f"{name}.npy" for name in ("prediction", "confidence", "edges")]
    prediction.predict(model, opened(packed), rows, *files, batch_size=4)


def draw_mosaic(folder, packed):
    tiles = np.random.default_rng(0).integers(0, 100, (12, 128, 128), np.uint8)
    mosaic(pd.read_parquet(packed / "patches.parquet"), tiles, folder, name="confidence", classes=None)


def export(folder, packed):
    tiles = np.random.default_rng(0).integers(0, 7, (12, 128, 128), np.uint8)
    table = pd.read_parquet(packed / "patches.parquet")
    classes = CERRADATA.classes("l1")
    export_geotiffs(table, {"seg": tiles}, folder / "tifs", classes=classes, stem="unet")


def index(folder, packed):
    root = Path(pd.read_parquet(packed / "patches.parquet")["msi"][0]).parents[1]
    patches.write_patch_table([root], CERRADATA, folder / "patches.parquet", folder / "rejected.csv")


def save(folder, _):
    save_model(folder / "model.pt")


LEAVING = {predict: 300_000, draw_mosaic: 100_000, export: 20_000, index: 0, save: 200_000}


@pytest.mark.parametrize(("write", "leaving"), LEAVING.items())
def test_step_on_a_full_disk_leaves_nothing_and_goes_on_when_there_is_room(
    write, leaving, packed, small_disk, monkeypatch
):
    """Real errors of a real disk, also where GDAL or torch writes, and none for mapped memory, which would be fatal."""
    monkeypatch.setattr(prediction, "need_room", lambda *_: None)  # others fill the disk after the look
    out = small_disk.folder / "out"
    out.mkdir()
    small_disk.fill(leaving)
    with pytest.raises(StorageError, match=rf"disk of {out}\S* is full"):
        write(out, packed)
    assert small_disk.left() == []
    small_disk.empty()
    write(out, packed)
    assert small_disk.left()


def test_prediction_and_training_refuse_a_small_disk_at_once(packed, small_disk):
    small_disk.fill(leaving=500_000)
    with pytest.raises(StorageError, match=r"prediction needs 0.6 MB in .*, 0.5 MB are free"):
        predict(small_disk.folder, packed)
    with pytest.raises(StorageError, match=r"the state of a training needs \d+\.\d MB in .*resume, 0\.5 MB are free"):
        run(packed, small_disk.folder, plan(NAME))


def test_map_of_a_scene_goes_on_after_a_full_disk_and_ends_with_the_same_bytes(tmp_path, small_disk):
    model, files = write_model(tmp_path / "model.pt"), write_scene(tmp_path / "scene", 300, 260)

    def draw(folder):
        settings = Settings(layers=["probabilities"], batch_size=2)
        map_scene(model, files, folder / "map", folder / "unfinished", settings, CERRADATA, {})
        return {path.name: path.read_bytes() for path in (folder / "map").iterdir()}

    (tmp_path / "calm").mkdir()
    calm = draw(tmp_path / "calm")
    for leaving in (300_000, 750_000):  # within the rows; as the map is written
        small_disk.fill(leaving)
        with pytest.raises(StorageError, match=rf"disk of {small_disk.folder}/\S+ is full"):
            draw(small_disk.folder)
        assert any(name.endswith("classes.rows") for name in small_disk.left())
        assert not (small_disk.folder / "map").exists()
        small_disk.empty()
    assert draw(small_disk.folder) == calm


def test_map_on_a_disk_that_fills_up_anywhere_is_whole_or_absent(small_disk, tmp_path):
    """A map of four blocks and an overview, with metadata that lies at the end of what GDAL writes first."""
    percent = np.random.default_rng(0).integers(0, 100, (640, 600), np.uint8)
    write_map(tmp_path / "map.tif", percent, None, tags={"TAG": "x" * 5000})
    path, outcomes = small_disk.folder / "map.tif", set()
    for free in range(0, 3_000_000, 16 * 4096):
        small_disk.fill(leaving=free)
        try:
            write_map(path, percent, None, tags={"TAG": "x" * 5000})
        except StorageError:
            assert small_disk.left() == []
            outcomes.add("absent")
        else:
            assert path.read_bytes() == (tmp_path / "map.tif").read_bytes()
            path.unlink()
            outcomes.add("whole")
        small_disk.empty()
    assert outcomes == {"absent", "whole"}


@pytest.fixture(scope="module")
def whole(packed, tmp_path_factory):
    """What an undisturbed training writes."""
    return run(packed, tmp_path_factory.mktemp("whole"), plan(NAME))


def assert_equal(made, whole):
    for name in ("best", "last", "history"):
        assert getattr(whole, name).read_bytes() == getattr(made, name).read_bytes(), name


@pytest.mark.parametrize(("place", "kept"), [("on_validation_start", 1), ("_save_best", 2), ("_write", 3)])
def test_training_on_a_full_disk_keeps_its_last_state_and_ends_as_if_undisturbed(
    place, kept, packed, small_disk, whole, monkeypatch
):
    """Full before the state, between the state and the best parameters, and at the end."""
    monkeypatch.setattr(EpochRecord, "best_epoch", property(lambda self: len(self.history)))
    original = train._write
    with monkeypatch.context() as patched:
        if place == "_write":
            patched.setattr(train, place, lambda *args: (small_disk.fill(), original(*args)))
        else:
            once_in(patched, EpochRecord if place == "_save_best" else TrainingModule, place, 1, small_disk.fill)
        with pytest.raises(StorageError, match=rf"disk of {small_disk.folder}\S* is full; .*same command"):
            run(packed, small_disk.folder, plan(NAME))
    resume = small_disk.folder / "resume"
    assert len(torch.load(resume / "last.ckpt", weights_only=True)["history"]) == kept
    assert small_disk.left() == ["resume.lock", "resume/best.pt", "resume/last.ckpt", "resume/plan.txt"]
    small_disk.empty()
    made = run(packed, small_disk.folder, plan(NAME))
    assert made.last.read_bytes() == whole.last.read_bytes()
    assert len(pd.read_csv(made.history)) == 3


def test_reader_that_fails_ends_the_training_which_then_goes_on(packed, tmp_path, whole, monkeypatch, capsys):
    """A thread that reads batches meets a disk that fails."""
    read, calls = batches.PackedPatches.read, []

    def failing(self, *args):
        calls.append(1)
        if len(calls) > 5:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(packed / "images.npy"))
        return read(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(batches.PackedPatches, "read", failing)
        job = SimpleNamespace(rule="train", log=[tmp_path / "a.log"], output=SimpleNamespace())
        with pytest.raises(SystemExit), step(job):
            run(packed, tmp_path, plan(NAME))
    said = (tmp_path / "a.log").read_text()
    assert f"{packed}/images.npy: Input/output error" in said and "Traceback" not in said
    assert_equal(run(packed, tmp_path, plan(NAME)), whole)


def zeros_at_the_end(content):
    return content[: len(content) // 2] + bytes(len(content) - len(content) // 2)


def flipped(content):
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("rot", [zeros_at_the_end, flipped])
def test_state_that_rotted_is_refused_and_never_begun_anew_in_silence(rot, packed, tmp_path, whole, monkeypatch):
    with monkeypatch.context() as patched:
        once_in(patched, TrainingModule, "training_step", 1, kill)  # in its second epoch
        with pytest.raises(Killed):
            run(packed, tmp_path, plan(NAME))
    resume = tmp_path / "resume"
    for name in ("last.ckpt", "best.pt"):
        content = (resume / name).read_bytes()
        (resume / name).write_bytes(rot(content))
        remedy = f"put a copy of it back, or remove the folder {resume} to train"
        with pytest.raises(DataError, match=rf"{resume}/{name}, which .* is damaged: .* {remedy}"):
            run(packed, tmp_path, plan(NAME))
        (resume / name).write_bytes(content)
    assert_equal(run(packed, tmp_path, plan(NAME)), whole)


@pytest.mark.parametrize("rot", [zeros_at_the_end, flipped])
def test_checkpoint_that_rotted_is_refused(rot, whole, tmp_path):
    """torch itself takes a changed byte for a parameter."""
    (tmp_path / "model.pt").write_bytes(rot(whole.best.read_bytes()))
    if rot is flipped:
        torch.load(tmp_path / "model.pt", weights_only=True)
    with pytest.raises(DataError, match=r"model\.pt: not a checkpoint that CerraSeg wrote, or changed since"):
        checkpoint.load(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["images.npy", "masks.npy"])
@pytest.mark.parametrize("length", [0, 50, 1000, -1])
def test_packed_array_that_was_cut_is_refused(name, length, packed, tmp_path):
    for file in arrays(packed):
        (tmp_path / file.name).write_bytes(file.read_bytes()[: length if file.name == name else None])
    with pytest.raises(DataError, match=f"{tmp_path}/{name}: no whole array .* remove it and give the same command"):
        opened(tmp_path)


def test_prediction_of_other_patches_is_refused(packed, tmp_path):
    np.save(tmp_path / "prediction.npy", np.zeros((5, 128, 128), np.uint8))
    write_ids(tmp_path / "ids.csv", pd.read_parquet(packed / "patches.parquet")["id"])
    with pytest.raises(DataError, match=r"prediction.npy: 5 patches; expected 12"):
        evaluate(
            parse(NAME, NAMES), CERRADATA, opened(packed), packed / "split.csv", tmp_path / "ids.csv",
            tmp_path / "prediction.npy", tmp_path / "prediction.npy", tmp_path / "distances.csv", tmp_path, {},
        )  # fmt: skip
