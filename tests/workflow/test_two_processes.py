"""Two processes of a training compute what one does, with ignored pixels unevenly spread and an idle process."""

import dataclasses

import pytest
import torch
from scenes import CERRADATA
from torch import distributed as group

from cerraseg.config.recipes import RECIPES
from cerraseg.core.errors import ConfigError
from cerraseg.core.taxonomy import IGNORE
from cerraseg.training import distributed, losses
from cerraseg.training.distributed import ONLY_PROCESS
from cerraseg.training.weightings import UNWEIGHTED

PARENTS = torch.tensor([*CERRADATA.ancestors("l2")["l1"], *[IGNORE] * 242])
TUNED, PAPER = RECIPES["tuned"]["unet"], RECIPES["paper"]["unet"]
RISING = tuple(k / 7 for k in range(1, 15))
HIERARCHICAL = dataclasses.replace(TUNED, hierarchy=0.5)
WEIGHTED = dataclasses.replace(UNWEIGHTED, class_weights=RISING)
LOSSES = {
    "weighted": losses.TaskLoss(dataclasses.replace(TUNED, dice=0.0), WEIGHTED),
    "weighted and dice": losses.TaskLoss(TUNED, WEIGHTED),
    "dice of absent classes": losses.TaskLoss(dataclasses.replace(TUNED, cross_entropy=0.0, dice_absent=True)),
    "focal": losses.TaskLoss(TUNED, dataclasses.replace(UNWEIGHTED, gamma=2.0)),
    "adjusted": losses.TaskLoss(TUNED, dataclasses.replace(UNWEIGHTED, adjustment=RISING)),
    "softmax twice": losses.TaskLoss(PAPER, WEIGHTED),
    "hierarchical": losses.SemanticLoss(
        HIERARCHICAL, coarser=[losses.CoarserLoss(HIERARCHICAL, PARENTS[:14].tolist(), 7)]
    ),
}


def gradients(share):
    """Loss and gradients of a step, by loss and patches of the batch; of one patch, a second process is idle."""
    found = {}
    for name, loss in LOSSES.items():
        for patches in (6, 5, 1):
            torch.manual_seed(0)
            net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.GELU(), torch.nn.Conv2d(8, 14, 1))
            images, masks = torch.randn(patches, 3, 18, 18), torch.randint(0, 5, (patches, 16, 16))
            masks[patches // 2 :] += 6  # classes of the last process alone
            masks[torch.rand(masks.shape) < torch.linspace(0.1, 0.9, patches).view(-1, 1, 1)] = IGNORE
            layers = torch.stack([masks, PARENTS[masks]], 1)
            model = torch.nn.parallel.DistributedDataParallel(net) if share.count > 1 else net
            logits, own = model(images[share.held(patches)]), share.own(layers)
            value = loss(logits, own if name == "hierarchical" else own[:, 0])
            value.backward()
            found[f"{name}, {patches}"] = [value.detach(), *(parameter.grad for parameter in net.parameters())]
    return found


def write_gradients(share, file):
    group.init_process_group("gloo")
    found = gradients(share)
    if share.rank == 1:
        torch.save(found, file)
    group.barrier()
    if share.rank == 1:
        raise ConfigError("the second of two is through")
    group.barrier()  # which the second never reaches


def test_gradients_of_two_processes_are_those_of_one_and_an_error_of_one_comes_out_as_it_is(tmp_path):
    with pytest.raises(ConfigError, match=r"^the second of two is through$"):
        distributed.launch(write_gradients, 1, 2, tmp_path / "resume", tmp_path / "two.pt")
    one, two = gradients(ONLY_PROCESS), torch.load(tmp_path / "two.pt", weights_only=True)
    for case, expected in one.items():
        for found, value in zip(two[case], expected, strict=True):
            torch.testing.assert_close(found, value, rtol=0, atol=1e-5 * float(value.abs().max()), msg=case)
