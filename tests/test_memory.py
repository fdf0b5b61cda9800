"""Where memory runs out, the error names the setting to lower and its value."""

import numpy as np
import pytest
import torch

from cerraseg.errors import DataError, MemoryShortage
from cerraseg.memory import enough, smaller


def cuda():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB")


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (cuda, "CUDA out of memory. Tried to allocate 2.00 GiB"),
        (lambda: torch.empty(2**55, dtype=torch.uint8), "can't allocate memory"),
        (lambda: np.empty(2**55, np.uint8), "Unable to allocate 32.0 PiB"),
        (lambda: bytearray(2**60), "MemoryError"),
    ],
)
def test_errors_of_every_kind_of_memory_are_told_alike(use, said):
    with pytest.raises(MemoryShortage, match=rf"^Too little memory: lower x\. \(.*{said}"), enough("lower x"):
        use()


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), DataError("out of memory, says a file's name")])
def test_other_errors_stay(error):
    with pytest.raises(type(error)) as caught, enough("lower x"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(("size", "remedy"), [(32, "set it to 16"), (1, "cannot be lower: take a smaller model")])
def test_remedy_halves_until_one(size, remedy):
    assert smaller("predict.batch_size", size).startswith(f"predict.batch_size is {size}; expected ")
    assert remedy in smaller("predict.batch_size", size)
