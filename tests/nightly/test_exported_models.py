"""Every exported format against torch on a million pixels, of each kind of network."""

import numpy as np
import onnxruntime
import pytest
import torch
from scenes import CERRADATA
from test_exchange import compare, tiles

from cerraseg.models import checkpoint
from cerraseg.models.exchange import export

MODELS = {
    "fullres": {},
    "unet": {"encoder": "resnet18"},
    "transnuseg": {"embed_dim": 48},
}


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    torch.manual_seed(0)
    described = checkpoint.describe(CERRADATA, "concat", "l2")
    blueprint = checkpoint.Blueprint(
        request.param,
        MODELS[request.param],
        "concat",
        "l2",
        described,
        mean=tuple(map(float, np.linspace(100, 3000, 14))),
        std=tuple(map(float, np.linspace(50, 900, 14))),
    )
    path = tmp_path_factory.mktemp(request.param) / "model.pt"
    checkpoint.save(path, blueprint, checkpoint.Segmenter(blueprint).net.state_dict(), {})
    return path


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_classes_are_torchs(model, tmp_path, kind):
    export(model, tmp_path / "model", kind)
    images = tiles(61)
    if kind == "onnx":
        session = onnxruntime.InferenceSession(str(tmp_path / "model"))
        parts = [session.run(None, {"image": part}) for part in np.array_split(images, 16)]
    else:
        loaded = torch.jit.load(tmp_path / "model")
        with torch.inference_mode():
            parts = [[one.numpy() for one in loaded(part)] for part in torch.from_numpy(images).split(4)]
    compare(model, images, [np.concatenate(part) for part in zip(*parts, strict=True)])
