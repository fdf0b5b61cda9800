"""Windows lie inside the image, at multiples of the stride, row by row."""

import pytest

from cerraseg.core.errors import DataError
from cerraseg.data.tiling import windows


def places(shape, size, stride):
    found = windows(shape, size, stride)
    assert all((window.width, window.height) == (size, size) for window in found)
    return [(window.row_off, window.col_off) for window in found]


def test_windows_end_inside():
    assert places((10, 9), 4, 4) == [(0, 0), (0, 4), (4, 0), (4, 4)]
    assert places((8, 4), 4, 2) == [(0, 0), (2, 0), (4, 0)]
    assert places((4, 4), 4, 100) == [(0, 0)]
    assert len(places((10980, 10980), 64, 64)) == 171 * 171


def test_image_smaller_than_a_window_is_refused():
    with pytest.raises(DataError, match="patch_size"):
        windows((63, 200), 64, 64)
