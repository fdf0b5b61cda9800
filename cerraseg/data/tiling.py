"""The windows of an image that are patches."""

from itertools import product

from rasterio.windows import Window

from cerraseg.core.errors import DataError


def windows(shape: tuple[int, int], size: int, stride: int) -> list[Window]:
    """Return the square windows that lie wholly inside an image, row by row from the upper left corner.

    They begin at multiples of the stride. What is left over at the right and at the bottom, less than a stride, is in
    none: a last row moved back would overlap the one before it, and windows that overlap must stay in one part.

    Args:
        shape: (height, width) of the image in pixels.
        size: side of a window in pixels.
        stride: pixels from one window to the next, at least 1.

    Raises:
        DataError: if the image is smaller than a window.
    """
    height, width = shape
    if min(shape) < size:
        raise DataError(
            f"an image of {height} x {width} pixels holds no window of {size} x {size}; expected a larger one: take "
            "another image, or a smaller patch_size"
        )
    starts = product(range(0, height - size + 1, stride), range(0, width - size + 1, stride))
    return [Window(column, row, size, size) for row, column in starts]
