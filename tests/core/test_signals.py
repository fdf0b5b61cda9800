"""Signals that ask to end: a moment at which one must wait."""

import os
import signal

import pytest
import torch

from cerraseg.core.signals import StopSignal, stoppable
from cerraseg.models import checkpoint


def test_a_signal_while_a_checkpoint_is_written_is_heard_when_it_is_whole(tmp_path, monkeypatch):
    def save(content, file, original=torch.save):
        os.kill(os.getpid(), signal.SIGTERM)
        original(content, file)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(StopSignal, match="SIGTERM"), stoppable():
        checkpoint.atomic_save(tmp_path / "state.pt", {"parameters": torch.ones(2)})
    assert torch.load(tmp_path / "state.pt", weights_only=True)["parameters"].tolist() == [1, 1]
    assert not list(tmp_path.glob(".*"))
