"""Known answers, and that ignored pixels and absent classes leave no trace."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import CERRADATA
from torch.nn import functional as F

from cerraseg.config.recipes import RECIPES
from cerraseg.training.losses import CoarserLoss, SemanticLoss, TaskLoss, cross_entropy, dice, focal, roll_up
from cerraseg.training.weightings import Balance

torch.manual_seed(0)
LOGITS = torch.randn(2, 3, 4, 4)
MASKS = torch.randint(0, 3, (2, 4, 4))
IGNORED = MASKS.clone()
IGNORED[:, :2] = 255

PLAIN = replace(RECIPES["tuned"]["unet"], dice=0.0)
TWICE = RECIPES["paper"]["unet"]
FOCUSED = functools.partial(focal, gamma=2.0)
PARENTS = CERRADATA.ancestors("l2")["l1"]
ADJUSTED = Balance(adjustment=np.log([0.7, 0.2, 0.1]))


@pytest.mark.parametrize("class_weights", [None, torch.tensor([1.0, 0.0, 0.3])])
@pytest.mark.parametrize("masks", [MASKS, IGNORED])
def test_cross_entropy_is_torchs_mean(masks, class_weights):
    expected = F.cross_entropy(LOGITS, masks, class_weights, ignore_index=255)
    torch.testing.assert_close(cross_entropy(LOGITS, masks, class_weights), expected)
    if class_weights is None:
        torch.testing.assert_close(focal(LOGITS, masks, 0.0), expected)


def test_smoothed_labels():
    """Of a share s, each of n classes gets s / n; in a coarser loss labels stay as they are."""
    truth = F.one_hot(MASKS, 3).movedim(-1, 1) * 0.8 + 0.2 / 3
    expected = -(truth * LOGITS.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(cross_entropy(LOGITS, MASKS, smoothing=0.2), expected)
    torch.testing.assert_close(TaskLoss(replace(PLAIN, label_smoothing=0.2))(LOGITS, MASKS), expected)
    smooth, plain = (CoarserLoss(replace(PLAIN, label_smoothing=s), [0, 0, 2], 3) for s in (0.2, 0.0))
    masks = MASKS.where(MASKS != 1, 2)
    assert torch.equal(smooth(LOGITS, LOGITS, masks), plain(LOGITS, LOGITS, masks))


SMOOTHED = functools.partial(cross_entropy, smoothing=0.1)


@pytest.mark.parametrize(
    "loss", [cross_entropy, SMOOTHED, dice, FOCUSED, TaskLoss(PLAIN, ADJUSTED), TaskLoss(TWICE, ADJUSTED)]
)
def test_ignored_pixels_reach_neither_value_nor_gradient(loss):
    logits = LOGITS.clone().requires_grad_()
    value = loss(logits, IGNORED)
    value.backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, :2] == 0).all()
    assert (logits.grad[:, :, 2:] != 0).any()
    other = LOGITS.clone()
    other[:, :, :2] += 5
    torch.testing.assert_close(loss(other, IGNORED), value.detach())
    logits.grad = None
    nothing = loss(logits, torch.full_like(MASKS, 255))
    nothing.backward()
    assert nothing.item() == 0 and (logits.grad == 0).all()


def test_dice_known_answers():
    masks = torch.tensor([[[0, 1]]])
    certain = torch.tensor([[[[50.0, -50.0]], [[-50.0, 50.0]], [[-50.0, -50.0]]]])
    torch.testing.assert_close(dice(certain, masks), torch.tensor(0.0))
    # Probability 1/2 for classes 0 and 1: 2·0.5 / (2·0.25 + 1) = 2/3 each; class 2 is absent and does not count.
    even = torch.tensor([[[[0.0, 0.0]], [[0.0, 0.0]], [[-50.0, -50.0]]]])
    torch.testing.assert_close(dice(even, masks), torch.tensor(1 / 3))


def test_focal_known_answer():
    """Probabilities of the true class 1/2 and 3/4: (1/2)² log 2 and (1/4)² log 4/3, and their mean."""
    logits = torch.tensor([[0.5, 0.75, 0.1], [0.5, 0.25, 0.9]]).log()[None, :, None]
    masks = torch.tensor([[[0, 0, 255]]])
    expected = (np.log(2) / 4 + np.log(4 / 3) / 16) / 2
    assert focal(logits, masks, 2.0).item() == pytest.approx(expected, rel=1e-5)


def test_focal_loss_of_sure_pixels_is_zero_and_has_a_gradient():
    logits = torch.tensor([[[[80.0, -80.0]], [[-80.0, 80.0]]]], requires_grad=True)
    masks = torch.tensor([[[0, 0]]])  # surely right, surely wrong
    value = focal(logits, masks, 2.0)
    value.backward()
    assert value.item() == pytest.approx(80)
    assert logits.grad is not None and logits.grad.isfinite().all() and (logits.grad[..., 0] == 0).all()


@pytest.mark.parametrize("recipe", [PLAIN, TWICE])
def test_log_prior_is_added_before_a_softmax_of_the_recipe(recipe):
    adjusted = LOGITS + torch.tensor([0.7, 0.2, 0.1]).log().view(3, 1, 1)
    expected = F.cross_entropy(adjusted.softmax(1) if recipe is TWICE else adjusted, MASKS)
    torch.testing.assert_close(TaskLoss(recipe, ADJUSTED)(LOGITS, MASKS), expected)


@pytest.mark.parametrize("balance", [ADJUSTED, Balance(gamma=2.0), Balance([1.0, 0.0, 0.3])])
def test_dice_sees_no_weighting(balance):
    both, alone = (TaskLoss(replace(PLAIN, dice=factor), balance)(LOGITS, MASKS) for factor in (1.0, 0.0))
    torch.testing.assert_close(both - alone, dice(LOGITS, MASKS))


def l2_batch():
    """Logits of L2, masks of L2 and of L1, the latter with a few pixels that are not nested."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 14, 4, 4, generator=generator)
    fine = torch.randint(0, 14, (2, 4, 4), generator=generator)
    coarse = torch.tensor(PARENTS)[fine]
    coarse[0, 0, :2] = torch.tensor([6, 255])
    return logits, torch.stack([fine, coarse], 1)


