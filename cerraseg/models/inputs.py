"""What the models take of a dataset: which patch sizes, and which bands are colours. No torch."""

import math
from collections.abc import Iterable, Sequence

from cerraseg.config.dataset import Sensor
from cerraseg.core.errors import ConfigError

PATCH = 4
"""Side in pixels of the squares that become the tokens of TransNuSeg's first stage."""


def colours(sensors: Iterable[Sensor]) -> tuple[str, ...]:
    """Return the bands of red, green and blue of a modality's sensors; none where no sensor has an optical picture."""
    return next((sensor.true_colour for sensor in sensors if sensor.true_colour and not sensor.logarithmic), ())


def check_transnuseg_size(size: int, heads: Sequence[int], window: int) -> None:
    """Raise :class:`ConfigError` unless a TransNuSeg can be built for images of ``size``."""
    if size % transnuseg_step(size, heads, window):
        least, whole = PATCH << len(heads), transnuseg_step(PATCH * window << len(heads), heads, window)
        smaller = [one for one in range(least, whole, least) if not one % transnuseg_step(one, heads, window)]
        sizes = f"{', '.join(map(str, smaller))} or " * bool(smaller)
        raise ConfigError(
            f"patch_size: {size}; transnuseg has {PATCH} pixels a token, half as many tokens at each of {len(heads)} "
            f"stages, and whole windows of {window} tokens, so it takes {sizes}a multiple of {whole}: change the "
            "dataset's patch_size, or transnuseg.window"
        )


def transnuseg_step(size: int, heads: Sequence[int], window: int) -> int:
    """Return what the sides of images must be multiples of for a TransNuSeg that is built for images of ``size``.

    At each stage the tokens are whole windows; where they are fewer than a window's side, all are one window.
    """
    windows = (min(window, max(1, size // PATCH >> stage)) for stage in range(len(heads)))
    return math.lcm(PATCH << len(heads), *(PATCH * side << stage for stage, side in enumerate(windows)))
