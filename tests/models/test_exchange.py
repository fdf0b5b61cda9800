"""ONNX, TorchScript and safetensors: the same classes as torch, and what a checkpoint knows travels along."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from scenes import CERRADATA, pixels, write_model, write_scene

import cerraseg
from cerraseg.core.errors import DataError
from cerraseg.models import checkpoint, inference
from cerraseg.models.exchange import METADATA, export

CALIBRATION = {"method": "vector", "scale": [0.5 + k / 20 for k in range(14)], "bias": [k / 10 for k in range(14)]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A calibrated checkpoint that decides from the top down."""
    path = write_model(tmp_path_factory.mktemp("model") / "model.pt", level="l2", hierarchical=True)
    content = torch.load(path, weights_only=True)
    content["blueprint"]["calibration"] = CALIBRATION | {"least": [0.01] * 14}
    checkpoint.atomic_save(path, content)
    return path


def tiles(count=61):
    """Raw pixels of a million places, some without data."""
    found = np.stack([np.concatenate([pixels("msi", 128, 128, k), pixels("sar", 128, 128, k)]) for k in range(count)])
    found[0, 3, :40, :50] = np.nan
    return found


def expected(model, images):
    segmenter, *_ = checkpoint.load(model)
    with torch.inference_mode():
        shares = torch.cat([inference.probabilities(segmenter(part)[0]) for part in torch.from_numpy(images).split(8)])
        positions, _ = inference.decide(shares, segmenter.ancestors)
    return shares.numpy(), positions.numpy()


def compare(model, images, found):
    shares, classes = expected(model, images)
    assert np.mean(found[1] != classes) <= 1e-4  # ties
    np.testing.assert_allclose(found[0], shares, atol=1e-4)


def test_onnx_has_torchs_classes_on_a_million_pixels(model, tmp_path):
    export(model, tmp_path / "model.onnx", "onnx")
    session, images = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")), tiles()
    parts = [session.run(None, {"image": part}) for part in np.array_split(images, 8)]
    compare(model, images, [np.concatenate(part) for part in zip(*parts, strict=True)])
    assert session.get_inputs()[0].shape == ["batch", 14, "height", "width"]


def test_torchscript_has_torchs_classes(model, tmp_path):
    export(model, tmp_path / "model.pt2", "torchscript")
    files = {METADATA: ""}
    loaded, images = torch.jit.load(tmp_path / "model.pt2", _extra_files=files), tiles(8)
    with torch.inference_mode():
        parts = [[one.numpy() for one in loaded(part)] for part in torch.from_numpy(images).split(8)]
    compare(model, images, [np.concatenate(part) for part in zip(*parts, strict=True)])
    assert json.loads(files[METADATA])["blueprint"]["level"] == "l2"


def test_safetensors_has_every_parameter_and_the_blueprint(model, tmp_path):
    export(model, tmp_path / "model.safetensors", "safetensors")
    loaded, images = cerraseg.load(tmp_path / "model.safetensors", "cpu"), torch.from_numpy(tiles(1))
    with torch.inference_mode():
        assert torch.equal(loaded.segmenter(images)[0], checkpoint.load(model)[0](images)[0])
    assert loaded.summary() | {"file": ""} == cerraseg.load(model, "cpu").summary() | {"file": ""}


def test_deepness_reads_its_metadata_and_gets_pixels_divided_by_255(model, tmp_path):
    export(model, tmp_path / "model.onnx", "onnx", deepness=True)
    entries = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(entries["model_type"]) == "Segmentor" and json.loads(entries["tiles_size"]) == 128
    assert json.loads(entries["class_names"])["3"] == CERRADATA.classes("l2")[3].name
    session, images = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")), tiles(1)
    (shares,) = session.run(None, {"image": images / np.float32(255)})
    np.testing.assert_allclose(shares, expected(model, images)[0], atol=1e-3)


def test_onnx_file_maps_as_the_checkpoint_does(model, tmp_path):
    export(model, tmp_path / "model.onnx", "onnx")
    write_scene(tmp_path, 150, 200)
    image = np.concatenate([pixels("msi", 150, 200), pixels("sar", 150, 200)])
    first, second = (cerraseg.load(path, "cpu").predict(image) for path in (model, tmp_path / "model.onnx"))
    assert np.mean(first.classes != second.classes) <= 1e-4
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-4)
    assert cerraseg.load(tmp_path / "model.onnx").summary()["classes"] == cerraseg.load(model).summary()["classes"]


def test_onnx_file_of_others_is_told(tmp_path):
    (tmp_path / "other.onnx").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a file that CerraSeg exported"):
        cerraseg.load(tmp_path / "other.onnx")
