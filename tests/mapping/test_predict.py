"""Predictions do not depend on batching and land in the right place."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import opened
from scenes import CERRADATA
from test_train import SMALL

from cerraseg.data.masks import derive_edges
from cerraseg.evaluation.calibration import read_tally
from cerraseg.mapping.predict import predict
from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Blueprint, Segmenter, describe


@pytest.fixture
def model_file(tmp_path):
    torch.manual_seed(0)
    statistics = {band: {"mean": 1000.0, "std": 400.0, "min": 1.0, "max": 9000.0} for band in ("VV", "VH")}
    described = describe(CERRADATA, "sar", "l2")
    blueprint = Blueprint(
        "unet", SMALL["unet"], "sar", "l2", described, (1000.0, 1000.0), (400.0, 500.0), statistics=statistics
    )
    checkpoint.save(tmp_path / "model.pt", blueprint, Segmenter(blueprint).net.state_dict(), {"epoch": 1})
    return tmp_path / "model.pt"


def run(model_file, packed, rows, folder, **options):
    predict(model_file, opened(packed), rows, folder / "p.npy", folder / "c.npy", folder / "e.npy", **options)
    return np.load(folder / "p.npy"), np.load(folder / "c.npy")


def test_equals_the_model_on_each_patch(model_file, packed, tmp_path):
    rows = np.array([1, 4, 11])
    classes, confidence = run(model_file, packed, rows, tmp_path)
    segmenter = checkpoint.load(model_file)[0]
    with torch.inference_mode():
        for k, row in enumerate(rows):
            (logits,) = segmenter(torch.from_numpy(opened(packed).images[row : row + 1, 12:].copy()))
            probabilities = logits.softmax(1)[0]
            np.testing.assert_array_equal(classes[k], probabilities.argmax(0))
            np.testing.assert_allclose(confidence[k], 100 * probabilities.amax(0), atol=0.51)
    assert (classes.dtype, confidence.dtype) == (np.uint8, np.uint8)
    np.testing.assert_array_equal(np.load(tmp_path / "e.npy"), derive_edges(classes))  # it has no edge decoder
    np.save(tmp_path / "saved.npy", classes)
    assert (tmp_path / "p.npy").read_bytes() == (tmp_path / "saved.npy").read_bytes()


def test_edges_are_written_beside_the_classes(packed, tmp_path):
    torch.manual_seed(0)
    blueprint = Blueprint(
        "transnuseg", SMALL["transnuseg"] | {"edge_outputs": 2}, "sar", "l1", describe(CERRADATA, "sar", "l1")
    )
    segmenter = Segmenter(blueprint).eval()
    checkpoint.save(tmp_path / "model.pt", blueprint, segmenter.net.state_dict(), {})
    rows = np.array([2, 5])
    classes, _ = run(tmp_path / "model.pt", packed, rows, tmp_path)
    with torch.inference_mode():
        semantic, edge = segmenter(torch.from_numpy(opened(packed).images[rows, 12:]))
    np.testing.assert_array_equal(classes, semantic.argmax(1))
    np.testing.assert_array_equal(np.load(tmp_path / "e.npy"), edge.argmax(1))


def test_checkpoint_of_before_both_levels_predicts_as_it_did(model_file, packed, tmp_path):
    expected, _ = run(model_file, packed, np.arange(3), tmp_path)
    content = torch.load(model_file, weights_only=True)
    content["blueprint"]["top_down"] = content["blueprint"].pop("hierarchical")
    torch.save(content, model_file)
    np.testing.assert_array_equal(run(model_file, packed, np.arange(3), tmp_path)[0], expected)


def test_batch_size_does_not_matter_and_bfloat16_little(model_file, packed, tmp_path):
    exact, _ = run(model_file, packed, np.arange(12), tmp_path)
    parts, _ = run(model_file, packed, np.arange(12), tmp_path, batch_size=5)
    assert (parts != exact).mean() < 1e-4  # rounding may turn a tie
    rough, _ = run(model_file, packed, np.arange(12), tmp_path, precision="bfloat16")
    assert 0 < (rough != exact).mean() < 0.05  # else it was not bfloat16, or not this model


def test_flips_are_averaged_and_test_pixels_counted(model_file, packed, tmp_path):
    rows, scored, store = np.arange(5), np.array([1, 4, 9]), opened(packed)
    segmenter, blueprint, training = checkpoint.load(model_file)
    given = {"method": "temperature", "scale": [3.0] * 14, "bias": [0.0] * 14, "least": [0.1] * 14}
    checkpoint.save(model_file, replace(blueprint, calibration=given), segmenter.net.state_dict(), training)
    further = {"scored": scored, "calibration": tmp_path / "t.npz", "augment": True, "batch_size": 2}
    classes, confidence = run(model_file, packed, rows, tmp_path, **further)
    with torch.inference_mode():
        images = torch.from_numpy(store.images[rows, 12:])
        for scale in (1, 3):
            parts = []
            for turns in range(8):
                turned = images.rot90(turns % 4, (2, 3))
                shares = (scale * segmenter(turned.flip(3) if turns > 3 else turned)[0]).softmax(1)
                parts.append((shares.flip(3) if turns > 3 else shares).rot90(-(turns % 4), (2, 3)))
            shares = torch.stack(parts).mean(0)
            if scale == 1:
                before = shares
    assert (classes != shares.argmax(1).numpy()).mean() < 1e-3
    np.testing.assert_allclose(confidence, 100 * shares.amax(1), atol=0.51)
    found = read_tally(tmp_path / "t.npz")
    assert found["rows"].tolist() == [1, 4] and found["temperature"] == 1 / 3
    truth = torch.from_numpy(store.masks[rows][:, store.layer("l2")].astype(np.int64))[[1, 4]]
    for stage, values in enumerate((before, shares)):
        nll = torch.nn.functional.nll_loss(values[[1, 4]].log(), truth, ignore_index=255, reduction="none")
        np.testing.assert_allclose(found["patches"][:, stage, 0], nll.sum((1, 2)), rtol=1e-4)


def test_no_data_is_neither_predicted_nor_an_edge(model_file, packed, tmp_path):
    """The model sees the training mean there."""
    store, rows = opened(packed), np.array([1, 4])
    images = np.array(store.images)
    images[1, 12, 10:20, 30:60] = images[4, 13, :, 100:] = np.nan
    images[4, 0, :9] = np.nan  # in a band that is none of the model's
    np.save(tmp_path / "images.npy", images)
    spoilt = replace(store, images=np.load(tmp_path / "images.npy", mmap_mode="r"))
    paths = [tmp_path / f"{name}.npy" for name in ("classes", "confidence", "edges")]
    predict(model_file, spoilt, rows, *paths)
    classes, confidence, edges = (np.load(path) for path in paths)
    missing = np.zeros((2, 128, 128), bool)
    missing[0, 10:20, 30:60] = missing[1, :, 100:] = True
    for found in (classes, confidence, edges):
        np.testing.assert_array_equal(found == 255, missing)
    np.testing.assert_array_equal(edges, derive_edges(classes))
    filled = torch.from_numpy(np.nan_to_num(images[rows, 12:], nan=1000.0))
    with torch.inference_mode():
        expected = checkpoint.load(model_file)[0](filled)[0].argmax(1).numpy()
    np.testing.assert_array_equal(classes[~missing], expected[~missing])