@pytest.mark.parametrize("dice_factor", [0.0, 1.0])
def test_loss_of_both_levels_is_their_sum(dice_factor):
    recipe = replace(PLAIN, dice=dice_factor, hierarchy=0.5)
    logits, masks = l2_batch()
    fine, coarse = torch.rand(14) + 0.1, torch.rand(7) + 0.1
    summed = torch.zeros(2, 7, 4, 4)
    for k, parent in enumerate(PARENTS):
        summed[:, parent] += logits.softmax(1)[:, k]
    torch.testing.assert_close(roll_up(logits, PARENTS, 7).exp(), summed, rtol=1e-5, atol=1e-7)
    assert roll_up(torch.full((1, 14, 1, 1), -1e4), PARENTS, 7).isfinite().all()
    expected = F.cross_entropy(logits, masks[:, 0], fine)
    expected += 0.5 * F.nll_loss(summed.log(), masks[:, 1], coarse, ignore_index=255)
    if dice_factor:
        expected += dice(logits, masks[:, 0]) + 0.5 * dice(summed.log(), masks[:, 1])
    loss = SemanticLoss(recipe, Balance(fine.tolist()), [CoarserLoss(recipe, PARENTS, 7, Balance(coarse.tolist()))])
    torch.testing.assert_close(loss(logits, masks), expected)
    alone = SemanticLoss(replace(recipe, hierarchy=0.0), Balance(fine.tolist()))
    torch.testing.assert_close(alone(logits, masks), TaskLoss(recipe, Balance(fine.tolist()))(logits, masks[:, 0]))


