import numpy as np
import pandas as pd
import pytest

from cerraseg.core.errors import DataError
from cerraseg.mapping.pool_folds import pool


def folds(folder, parts):
    """Split tables and packed arrays of folds that test the given rows of 5 patches: pixels hold ten times the row."""
    splits, arrays = [], []
    for number, rows in enumerate(parts):
        named = ["test" if row in rows else "train" for row in range(5)]
        splits.append(folder / f"{number}.csv")
        pd.DataFrame({"id": list("abcde"), "split": named}).to_csv(splits[-1], index=False)
        arrays.append(folder / f"{number}.npy")
        np.save(arrays[-1], np.array([np.full((2, 2), 10 * row, np.uint8) for row in sorted(rows)]))
    return splits, arrays


def test_each_patch_comes_from_the_fold_that_tested_it(tmp_path):
    pool(*folds(tmp_path, [{1, 4}, {0}, {2, 3}]), tmp_path / "pooled.npy")
    pooled = np.load(tmp_path / "pooled.npy")
    assert pooled.dtype == np.uint8 and pooled.shape == (5, 2, 2)
    assert pooled[:, 1, 0].tolist() == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("parts", [[{1, 4}, {0}], [{1, 4}, {0, 1}, {2, 3}]])
def test_patch_of_no_fold_or_of_two_is_refused(tmp_path, parts):
    with pytest.raises(DataError, match="expected every patch in one of them"):
        pool(*folds(tmp_path, parts), tmp_path / "pooled.npy")
    assert not (tmp_path / "pooled.npy").exists()


def test_array_of_another_split_is_refused(tmp_path):
    splits, arrays = folds(tmp_path, [{1, 4}, {0, 2, 3}])
    with pytest.raises(DataError, match="predict the folds again"):
        pool(splits[::-1], arrays, tmp_path / "pooled.npy")
