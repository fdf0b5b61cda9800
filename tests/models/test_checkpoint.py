"""A checkpoint knows its data: bands, classes, statistics, and what stands in for pixels without any."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from scenes import CERRADATA, TRAINED
from test_adopt import REGION

from cerraseg.config.dataset import Dataset
from cerraseg.config.recipes import RECIPES
from cerraseg.config.scenario import known_names, parse
from cerraseg.core.errors import DataError
from cerraseg.core.layout import SOURCE
from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Segmenter, make_blueprint

UNET = {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": (16, 16, 8)}
FOREIGN = Dataset.of(REGION)
MEANS = {"B02": 500.0, "B03": 700.0, "B08": 3000.0, "elevation": -4.0}
STATISTICS = {"bands": {band: {"mean": m, "std": 2.0, "min": m - 9, "max": m + 9} for band, m in MEANS.items()}}


def blueprint(name="unet-concat-nw-l2-tuned-1", recipe="tuned", data=FOREIGN, statistics=STATISTICS, **changes):
    made = dataclasses.replace(RECIPES[recipe]["unet"], **changes)
    return make_blueprint(parse(name, known_names(data)), made, UNET, statistics, data)


def test_foreign_data_is_read_back_from_plain_values(tmp_path):
    made = blueprint(hierarchy=1.0)
    checkpoint.save(tmp_path / "a.pt", made, Segmenter(made).net.state_dict(), {})
    segmenter, found, _ = checkpoint.load(tmp_path / "a.pt")
    assert found == made and found.described == FOREIGN and found.statistics == STATISTICS["bands"]
    assert found.described.levels["l2"].ids == (24, 33, 39) and segmenter.ancestors == ((0, 1, 0),)
    with torch.no_grad():
        assert segmenter(torch.zeros(1, 4, 64, 64))[0].shape == (1, 3, 64, 64)


def test_description_holds_what_the_model_needs():
    made = blueprint("unet-msi-nw-l1-paper-1", "paper", CERRADATA, {"bands": TRAINED})
    assert (list(made.dataset["sensors"]), list(made.dataset["levels"])) == (["msi"], ["l1"])
    assert "folders" not in str(made.dataset) and "edge" not in str(made.dataset)
    assert made.mean == () and list(made.statistics) == list(CERRADATA.bands("msi"))  # also of raw input
    assert made.described.classes("l1") == CERRADATA.classes("l1")
    assert Segmenter(made).ancestors == ()


def test_earlier_checkpoints_are_cerradatas():
    values = {"model": "unet", "settings": UNET, "modality": "sar", "level": "l2", "top_down": True,
              "mean": (7.0, 8.0), "std": (2.0, 2.0)}  # fmt: skip
    found = checkpoint.Blueprint.from_checkpoint(values)
    assert found.hierarchical and found.statistics == {} and found.described.name == "CerraData-4MM"
    segmenter = Segmenter(found)
    assert segmenter.ancestors == (CERRADATA.ancestors("l2")["l1"],)
    assert segmenter.fill.flatten().tolist() == [7.0, 8.0]
    assert segmenter.normalise(torch.full((1, 2, 1, 1), 11.0)).flatten().tolist() == [2.0, 1.5]


@pytest.mark.parametrize("recipe", ["tuned", "paper"])
def test_pixels_without_data_have_the_mean_of_training(recipe):
    segmenter = Segmenter(blueprint(recipe=recipe))
    images = torch.randn(2, 4, 64, 64) * 100
    holes = torch.rand(2, 4, 64, 64) < 0.3
    filled = images.where(~holes, torch.tensor([*MEANS.values()]).view(1, 4, 1, 1))
    found = segmenter.normalise(images.masked_fill(holes, torch.nan))
    assert torch.equal(found, segmenter.normalise(filled))
    if recipe == "tuned":
        assert (found[holes] == 0).all()
        assert torch.equal(segmenter.normalise(images), (images - segmenter.mean) / segmenter.std)
    else:
        assert torch.equal(segmenter.normalise(images), images)


BY_PUBLISHED = {
    "0to1": lambda x, low, high, mean, std: (x - low) / (high - low),
    "1to1": lambda x, low, high, mean, std: (np.log(x) - np.log(mean)) / np.log(std),
    "zscore": lambda x, low, high, mean, std: (x - mean) / std,
}


@pytest.mark.parametrize("name", BY_PUBLISHED)
def test_published_normalisations(tmp_path, name):
    """Worked out in float64 by the formulas of reference/README.md, from the table there."""
    table = json.loads((SOURCE / "reference/band_statistics.json").read_text())["sar"]
    changes = {"normalise": name, "normalise_by": "published"}
    made = blueprint("unet-sar-nw-l1-paper-1", "paper", CERRADATA, {"bands": TRAINED}, **changes)
    checkpoint.save(tmp_path / "a.pt", made, Segmenter(made).net.state_dict(), {})
    x = np.random.default_rng(0).uniform(0, 900, (1, 2, 8, 8)).astype(np.float32)
    x[0, :, 0] = -5
    found = checkpoint.load(tmp_path / "a.pt")[0].normalise(torch.from_numpy(x))
    for k in range(2):
        clipped = x[0, k].astype(float) if name == "zscore" else np.maximum(x[0, k].astype(float), 1e-6)
        wanted = BY_PUBLISHED[name](clipped, *(table[key][k] for key in ("min", "max", "mean", "std")))
        np.testing.assert_allclose(found[0, k], wanted, rtol=1e-5, atol=1e-6)


def test_logarithms_that_do_not_exist_are_refused():
    with pytest.raises(DataError, match=r"^elevation: mean -4 and deviation 2"):
        blueprint(normalise="1to1")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_statistics_that_are_no_numbers_for_each_band_are_refused(tmp_path, value):
    made = blueprint()
    parameters = Segmenter(made).net.state_dict()
    bands = dict(made.statistics)
    if value is None:
        del bands["elevation"]
    else:
        bands["elevation"] = bands["elevation"] | {"max": value}
    checkpoint.save(tmp_path / "a.pt", dataclasses.replace(made, statistics=bands), parameters, {})
    with pytest.raises(DataError, match="not a checkpoint that CerraSeg wrote"):
        checkpoint.load(tmp_path / "a.pt")
