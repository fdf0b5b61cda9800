"""An ensemble is the mean of its members, in one file."""

import json
from dataclasses import replace

import numpy as np
import torch
from conftest import opened
from scenes import CERRADATA, write_model

from cerraseg.config.scenario import ENSEMBLE, Scenario
from cerraseg.models import checkpoint
from cerraseg.training.ensemble import write_ensemble


def member(folder, name, modality, scale):
    file = write_model(folder / "raw.pt", modality)
    segmenter, blueprint, _ = checkpoint.load(file)
    given = {"method": "temperature", "scale": [scale] * 7, "bias": [0.0] * 7, "least": [0.1] * 7}
    parameters = {key: value * (1 + scale) for key, value in segmenter.net.state_dict().items()}
    checkpoint.save(folder / f"{name}.pt", replace(blueprint, calibration=given), parameters, {"scenario": name})
    return folder / f"{name}.pt"


def joined(files, folder, packed, modality="concat"):
    scenario = Scenario("both", modality, "nw", "l1", ENSEMBLE, 0)
    made = folder / "ensemble.pt", folder / "origin.json"
    write_ensemble(files, [packed / "split.csv"], scenario, CERRADATA, opened(packed), *made)
    return checkpoint.load(made[0]), json.loads(made[1].read_text())


def test_members_of_different_sensors_are_averaged(packed, tmp_path):
    files = [member(tmp_path, "optical", "msi", 0.5), member(tmp_path, "radar", "sar", 2.0)]
    (segmenter, blueprint, training), origin = joined(files, tmp_path, packed)
    assert training == {"scenario": "both-concat-nw-l1-ensemble-0", "members": ["optical", "radar"]}
    assert list(origin["members"]) == ["optical", "radar"] and len(origin["members"]["radar"]["sha256"]) == 64
    assert set(blueprint.statistics) == set(CERRADATA.bands()) and blueprint.calibration["patches"] == 3
    images = torch.from_numpy(np.array(opened(packed).images[:2]))
    images[0, 13, :5] = torch.nan
    with torch.inference_mode():
        pairs = zip(files, images.split([12, 2], 1), strict=True)
        shares = [checkpoint.load(file)[0](part)[0].softmax(1) for file, part in pairs]
        logits, differ = segmenter.with_disagreement(images)
        mean = (shares[0] + shares[1]) / 2
        torch.testing.assert_close(logits.exp(), mean, atol=1e-6, rtol=1e-5)
        scale, bias = (torch.tensor(blueprint.calibration[key])[:, None, None] for key in ("scale", "bias"))
        torch.testing.assert_close(segmenter(images)[0], logits * scale + bias, atol=1e-4, rtol=1e-4)
        apart = [torch.xlogy(share, share / mean.clamp_min(1e-30)).sum(1, keepdim=True) for share in shares]
        torch.testing.assert_close(differ, (apart[0] + apart[1]) / 2 / np.log(2), atol=1e-5, rtol=1e-3)
    assert 0 < differ.max() <= 1


def test_equal_members_agree(packed, tmp_path):
    files = [member(tmp_path, name, "sar", 1.0) for name in ("one", "two")]
    (segmenter, _, _), _ = joined(files, tmp_path, packed, "sar")
    with torch.inference_mode():
        _, differ = segmenter.with_disagreement(torch.from_numpy(np.array(opened(packed).images[:1, 12:])))
    assert differ.max() < 1e-5
