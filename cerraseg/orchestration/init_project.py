"""Write a project from an image of each sensor and labels: a folder that `snakemake` runs as it is."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import yaml

from cerraseg.config.areas import check_areas
from cerraseg.config.descriptions import load_dataset
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.layout import ENDINGS, SOURCE
from cerraseg.geo import rasters, safe
from cerraseg.geo.band_names import standard_name
from cerraseg.geo.grids import Grid

_SIZES = (128, 64, 32)  # of patches, in pixels
_FEWEST = 60  # patches that a region should have
_RED_GREEN_BLUE = ("B04", "B03", "B02")
_SAFE_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
_MOST_CLASSES = 200

_SNAKEFILE = '''"""This project's workflow: that of the installed CerraSeg. `snakemake -n` shows what would run."""

from cerraseg.core.layout import SOURCE


include: str(SOURCE / "workflow/Snakefile")


rule default:  # an included file's default does not count
    default_target: True
    input:
        rules.all.input,
'''

_HEAD = "# Written by cerraseg init; the reference of all keys is config/README.md of CerraSeg.\n"

_README = """# {name}

    snakemake -n            # what would be done
    snakemake --cores all   # do it; stopped at any time, the same command goes on

Settings: `config/config.yaml`. Look at the result: `results/overview.html`, the map: `results/scenes/{name}`.
"""


def init_project(
    folder: Path, images: Mapping[str, Sequence[str]], labels: Path, field: str | None, layer: str | None
) -> list[str]:
    """Write a project folder: configuration, Snakefile, profile, README.

    The legend has the labels' values: numbers are ids, texts get ids from 1 in alphabetical order. Patches are windows
    of the images, of 128 pixels or so small that there are some dozens; blocks of ground are shared out.

    Args:
        folder: to make, or an empty one.
        images: sensor → files of its image.
        labels: raster of class ids, or polygons or points.
        field: attribute with the class; needed for polygons and points.
        layer: of the labels; None: the first.

    Returns:
        What was found and what to do next, line by line.

    Raises:
        ConfigError: if the folder is not empty, or an image or the field is missing.
        DataError: if a file cannot be read, or the labels have no values that can be classes.
    """
    files = _checked(folder, images, labels, field)
    raster = labels.suffix.lower() in ENDINGS
    classes = _ids(labels) if raster else _values(labels, str(field), layer)
    grid = _grid(next(iter(files.values()))[0])
    size = next((size for size in _SIZES if grid.shape[0] * grid.shape[1] >= _FEWEST * size**2), _SIZES[-1])
    sensors = {name: _sensor(given) for name, given in files.items()}
    dataset = {"name": folder.name, "patch_size": size, "sensors": sensors, "levels": {"classes": {"classes": classes}}}
    scene: dict[str, Any] = {"name": folder.name, **{name: _one(given) for name, given in files.items()}}
    area = {**scene, "labels": str(labels.resolve())}
    area |= {key: value for key, value in (("field", field), ("layer", layer)) if value and not raster}
    check_areas([area], load_dataset(dataset, Path.cwd()), must_exist=True)
    block = _block_km(grid, size)
    config = _configuration(dataset, area, scene, block)
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120)
    written = {
        "config/config.yaml": _HEAD + text,
        "Snakefile": _SNAKEFILE,
        "profiles/default/config.yaml": (SOURCE / "profiles/default/config.yaml").read_text(encoding="utf-8"),
        "README.md": _README.format(name=folder.name),
    }
    for name, content in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return [
        "bands: " + "; ".join(f"{name}: {', '.join(sensor['bands'])}" for name, sensor in sensors.items()),
        "classes: " + ", ".join(f"{entry['id']} {entry['name']}" for entry in classes),
        f"patches of {size} pixels, blocks of {block:g} km",
        f"next: cd {folder} && snakemake --cores all",
    ]


def _checked(
    folder: Path, images: Mapping[str, Sequence[str]], labels: Path, field: str | None
) -> dict[str, list[str]]:
    """Return the images' files as absolute paths, if all that is given can be used."""
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: not empty; expected a new folder: give another name")
    if not images:
        raise ConfigError("no image; expected one at least, such as --msi s2.tif")
    for name, given in {**images, "labels": [str(labels)]}.items():
        for file in given:
            if not Path(file).exists():
                raise ConfigError(f"--{name} {file}: no such file; expected one that can be read: correct the path")
    if labels.suffix.lower() not in ENDINGS and field is None:
        raise ConfigError(f"{labels} holds polygons or points by its ending; expected --field, the one with the class")
    return {name: [str(Path(file).resolve()) for file in given] for name, given in images.items()}


def _configuration(
    dataset: Mapping[str, Any], area: Mapping[str, Any], scene: Mapping[str, Any], block_km: float
) -> dict[str, Any]:
    """Return a configuration of one small model, whose map is of the same ground."""
    sensors = list(dataset["sensors"])
    scenarios = {"models": ["fullres"], "modalities": ["concat" if len(sensors) > 1 else sensors[0]]}
    scenarios |= {"weightings": ["nw"], "levels": ["classes"], "recipes": ["tuned"]}
    return {
        "results": "results",
        "dataset": dataset,
        "source": "rasters",
        "label": dataset["name"],
        "areas": [area],
        "tiling": {"stride": dataset["patch_size"] // 2, "minimum_labelled": 0.02},
        "split": {"block_km": block_km},
        "scenarios": {**scenarios, "seeds": [1]},
        "training": {"epochs": 20, "batch_size": 4},
        "scenes": [scene],
    }


def _one(files: Sequence[str]) -> str | list[str]:
    return files[0] if len(files) == 1 else list(files)


def _sensor(files: Sequence[str]) -> dict[str, Any]:
    """Return a sensor's bands, by the files' descriptions, their names where each has one band, or by number."""
    if safe.is_safe(Path(files[0])):
        bands = list(_SAFE_BANDS)
    else:
        names: list[str] = []
        for file in files:
            with rasters.open_raster(file) as opened:
                single = len(files) > 1 and opened.count == 1
                given = [Path(file).stem] if single and not opened.descriptions[0] else opened.descriptions
                names += [name or f"band{place}" for place, name in enumerate(given, len(names) + 1)]
        bands = names
    standard = {standard_name(band): band for band in bands}
    shown = [standard[name] for name in _RED_GREEN_BLUE if name in standard]
    return {"bands": bands, **({"true_colour": shown} if len(shown) == len(_RED_GREEN_BLUE) else {})}


def _ids(labels: Path) -> list[dict[str, Any]]:
    """Return the classes of a label raster: its values, but for no-data and 255."""
    found: set[int] = set()
    with rasters.open_raster(labels) as file:
        for _, window in file.block_windows(1):
            found |= {int(value) for value in np.unique(file.read(1, window=window, masked=True).compressed())}
    ids = sorted(found - {255})
    if not ids or len(ids) > _MOST_CLASSES or not 0 <= ids[0] <= ids[-1] <= 254:
        raise DataError(f"{labels}: {len(ids)} values; expected class ids from 0 to 254, up to {_MOST_CLASSES}")
    return [{"id": id_, "name": f"class {id_}"} for id_ in ids]


def _values(labels: Path, field: str, layer: str | None) -> list[dict[str, Any]]:
    """Return the classes of polygons or points by the values of a field."""
    try:
        _, _, _, (values,) = pyogrio.raw.read(labels, layer=layer, columns=[field], read_geometry=False)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(f"{labels}: cannot be read ({error}); expected polygons or points") from None
    except ValueError:
        fields = ", ".join(pyogrio.read_info(labels, layer=layer)["fields"])
        raise ConfigError(f"--field {field}: {labels} has no such attribute; expected one of {fields}") from None
    known = sorted({value for value in values.tolist() if value is not None and value == value})
    if not known or len(known) > _MOST_CLASSES:
        raise DataError(f"{labels}: {len(known)} values of {field}; expected up to {_MOST_CLASSES}, one a class")
    if all(isinstance(value, int | float) and float(value).is_integer() and 0 <= value <= 254 for value in known):
        return [{"id": int(value), "name": f"class {int(value)}"} for value in known]
    return [{"id": place, "name": str(value).strip()} for place, value in enumerate(known, 1)]


def _grid(file: str) -> Grid:
    path = Path(file)
    if safe.is_safe(path):
        path = safe.band_files(path, ("B02",), "image")[0]
    with rasters.open_raster(path) as opened:
        return Grid.of(opened)


def _block_km(grid: Grid, size: int) -> float:
    """Return a side of blocks so that there are some dozens, of one patch at least and 10 km at most."""
    left, bottom, right, top = grid.bounds
    metres = 111_320 if grid.crs.is_geographic else grid.crs.linear_units_factor[1]
    km = math.sqrt((right - left) * (top - bottom)) * metres / 1000
    patch = abs(grid.transform.a) * size * metres / 1000
    return float(f"{min(10.0, max(patch, km / 8)):.2g}")
