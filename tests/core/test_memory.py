"""Where memory runs out, the error names the setting to lower and its value."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import opened
from scenes import CERRADATA, write_model, write_scene
from test_faults import once_in
from test_train import plan, run

from cerraseg.core.errors import DataError, MemoryShortage
from cerraseg.core.memory import batch_size_hint, explain_out_of_memory
from cerraseg.mapping import predict
from cerraseg.mapping.map_scene import Settings, map_scene
from cerraseg.models.checkpoint import Segmenter
from cerraseg.training import lr_finder, module

NAME = "unet-sar-nw-l1-tuned-1"


def cuda():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB")


@pytest.mark.parametrize(
    "use",
    [cuda, lambda: torch.empty(2**55, dtype=torch.uint8), lambda: np.empty(2**55), lambda: bytearray(2**60)],
)
def test_errors_of_every_kind_of_memory_are_told_alike(use):
    with pytest.raises(MemoryShortage, match=r"^Too little memory: lower x\. \("), explain_out_of_memory("lower x"):
        use()


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), DataError("out of memory, says a file's name")])
def test_other_errors_stay(error):
    with pytest.raises(type(error)) as caught, explain_out_of_memory("lower x"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(("size", "remedy"), [(32, "set it to 16"), (1, "cannot be lower")])
def test_remedy_halves_until_one(size, remedy):
    assert remedy in batch_size_hint("predict.batch_size", size)


def test_training_names_batch_and_parts_and_goes_on_when_there_is_memory(packed, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        once_in(patched, module.TrainingModule, "training_step", 1, cuda)
        with pytest.raises(MemoryShortage, match=r"training.batch_size is 4 and training.accumulate 1, so 4 patches"):
            run(packed, tmp_path, plan(NAME))
    assert (tmp_path / "resume/last.ckpt").exists()
    assert len(pd.read_csv(run(packed, tmp_path, plan(NAME)).history)) == 3


def test_prediction_map_and_range_test_name_their_settings(packed, tmp_path, monkeypatch):
    model, files = write_model(tmp_path / "model.pt"), write_scene(tmp_path / "scene", 150, 150)
    monkeypatch.setattr(Segmenter, "raw", lambda *_: cuda())
    store, outputs = opened(packed), [tmp_path / f"{name}.npy" for name in ("p", "c", "e")]
    with pytest.raises(MemoryShortage, match=r"predict.batch_size is 6"):
        predict.predict(model, store, np.arange(12), *outputs, batch_size=6)
    settings = Settings(batch_size=5)
    with pytest.raises(MemoryShortage, match=r"predict.batch_size, which counts a scene's tiles too, is 5; .* it to 2"):
        map_scene(model, files, tmp_path / "map", tmp_path / "unfinished", settings, CERRADATA, {})
    suggested = tmp_path / "lr.csv", tmp_path / "lr.json"
    with pytest.raises(MemoryShortage, match=r"training.batch_size is 4 and"):
        lr_finder.find_learning_rate(plan(NAME), store, packed / "split.csv", packed / "statistics.json", *suggested)
    assert not any(path.exists() for path in (*outputs, tmp_path / "map", *suggested))
