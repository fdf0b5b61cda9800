"""Known answers, and that ignored pixels and absent classes leave no trace."""

import pytest
import torch
from torch.nn import functional as F

from cerraseg.losses import cross_entropy, dice

torch.manual_seed(0)
LOGITS = torch.randn(2, 3, 4, 4)
MASKS = torch.randint(0, 3, (2, 4, 4))


def with_ignored():
    masks = MASKS.clone()
    masks[:, :2] = 255
    return masks


@pytest.mark.parametrize("class_weights", [None, torch.tensor([1.0, 0.0, 0.3])])
@pytest.mark.parametrize("masks", [MASKS, with_ignored()])
def test_cross_entropy_is_torchs_mean(masks, class_weights):
    expected = F.cross_entropy(LOGITS, masks, class_weights, ignore_index=255)
    torch.testing.assert_close(cross_entropy(LOGITS, masks, class_weights), expected)


@pytest.mark.parametrize("loss", [cross_entropy, dice])
def test_ignored_pixels_reach_neither_value_nor_gradient(loss):
    logits = LOGITS.clone().requires_grad_()
    value = loss(logits, with_ignored())
    value.backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, :2] == 0).all()
    assert (logits.grad[:, :, 2:] != 0).any()
    other = LOGITS.clone()
    other[:, :, :2] += 5
    torch.testing.assert_close(loss(other, with_ignored()), value.detach())


@pytest.mark.parametrize("loss", [cross_entropy, dice])
def test_batch_without_labels_gives_zero_and_a_gradient(loss):
    logits = LOGITS.clone().requires_grad_()
    value = loss(logits, torch.full_like(MASKS, 255))
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


def test_dice_known_answers():
    masks = torch.tensor([[[0, 1]]])
    certain = torch.tensor([[[[50.0, -50.0]], [[-50.0, 50.0]], [[-50.0, -50.0]]]])
    torch.testing.assert_close(dice(certain, masks), torch.tensor(0.0))
    # Probability 1/2 for classes 0 and 1: 2·0.5 / (2·0.25 + 1) = 2/3 each; class 2 is absent and does not count.
    even = torch.tensor([[[[0.0, 0.0]], [[0.0, 0.0]], [[-50.0, -50.0]]]])
    torch.testing.assert_close(dice(even, masks), torch.tensor(1 / 3))