@pytest.mark.parametrize("balance", [Balance(), Balance(gamma=2.0), Balance(adjustment=np.full(14, -3.0))])
def test_levels_ignore_pixels_apart(balance):
    """Without a label at either level the loss is 0; without one at L1 it is that of L2 alone."""
    recipe = replace(PLAIN, dice=1.0, hierarchy=1.0)
    loss = SemanticLoss(recipe, balance, [CoarserLoss(recipe, PARENTS, 7)])
    logits, masks = l2_batch()
    logits.requires_grad_()
    nothing = loss(logits, torch.full_like(masks, 255))
    nothing.backward()
    assert nothing.item() == 0 and logits.grad is not None and (logits.grad == 0).all()
    masks[:, 1] = 255
    torch.testing.assert_close(loss(logits, masks), loss.own(logits, masks[:, 0]))


def test_adjusted_logits_are_added_up_as_they_are():
    """The logits that give each pixel of one place its training frequencies have no gradient at either level."""
    counts = torch.tensor([4, 3, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 5])
    fine = torch.repeat_interleave(torch.arange(14), counts).view(1, 1, -1)
    parents = torch.tensor(PARENTS)
    prior = (counts / counts.sum()).log()
    shared = torch.zeros(1, 14, 1, 1, requires_grad=True)
    recipe = replace(PLAIN, hierarchy=1.0)
    loss = SemanticLoss(recipe, Balance(adjustment=prior.numpy()), [CoarserLoss(recipe, PARENTS, 7)])
    loss(shared.expand(1, 14, 1, fine.shape[-1]), torch.stack([fine, parents[fine]], 1)).backward()
    torch.testing.assert_close(shared.grad, torch.zeros(1, 14, 1, 1), atol=1e-6, rtol=0)


def three_levels():
    """Logits of five classes, and masks of these, the edges, the coarsest level and the middle one."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 5, 4, 4, generator=generator)
    fine = torch.randint(0, 5, (2, 4, 4), generator=generator)
    fine[0, 0] = 255
    top, middle = (1, 0, 1, 0, 0), (2, 0, 2, 3, 0)
    coarse = [torch.tensor((*line, *[0] * 251))[fine].where(fine != 255, 255) for line in (top, middle)]
    return logits, torch.stack([fine, torch.full_like(fine, 7), *coarse], 1), (top, middle)


def test_loss_of_three_levels_is_their_sum():
    recipe = replace(PLAIN, hierarchy=0.5)
    logits, masks, lines = three_levels()
    expected, classes = F.cross_entropy(logits, masks[:, 0], ignore_index=255), (2, 4)
    for line, count, truth in zip(lines, classes, masks[:, 2:].unbind(1), strict=True):
        summed = torch.zeros(2, count, 4, 4).index_add(1, torch.tensor(line), logits.softmax(1))
        expected += 0.5 * F.nll_loss(summed.clamp(min=1e-30).log(), truth, ignore_index=255)
    coarser = [CoarserLoss(recipe, line, count) for line, count in zip(lines, classes, strict=True)]
    torch.testing.assert_close(SemanticLoss(recipe, coarser=coarser)(logits, masks), expected)


def test_coarser_class_without_a_finer_one_is_ignored():
    """Position 1 of the middle level has none: where its mask holds it, neither loss nor gradient is infinite."""
    recipe = replace(PLAIN, dice=1.0, hierarchy=1.0)
    logits, masks, (_, middle) = three_levels()
    loss = CoarserLoss(recipe, middle, 4, Balance([1.0, 2.0, 3.0, 4.0]))
    truth, unlabelled = masks[:, 3].clone(), masks[:, 3].clone()
    truth[1, 2], unlabelled[1, 2] = 1, 255
    logits.requires_grad_()
    value = loss(logits, logits, truth)
    value.backward()
    torch.testing.assert_close(value, loss(logits, logits, unlabelled))
    assert value.isfinite() and logits.grad is not None and logits.grad.isfinite().all()
