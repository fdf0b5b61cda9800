"""Sentinel-2 products as ESA ships them: a SAFE folder with a JP2 file per band and resolution."""

import re
from collections.abc import Sequence
from pathlib import Path

from cerraseg.core.errors import DataError
from cerraseg.geo.band_names import standard_name

NODATA = 0
"""Value of a pixel without data in every product."""

_BAND = re.compile(r"_(B\d[\dA])(?:_(\d\d)m)?\.jp2", re.IGNORECASE)  # T22LGH_20200101T134211_B02_10m.jp2; L1C: no _10m
_OFFSET = re.compile(r'<(?:BOA|RADIO)_ADD_OFFSET band_id="(\d+)">([-.\d]+)<')  # in DN, since baseline 04.00
_IDS = [f"B{number:02}" for number in range(1, 9)] + ["B8A"] + [f"B{number:02}" for number in range(9, 13)]


def is_safe(path: Path) -> bool:
    """Tell whether a path is a SAFE folder."""
    return path.suffix.upper() == ".SAFE" and path.is_dir()


def all_files(folder: Path) -> list[Path]:
    """Return the band files and the metadata of a product."""
    return sorted([*_images(folder), *folder.glob("MTD_MSI*.xml")])


def band_files(folder: Path, wanted: Sequence[str], what: str) -> list[Path]:
    """Return the file of each wanted band at its finest resolution; of all bands where none is wanted.

    Raises:
        DataError: if a band is missing, or the product has several granules.
    """
    found: dict[str, tuple[int, Path]] = {}
    images = _images(folder)
    if len({path.relative_to(folder).parts[1] for path in images}) > 1:
        raise DataError(f"{what}: {folder} holds several granules; expected one tile: name its band files as a list")
    for path in images:
        band, metres = _BAND.search(path.name).groups("0")  # type: ignore[union-attr]
        found[band.upper()] = min(found.get(band.upper(), (int(metres), path)), (int(metres), path))
    names = [standard_name(band) for band in wanted] or list(found)
    if missing := [name for name in names if name not in found]:
        raise DataError(
            f"{what}: {folder} has JP2 files of {', '.join(sorted(found)) or 'no band'}, none of "
            f"{', '.join(missing)}; expected a Sentinel-2 product with GRANULE/*/IMG_DATA: download it whole"
        )
    return [found[name][1] for name in names]


def offsets(folder: Path) -> dict[str, float]:
    """Return band → number to add to its stored values, of the products since baseline 04.00; others have none."""
    found: dict[str, float] = {}
    for file in folder.glob("MTD_MSI*.xml"):
        for number, value in _OFFSET.findall(file.read_text(encoding="utf-8", errors="replace")):
            found[_IDS[int(number)]] = float(value)
    return found


def _images(folder: Path) -> list[Path]:
    files = sorted([*folder.glob("GRANULE/*/IMG_DATA/*.jp2"), *folder.glob("GRANULE/*/IMG_DATA/R*m/*.jp2")])
    return [path for path in files if _BAND.search(path.name)]
