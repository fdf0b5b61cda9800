"""What stored numbers of optical items mean: from their metadata, which are known to lie, held against the pixels.

Sentinel-2 products since processing baseline 04.00 store reflectance · 10,000 + 1,000, older ones without the 1,000.
Catalogues take it off in some files and not in others, and ``raster:bands`` often tells the wrong one. Sources: ESA,
"Sentinel-2 Products Specification", PSD 14.9; Earth Search's field ``earthsearch:boa_offset_applied``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

OFFSET = 1000
"""What processing baselines from 04.00 on add to reflectance · 10,000."""

_BASELINE = "04.00"
_BELOW = 100  # stored numbers by which the darkest ground may lie below reflectance 0: the offset is then off already
_NEAR = 300  # by how much dark ground may differ from date to date, where an offset of 1,000 would show
_FEWEST = 2  # other items of the same ground, which can outvote one
_OFF = "metadata give an offset, which its pixels have off already"
_ODD = (  # how far above the other items, the offset that is true, why
    (OFFSET, -OFFSET / 10_000, "metadata give no offset, but its pixels still hold 1,000 more"),
    (-OFFSET, 0.0, _OFF),
)


class Meaning(NamedTuple):
    """Reflectance is stored · scale + offset; ``note`` says where the metadata are wrong, else it is empty."""

    scale: float
    offset: float
    note: str


def declared(item: Mapping[str, Any], asset: str) -> Meaning:
    """Return what an item's metadata say of the stored numbers of an asset.

    The processing baseline counts before ``raster:bands``, which counts for what is not Sentinel-2's.
    """
    properties, bands = item["properties"], item["assets"][asset].get("raster:bands") or [{}]
    told = float(bands[0].get("scale", 1e-4)), float(bands[0].get("offset", 0))
    baseline = properties.get("s2:processing_baseline") or properties.get("processing:version")
    if baseline is None:
        return Meaning(*told, "")
    held = str(baseline).zfill(5) >= _BASELINE and not properties.get("earthsearch:boa_offset_applied", False)
    meant = -OFFSET / 10_000 if held else 0.0
    wrong = "offset" in bands[0] and abs(told[1] - meant) > 1e-6
    note = f"raster:bands gives the offset {told[1]:g}; processing baseline {baseline} means {meant:g}" if wrong else ""
    return Meaning(1e-4, meant, note)


def checked(meanings: Sequence[Meaning], dark: Sequence[Sequence[float]], places: Sequence[Any]) -> list[Meaning]:
    """Hold what items declare against their pixels, and return what is true.

    Dark ground has a reflectance near 0. Where it would lie below 0, the offset is off already. Where all bands of an
    item lie 1,000 above those of two or more other items of the same ground, it is still in; below, it is off.

    Args:
        meanings: of each item, as declared.
        dark: of each item, the stored numbers of dark ground in a few bands, of equal length; none: no check.
        places: of each item, its ground: items are compared where it is equal.
    """
    found = list(meanings)
    for place, (meaning, stored) in enumerate(zip(meanings, dark, strict=True)):
        if len(stored) and meaning.offset and min(stored) * meaning.scale + meaning.offset < -_BELOW / 10_000:
            found[place] = meaning._replace(offset=0.0, note=_OFF)
    levels = [np.array(stored) * one.scale + one.offset for stored, one in zip(dark, found, strict=True)]
    for place, meaning in enumerate(found):
        others = [level for k, level in enumerate(levels) if k != place and places[k] == places[place] and len(level)]
        if len(others) < _FEWEST or not len(levels[place]):
            continue
        above = 10_000 * (levels[place] - np.median(others, axis=0))
        for wanted, offset, words in _ODD:
            if (meaning.offset == 0) == (offset != 0) and (np.abs(above - wanted) < _NEAR).all():
                found[place] = meaning._replace(offset=offset, note=words)
    return found
