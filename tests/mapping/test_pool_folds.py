"""Folds put together: each patch from the fold that predicted it, or a refusal."""

import numpy as np
import pytest

from cerraseg.core.errors import DataError
from cerraseg.data.tables import write_ids
from cerraseg.mapping.pool_folds import pool_folds


def folds(folder, parts):
    """Files of folds that predicted these of five patches: the pixels of ``c`` hold 20."""
    ids, arrays = [], []
    for number, patches in enumerate(parts):
        ids.append(folder / f"{number}.csv")
        write_ids(ids[-1], list(patches))
        arrays.append(folder / f"{number}.npy")
        np.save(arrays[-1], np.array([np.full((2, 2), 10 * "abcde".index(patch), np.uint8) for patch in patches]))
    return ids, arrays


def test_each_patch_comes_from_the_fold_that_predicted_it(tmp_path):
    pool_folds(list("abcde"), *folds(tmp_path, ["be", "a", "dc"]), tmp_path / "pooled.npy")
    pooled = np.load(tmp_path / "pooled.npy")
    assert pooled.dtype == np.uint8 and pooled.shape == (5, 2, 2)
    assert pooled[:, 1, 0].tolist() == [0, 10, 20, 30, 40]


@pytest.mark.parametrize(
    ("parts", "order", "named"),
    [(["be", "a"], 1, "every patch"), (["be", "ab", "cd"], 1, "every patch"), (["be", "acd"], -1, "expected 3")],
)
def test_patch_of_no_fold_or_of_two_and_arrays_of_others_are_refused(tmp_path, parts, order, named):
    ids, arrays = folds(tmp_path, parts)
    with pytest.raises(DataError, match=named):
        pool_folds(list("abcde"), ids[::order], arrays, tmp_path / "pooled.npy")
    assert not (tmp_path / "pooled.npy").exists()
