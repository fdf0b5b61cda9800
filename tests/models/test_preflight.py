"""Models that cannot be built or trained stop a run before it begins; models that passed are not tried again."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from test_custom_models import LATE, with_models
from test_validate import SCHEMA, changed

from cerraseg.config.dataset import Dataset
from cerraseg.config.validate import check_config
from cerraseg.core.errors import ConfigError
from cerraseg.models import preflight

PASSES = LATE | {"encoder": "tu-mobilenetv3_small_100", "options": {"decoder_channels": [16] * 5}}


def check(config, **sizes):
    """Check the models of a configuration; ``patch_size`` in place of the dataset's."""
    complete, scenarios = check_config(config, SCHEMA)
    preflight.check_models(complete, scenarios, replace(Dataset.of(complete["dataset"]), **sizes))


def custom(**models):
    return with_models(extra=[f"{name}-concat-nw-l1-tuned-1" for name in models], **models)


@pytest.fixture(autouse=True)
def trials(tmp_path, monkeypatch):
    """The trials that were run, in this process."""
    monkeypatch.chdir(tmp_path)
    run = []
    monkeypatch.setattr(
        preflight, "_run", lambda trials: [e for t in trials if (e := run.append(t) or preflight.model_error(**t))]
    )
    return run


def test_all_errors_come_at_once_with_their_keys(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ConfigError) as caught:
        check(
            custom(
                a=PASSES | {"encoder": "resnett18"},
                b=PASSES | {"options": {"decoder_channels": [16]}},
                c=PASSES | {"pretrained": "other.pt"},
                d={"architecture": "FPN", "encoder": "resnet18", "options": {"upsampling": 2}},
                e={"architecture": "DPT", "encoder": "tu-vit_tiny_patch16_224"},
                f=PASSES,
            )
        )
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip(" -") for line in lines] == [
        "models.a.encoder", "models.b.encoder", "models.c.pretrained", "models.d", "models.e"
    ]  # fmt: skip
    assert "did you mean 'resnet18'?" in lines[0] and "(2, 7, 64, 64)" in lines[3]
    assert not preflight.PASSED.exists()


def test_usual_models_and_what_passed_are_not_tried_again(trials):
    check(with_models("unet", "transnuseg", a=PASSES))
    assert trials == []
    check(custom(a=PASSES))
    check(custom(a=PASSES))
    assert len(trials) == 1
    check(custom(a=PASSES | {"depth": 5}))
    assert len(trials) == 2


def test_patch_sizes_that_transnuseg_takes_are_told_without_a_trial(trials):
    config = with_models("unet", "transnuseg")
    check(config, patch_size=64)
    with pytest.raises(ConfigError) as caught:
        check(config, patch_size=96)
    (line,) = str(caught.value).splitlines()[1:]  # of all modalities
    assert line.startswith("  - patch_size: 96; transnuseg ") and "takes 32, 64 or a multiple of 128:" in line
    check(with_models("unet"), patch_size=50)
    assert trials == []


def test_patch_size_of_a_search_and_of_an_own_model(trials):
    tune = {"scenario": "transnuseg-concat-nw-l1-tuned-666", "space": {"model.window": [8, 2]}}
    config = with_models(extra=[tune["scenario"]]) | {"tune": tune, "transnuseg": {"window": 2}}
    check(config, patch_size=64)
    with pytest.raises(ConfigError, match=r"patch_size: 96; transnuseg has .* windows of 8 tokens"):
        check(config, patch_size=96)
    with pytest.raises(ConfigError, match=r"models\.a: fails on 2 x 14 x 40 x 40: .*divisible by 32.*patch_size 40"):
        check(custom(a={"architecture": "FPN", "encoder": "resnet18", "fusion": "late"}), patch_size=40)
    assert [trial["parts"] for trial in trials] == [[12, 2]]


@pytest.mark.parametrize("encoder", ["resnet-50", "tu-vit_tiny_patch16_224"])
def test_encoder_of_the_unet_is_tried_also_of_a_search(encoder):
    tune = {"scenario": "unet-concat-nw-l1-tuned-666", "space": {"model.encoder": ["resnet18", encoder]}}
    for config in (changed(unet={"encoder": encoder}), changed(tune=tune)):
        with pytest.raises(ConfigError, match=rf"unet\.encoder: '{encoder}'"):
            check(config)


@pytest.mark.parametrize(("batch_size", "accumulate", "passes"), [(4, 2, True), (1, 1, False), (4, 4, False)])
def test_batch_norm_behind_global_pooling_needs_two_patches_at_a_time(batch_size, accumulate, passes):
    pooling = {"architecture": "PAN", "encoder": "resnet18"}
    config = custom(a=pooling) | {"training": {"batch_size": batch_size, "accumulate": accumulate}}
    refused = pytest.raises(ConfigError, match=r"models\.a: fails .*training\.batch_size")
    with nullcontext() if passes else refused:
        check(config)


def test_without_the_library_it_is_left_to_the_training(monkeypatch, caplog, trials):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    check(custom(a=PASSES | {"encoder": "resnett18"}))
    assert "not checked before the run" in caplog.text and trials == []


def test_crops_are_what_a_model_is_tried_on(trials):
    check(with_models("fullres") | {"unet": {"stem": 32}})
    assert trials == []
    recipes = {"cut": {"from": "tuned", "crop": 40, "crops": 1}}
    config = custom(a={"architecture": "FPN", "encoder": "resnet18"})
    config |= {"recipes": recipes, "fullres": {"widths": [4] * 7}, "training": {"epochs": 1, "batch_size": 4}}
    config["scenarios"]["extra"] = ["a-concat-nw-l1-cut-1", "fullres-sar-nw-l1-cut-1"]
    with pytest.raises(ConfigError) as caught:
        check(config)
    one, other = str(caught.value).splitlines()[1:]
    assert "models.a: fails on 1 x 14 x 40 x 40" in one and "crop of its recipe" in one
    assert "fullres: fails on 1 x 2 x 40 x 40" in other
