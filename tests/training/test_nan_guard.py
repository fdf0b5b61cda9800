"""Lost numbers end a training at once and name the patches that lost them; an epoch without numbers is never best."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import opened
from test_train import outputs, plan, run

from cerraseg.core.errors import DataError
from cerraseg.data.tables import rows_of
from cerraseg.training import losses
from cerraseg.training.module import TrainingModule
from cerraseg.training.nan_guard import NanGuard

NAME = "unet-sar-nw-l1-tuned-1"


def poisoned(packed, row, value):
    store = opened(packed)
    images = np.array(store.images)
    images[row, 13, 5, 5] = value
    return dataclasses.replace(store, images=images)


@pytest.mark.parametrize("value", [-np.inf, np.inf])
@pytest.mark.parametrize("accumulate", [1, 4])
def test_patch_whose_pixels_make_the_loss_nan_is_named(value, accumulate, packed, tmp_path):
    """With a patch at a time the error names just this one; with all four in a batch, these."""
    row = int(rows_of(packed / "split.csv", "train")[2])
    with pytest.raises(DataError, match=r"^epoch 1: the training loss is nan; lower the learning rate of") as caught:
        run(packed, tmp_path, plan(NAME, accumulate=accumulate), poisoned(packed, row, value))
    named = str(caught.value).split(" of 2: ")[1].split(". ")[0].split(", ")
    patch = pd.read_csv(packed / "split.csv", dtype=str)["id"][row]
    assert patch in named and len(named) <= 4 // accumulate
    assert "No epoch was finished before" in str(caught.value)


def test_gradient_alone_that_is_nan_ends_the_training_before_a_state_is_written(packed, tmp_path, monkeypatch):
    """In the last step of the second epoch, after which validation would see nothing but NaN."""
    calls, original = [], losses.cross_entropy

    def diverging(logits, *args):
        if logits.requires_grad:
            calls.append(1)
        found = original(logits, *args)
        return found + (logits.sum() * 0).sqrt() if len(calls) == 4 and logits.requires_grad else found

    monkeypatch.setattr(losses, "cross_entropy", diverging)
    said = r"epoch 2: a gradient is nan; .* of step 2 of 2: \w+, \w+\. The state after epoch 1 is kept in"
    with pytest.raises(DataError, match=said):
        run(packed, tmp_path, plan(NAME))
    state = torch.load(tmp_path / "resume/last.ckpt", weights_only=True)
    assert len(state["history"]) == 1
    assert all(value.isfinite().all() for value in state["state_dict"].values())
    monkeypatch.undo()
    assert len(pd.read_csv(run(packed, tmp_path, plan(NAME)).history)) == 3  # the cause is gone: on it goes


def test_parameter_that_overflows_is_noticed_before_validation(packed, tmp_path, monkeypatch):
    original = NanGuard.on_validation_start

    @functools.wraps(original)
    def spoilt(self, trainer, module):
        next(module.parameters()).data[0] = torch.inf
        original(self, trainer, module)

    monkeypatch.setattr(NanGuard, "on_validation_start", spoilt)
    with pytest.raises(DataError, match="epoch 1: a parameter is inf"):
        run(packed, tmp_path, plan(NAME))


def test_epoch_whose_validation_loss_is_nan_is_never_the_best(packed, tmp_path, monkeypatch, caplog):
    row = TrainingModule.epoch_row

    def lost(self):
        found = row(self)
        return found | ({"val_loss": float("nan"), "val_macro_f1": 0.99} if self.current_epoch == 0 else {})

    monkeypatch.setattr(TrainingModule, "epoch_row", lost)
    history = pd.read_csv(run(packed, tmp_path, plan(NAME)).history)
    assert history["val_macro_f1"].idxmax() == 0 and not history["selected"][0]
    assert "epoch 1: the validation loss is nan; such an epoch is never chosen" in caplog.text


def test_training_without_any_finite_validation_writes_no_checkpoint(packed, tmp_path):
    row = int(rows_of(packed / "split.csv", "validation")[0])
    with pytest.raises(DataError, match="validation loss was finite in none of 2 epochs, so no checkpoint is written"):
        run(packed, tmp_path, plan(NAME, epochs=2), poisoned(packed, row, np.inf))
    assert not outputs(tmp_path).best.exists()
