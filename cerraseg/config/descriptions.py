"""Read and check a dataset description: a built-in one, a YAML file, or values that stand in the configuration."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cerraseg.config.dataset import BUILT_IN, CONCAT, Dataset
from cerraseg.config.legends import read_legend
from cerraseg.config.schema import schema_errors, typed
from cerraseg.config.strict_yaml import check_values, check_yaml
from cerraseg.config.suggestions import check_known, check_name, expand_path, nearest
from cerraseg.core.errors import ConfigError
from cerraseg.core.layout import SOURCE

SCHEMA = SOURCE / "workflow/schemas/dataset.schema.yaml"

_OF_LABELS = ("labels", "layer", "field", "classes", "reference", "reference_level")
ENTRY_KEYS = ("name", *_OF_LABELS, "nodata", "mask", "date", "scenarios")
"""Keys of an area or a scene beside its sensors, which therefore go by other names."""

# Okabe and Ito's colours without black, then Tol's "muted" scheme: told apart with every kind of colour vision.
# fmt: off
_PALETTE = [
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#cc6677",
    "#332288", "#ddcc77", "#117733", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499",
]
# fmt: on


def load_dataset(given: str | Mapping[str, Any], folder: Path) -> Dataset:
    """Return the dataset that a configuration gives.

    Args:
        given: name of a built-in description, path of a YAML file, or a description's values.
        folder: that relative paths start from; those in a file start from the file's own folder.

    Raises:
        ConfigError: if the description breaks the schema or contradicts itself, with the key.
    """
    if isinstance(given, str) and given in BUILT_IN:
        return Dataset.of(given)
    values, _ = _read(given, folder)
    _check_names(values)
    _check_bands(values["sensors"])
    above: list[int] = []
    for name, level in values["levels"].items():
        _complete(level["classes"])
        _check_classes(f"dataset.levels.{name}.classes", level, above)
        above = [entry["id"] for entry in level["classes"]]
    return Dataset.of(values)


def paths(given: str | Mapping[str, Any], folder: Path) -> list[Path]:
    """Return the files that a description is read from: itself and its legends; none of a built-in one."""
    return [] if isinstance(given, str) and given in BUILT_IN else _read(given, folder)[1]


def _read(given: str | Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """Return values that agree with the schema, legends filled in, and the files that they come from."""
    files: list[Path] = []
    if isinstance(given, str):
        file = folder / expand_path("dataset", given)
        if not file.is_file():
            raise ConfigError(f"dataset: {given!r}: no such file and no built-in name{nearest(given, BUILT_IN)}")
        check_yaml(file)
        values = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
        folder, files = file.parent, [file]
    else:
        values = given
    check_values(values, "dataset")
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    values = typed(values, schema)
    _check_schema(values, schema)
    for name, level in values["levels"].items():
        if isinstance(level["classes"], str):
            key = f"dataset.levels.{name}.classes"
            files.append(folder / expand_path(key, level["classes"]))
            level["classes"] = read_legend(files[-1], key)
            check_values(level["classes"], f"{key} ({files[-1]})")
    _check_schema(values, schema)
    return values, files


def _check_schema(values: Any, schema: Mapping[str, Any]) -> None:
    if faults := schema_errors(values, schema, "dataset"):
        listed = "\n".join(f"  - {fault}" for fault in faults[:20])
        raise ConfigError(f"the dataset description has {len(faults)} faults:\n{listed}")


def _check_names(values: Mapping[str, Any]) -> None:
    """Check the names of sensors and levels, which are layers of the packed patches and parts of scenarios' ids."""
    taken = [CONCAT]
    for group, reserved in (("sensors", ENTRY_KEYS), ("levels", ())):
        for name in values[group]:
            check_name(f"dataset.{group}.{name}", name, [*taken, *reserved])
            if name.startswith(("edge_", "truth_")):
                raise ConfigError(f"dataset.{group}.{name}: names with edge_ and truth_ are those of masks; rename it")
            taken.append(name)


def _check_bands(sensors: Mapping[str, Mapping[str, Any]]) -> None:
    owners: dict[str, str] = {}
    for name, sensor in sensors.items():
        where = f"dataset.sensors.{name}"
        for band in sensor["bands"]:
            if owner := owners.get(band.casefold()):
                raise ConfigError(f"{where}.bands: {band!r} is also a band of {owner}; expected each name once: rename")
            owners[band.casefold()] = name
        for band in sensor.get("true_colour", ()):
            check_known(f"{where}.true_colour", band, sensor["bands"])


def _complete(classes: Sequence[dict[str, Any]]) -> None:
    """Give each class an abbreviation, which is letters of its name or else its id, and a colour."""
    taken = [entry["abbreviation"] for entry in classes if "abbreviation" in entry]
    for place, entry in enumerate(classes):
        if "abbreviation" not in entry:
            letters = [sign for sign in entry["name"] if sign.isalnum()]
            made = (letters[0].upper() + later for later in letters[1:])
            entry["abbreviation"] = next((short for short in made if short not in taken), str(entry["id"]))
            taken.append(entry["abbreviation"])
        entry.setdefault("colour", colour_at(place))


def _check_classes(where: str, level: Mapping[str, Any], above: Sequence[int]) -> None:
    """Check ids, names and parents of a level; ``above`` are the ids of the level before."""
    classes = level["classes"]
    for key in ("id", "name", "abbreviation"):
        value, count = Counter(entry[key] for entry in classes).most_common(1)[0]
        if count > 1:
            raise ConfigError(f"{where}: {value!r} is the {key} of {count} classes; expected another one for each")
    linked = any("parent" in entry for entry in classes)
    for place, entry in enumerate(classes):
        if entry["id"] in level.get("ignore", ()):
            raise ConfigError(f"{where}.{place}.id: {entry['id']} is also in ignore; take it out of one of them")
        if linked and entry.get("parent") not in above:
            expected = f"an id of the level before ({', '.join(map(str, above))})" if above else "no level before"
            raise ConfigError(
                f"{where}.{place}.parent: {entry.get('parent', 'missing')}; expected {expected}, for all classes of "
                "the level or for none: correct or remove it"
            )


def colour_at(place: int) -> str:
    """Return the palette's colour, #rrggbb, for the class at a position: 16 colours, then lighter and darker ones."""
    base = bytes.fromhex(_PALETTE[place % len(_PALETTE)].removeprefix("#"))
    turn = place // len(_PALETTE)
    towards, share = (255 if turn % 2 else 0), (turn + 1) // 2 * 0.12
    return "#" + "".join(f"{round(part + (towards - part) * share):02x}" for part in base)
