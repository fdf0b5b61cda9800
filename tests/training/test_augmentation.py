"""What augmentation changes is what it says, draws do not depend on what a process holds."""

import dataclasses

import pytest
import torch
from scenes import CERRADATA, NAMES

from cerraseg.config.recipes import RECIPES
from cerraseg.config.scenario import parse
from cerraseg.models.checkpoint import Segmenter, make_blueprint
from cerraseg.training.augmentation import Radiometry, augment, paste

BANDS = CERRADATA.bands()
STATISTICS = {"bands": {b: {"mean": 100.0 + k, "std": 10.0 + k, "min": 0.0, "max": 1.0} for k, b in enumerate(BANDS)}}


def test_augment_gives_each_symmetry_and_keeps_image_and_mask_together():
    square = torch.arange(9.0).view(1, 1, 3, 3).expand(400, 2, 3, 3)
    torch.manual_seed(0)
    images, masks = augment(square, square[:, :1].byte())
    sides = square[0, 0], square[0, 0].flip(-1)
    expected = {tuple(torch.rot90(side, k).flatten().tolist()) for side in sides for k in range(4)}
    assert {tuple(image[0].flatten().tolist()) for image in images} == expected and len(expected) == 8
    assert torch.equal(images[:, 1].byte(), masks[:, 0])
    assert torch.equal(square[0, 0], torch.arange(9.0).view(3, 3))
    torch.manual_seed(0)
    held, _ = augment(square[100:250], square[:, :1].byte(), slice(100, 250))
    assert torch.equal(held, images[100:250])


def made(recipe="tuned", modality="concat", **fields):
    """Radiometry of a recipe, and the segmenter whose images it takes."""
    scenario = parse(f"fullres-{modality}-nw-l1-{recipe}-1", NAMES)
    recipe = dataclasses.replace(RECIPES[recipe]["unet"], **fields)
    blueprint = make_blueprint(scenario, recipe, {"widths": [4]}, STATISTICS, CERRADATA)
    segmenter = Segmenter(blueprint)
    return Radiometry(recipe, blueprint, segmenter), segmenter


@pytest.mark.parametrize("recipe", ["tuned", "paper"])  # normalised and raw
def test_gain_and_offset_are_of_a_sensor_in_the_units_of_the_files(recipe):
    radiometry, segmenter = made(recipe, gain=0.1, offset=0.2)
    raw = 100 + 20 * torch.rand(300, 14, 4, 4)
    torch.manual_seed(0)
    changed = radiometry(segmenter.normalise(raw), 300)
    back = changed * segmenter.std + segmenter.mean if recipe == "tuned" else changed
    x, y = raw.flatten(2), back.flatten(2)
    gain = ((x - x.mean(2, True)) * (y - y.mean(2, True))).sum(2) / (x - x.mean(2, True)).square().sum(2)
    offset = (y.mean(2) - gain * x.mean(2)) / torch.tensor([STATISTICS["bands"][band]["std"] for band in BANDS])
    for factor, deviation in ((gain.log(), 0.1), (offset, 0.2)):
        assert (factor[:, :12].std(1) < 0.01).all() and (factor[:, 12:].std(1) < 0.01).all()  # alike in a sensor
        assert factor[:, 0].std() == pytest.approx(deviation, rel=0.15) == factor[:, 13].std()
        assert torch.corrcoef(factor[:, [0, 13]].T)[0, 1].abs() < 0.2


def test_lost_bands_and_sensors_have_the_value_of_pixels_without_data():
    radiometry, segmenter = made(drop_band=0.2)
    images = segmenter.normalise(100 + 20 * torch.rand(500, 14, 2, 2))
    filled = segmenter.normalise(torch.full((1, 14, 2, 2), torch.nan))
    lost = radiometry(images, 500) == filled
    assert lost.float().mean() == pytest.approx(0.2, abs=0.03) and (lost.all((2, 3)) == lost.any((2, 3))).all()
    lost = (made(drop_sensor=0.5)[0](images, 500) == filled).all((2, 3))
    assert set(map(tuple, lost[:, [0, 11, 12, 13]].tolist())) == {
        (False, False, False, False), (True, True, False, False), (False, False, True, True)
    }  # fmt: skip
    one, segmenter = made(modality="sar", drop_sensor=0.9)
    images = torch.rand(50, 2, 2, 2)
    torch.testing.assert_close(one(images, 50), images)  # its only sensor


def test_radiometry_does_not_depend_on_what_a_process_holds():
    radiometry, _ = made(gain=0.1, offset=0.2, drop_band=0.1)
    images = torch.rand(6, 14, 2, 2)
    torch.manual_seed(3)
    whole = radiometry(images, 6)
    torch.manual_seed(3)
    assert torch.equal(radiometry(images[2:5], 6, slice(2, 5)), whole[2:5])


def test_paste_takes_half_of_the_classes_of_another_patch():
    masks = torch.full((3, 2, 4, 4), 255, dtype=torch.uint8)
    for k in range(3):
        masks[k, 0] = 10 * k + torch.arange(4, dtype=torch.uint8)[:, None]  # four classes of its own each
        masks[k, 1] = 100 + k
    masks[:, 0, 0, 0] = 255
    images = (masks[:, :1].float() + 0.5).expand(3, 5, 4, 4)
    torch.manual_seed(0)
    mixed, labels = paste(images, masks, 1.0)
    for k in range(3):
        foreign = (labels[k, 0] != masks[k, 0]) & (labels[k, 0] != 255)
        (other,) = (labels[k, 0][foreign] // 10).unique().tolist()
        taken = labels[k, 0][foreign].unique()
        assert other != k and len(taken) == 2
        assert (labels[k, 1][foreign] == 100 + other).all() and (labels[k, 1][~foreign] == 100 + k).all()
        theirs = torch.isin(masks[other, 0], taken)
        assert torch.equal(mixed[k, :, theirs], images[other, :, theirs])
        assert torch.equal(mixed[k, :, ~theirs], images[k, :, ~theirs])
    again, _ = paste(images, masks, 0.0)
    assert torch.equal(again, images)
    alone, _ = paste(images[:1], masks[:1], 1.0)
    assert torch.equal(alone, images[:1])
