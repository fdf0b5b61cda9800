"""Models that cannot be built stop a run before it begins, once; what was found well is not tried again."""

import subprocess

import pytest
import torch
from test_custom_models import LATE, with_models
from test_validate import SCHEMA

from cerraseg.config import validate
from cerraseg.core.errors import ConfigError
from cerraseg.models import preflight

WELL = LATE | {"encoder": "tu-mobilenetv3_small_100", "options": {"decoder_channels": [16] * 5}}


def check(**models):
    extra = [f"{name}-concat-nw-l1-tuned-1" for name in models]
    preflight.check_models(*validate.check_config(with_models(extra=extra, **models), SCHEMA))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_without_own_models_nothing_is_started(monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    preflight.check_models(*validate.check_config(with_models("unet", a=WELL), SCHEMA))


def test_faults_come_at_once_with_the_keys_and_the_librarys_words(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ConfigError) as caught:
        check(
            a=WELL | {"encoder": "resnett18"},
            b=WELL | {"options": {"decoder_channels": [16]}},
            c=WELL | {"pretrained": "other.pt"},
            d={"architecture": "FPN", "encoder": "resnet18", "options": {"upsampling": 2}},
            e={"architecture": "DPT", "encoder": "tu-vit_tiny_patch16_224"},
            f=WELL,
        )
    _, *lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "  - models.a.encoder", "  - models.b.architecture", "  - models.c.pretrained", "  - models.d", "  - models.e"
    ]  # fmt: skip
    for line, words in zip(
        lines,
        (
            "did you mean 'resnet18'?",
            "Model depth is 5, but you provide `decoder_channels` for 1 blocks",
            "other.pt: holds 0 of the encoder's",
            "makes (1, 7, 64, 64) of a patch, expected (1, 7, 128, 128)",
            "Input height (128) doesn't match model (224)",
        ),
        strict=True,
    ):
        assert words in line
    assert not preflight.TRIED.exists()


def test_what_was_found_well_is_not_tried_again(monkeypatch):
    check(a=WELL)
    monkeypatch.setattr(subprocess, "run", None)
    check(a=WELL)
    with pytest.raises(TypeError):
        check(a=WELL | {"depth": 5})


def test_without_the_library_it_is_left_to_the_training(monkeypatch, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    check(a=WELL | {"encoder": "resnett18"})
    assert "not checked before the run: segmentation-models-pytorch is not installed" in caplog.text
