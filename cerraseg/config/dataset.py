"""The dataset description: sensors with their bands, levels with their classes, the patch size, the folders.

Nothing else in the package knows a class, a band or a size. A description is a YAML file; ``cerradata-4mm`` is one that
comes with the package.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from cerraseg.core.taxonomy import IGNORE, LandCover, Legend, position_table

BUILT_IN = {file.stem: file for file in Path(__file__).with_name("datasets").glob("*.yaml")}
"""Name → file of the descriptions that come with the package."""

DEFAULT = "cerradata-4mm"

CONCAT = "concat"
"""Modality of all sensors together."""

UNKNOWN = IGNORE - 1
"""Stands for a mask value that is neither a class nor ignored; a level has at most 200 classes."""


@dataclass(frozen=True)
class Sensor:
    """A group of bands that come in one image."""

    name: str
    bands: tuple[str, ...]
    title: str  # for people
    folders: tuple[str, ...] = ()  # names that its folder of patches goes by
    true_colour: tuple[str, ...] = ()  # its bands that pictures show as red, green and blue
    logarithmic: bool = False  # whether pictures show positive values on a logarithmic scale, as of radar


@dataclass(frozen=True)
class Level:
    """A legend, and where its masks lie."""

    name: str
    classes: Legend
    folders: tuple[str, ...] = ()
    edge_folders: tuple[str, ...] = ()
    truth_folders: tuple[str, ...] = ()  # of better masks, for validation and test alone
    ignore: tuple[int, ...] = ()  # mask values without a label, beside 255

    @property
    def ids(self) -> tuple[int, ...]:
        """The class ids, in the order of the legend."""
        return tuple(entry.id for entry in self.classes)

    def positions(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Turn the values of a mask into positions in the legend: 255 where ignored or NaN, :data:`UNKNOWN` elsewhere.

        ``values`` are of any real type and shape.
        """
        with np.errstate(invalid="ignore"):
            small = values.astype(np.uint8)
        table = position_table(self.classes, UNKNOWN)
        found = np.asarray(np.where(small == values, table[small], np.uint8(UNKNOWN)))
        for value in self.ignore:
            found[values == value] = IGNORE
        if np.issubdtype(values.dtype, np.floating):
            found[np.isnan(values)] = IGNORE
        return found

    def count_columns(self) -> list[str]:
        """Return the columns of the patch table with the labelled pixels of each class, named by id."""
        return [f"{self.name}_{id_}" for id_ in self.ids]

    @property
    def edges(self) -> str:
        """The mask layer with the level's edges."""
        return f"edge_{self.name}"

    @property
    def truth(self) -> str:
        """The mask layer that validation and test go by where there is one."""
        return f"truth_{self.name}"


@dataclass(frozen=True)
class Dataset:
    """What the data is."""

    name: str
    patch_size: int  # height and width of a patch in pixels
    sensors: Mapping[str, Sensor]  # in the order of the stacked bands
    levels: Mapping[str, Level]  # coarse to fine

    @classmethod
    def of(cls, values: str | Mapping[str, Any]) -> "Dataset":
        """Make a dataset from a built-in name or from the values of :meth:`as_dict`, which are those of a checked file.

        A class without name, abbreviation or colour gets its id, its id and grey.
        """
        if isinstance(values, str):
            return _built_in(values)
        sensors = {name: Sensor(name, **_frozen({"title": name} | given)) for name, given in values["sensors"].items()}
        levels = {
            name: Level(name, **_frozen(given) | {"classes": legend_of(given["classes"])})
            for name, given in values["levels"].items()
        }
        return cls(values["name"], values["patch_size"], sensors, levels)

    def as_dict(self) -> dict[str, Any]:
        """Return the description as the plain values of its file."""
        sensors = {name: _plain(sensor) for name, sensor in self.sensors.items()}
        levels = {
            name: _plain(level) | {"classes": [class_values(entry) for entry in level.classes]}
            for name, level in self.levels.items()
        }
        return {"name": self.name, "patch_size": self.patch_size, "sensors": sensors, "levels": levels}

    def without_looks(self) -> dict[str, Any]:
        """Return what pixels, splits and trainings depend on: :meth:`as_dict` without names and colours."""
        values = self.as_dict()
        del values["name"]
        for sensor in values["sensors"].values():
            del sensor["title"], sensor["true_colour"], sensor["logarithmic"]
        for level in values["levels"].values():
            level["classes"] = [{key: entry.get(key) for key in ("id", "parent")} for entry in level["classes"]]
        return values

    @property
    def modalities(self) -> tuple[str, ...]:
        """Every modality: single sensors, several joined by ``+``, and all of them together as ``concat``."""
        several = (combinations(self.sensors, count) for count in range(2, len(self.sensors)))
        return (*self.sensors, *("+".join(names) for joined in several for names in joined), CONCAT)

    def sensors_of(self, modality: str) -> list[Sensor]:
        """Return the sensors of a modality: one, several joined by ``+``, or ``concat``."""
        names = list(self.sensors) if modality == CONCAT else modality.split("+")
        return [self.sensors[name] for name in names]

    def bands(self, modality: str = CONCAT) -> tuple[str, ...]:
        """Return the bands of a modality, in channel order."""
        return tuple(band for sensor in self.sensors_of(modality) for band in sensor.bands)

    def colours(self, modality: str) -> tuple[str, ...]:
        """Return the bands of red, green and blue of a modality; none where no sensor has an optical picture."""
        optical = (one.true_colour for one in self.sensors_of(modality) if one.true_colour and not one.logarithmic)
        return next(optical, ())

    def classes(self, level: str) -> Legend:
        """Return the legend of a level."""
        return self.levels[level].classes

    def ancestors(self, level: str) -> dict[str, tuple[int, ...]]:
        """Return coarser level → position there of the ancestor of each class of ``level``, the coarsest level first.

        Levels are linked as far as the classes name parents; without any, there is none.
        """
        names = list(self.levels)
        found: dict[str, tuple[int, ...]] = {}
        line: list[int] = list(range(len(self.classes(level))))
        for place in range(names.index(level), 0, -1):
            own, above = self.levels[names[place]], self.levels[names[place - 1]]
            if any(entry.parent is None for entry in own.classes):
                break
            parents = [above.ids.index(entry.parent) for entry in own.classes if entry.parent is not None]
            line = [parents[position] for position in line]
            found = {above.name: tuple(line), **found}
        return found

    def composite(self, bands: Sequence[str]) -> tuple[tuple[str, ...], bool]:
        """Return which of ``bands`` to show as red, green and blue, and whether on a logarithmic scale.

        Those of the first sensor whose are all there; else the first three.
        """
        for sensor in self.sensors.values():
            if sensor.true_colour and set(sensor.true_colour) <= set(bands):
                return sensor.true_colour, sensor.logarithmic
        return tuple(bands[min(k, len(bands) - 1)] for k in range(3)), False

    @property
    def folders(self) -> dict[str, tuple[str, ...]]:
        """Return layer → names that its folder of patches goes by: sensors, levels, then levels' edges and truths."""
        sensors = {sensor.name: sensor.folders for sensor in self.sensors.values()}
        levels = {level.name: level.folders for level in self.levels.values()}
        further = {level.edges: level.edge_folders for level in self.levels.values()}
        return sensors | levels | further | {level.truth: level.truth_folders for level in self.levels.values()}


def legend_of(classes: Sequence[Mapping[str, Any]]) -> Legend:
    """Return a legend from its values, see :func:`class_values`."""
    return tuple(
        LandCover(
            entry["id"],
            str(entry.get("abbreviation", entry["id"])),
            str(entry.get("name", entry["id"])),
            tuple(bytes.fromhex(entry.get("colour", "#888888")[1:])),  # type: ignore[arg-type]
            entry.get("parent"),
        )
        for entry in classes
    )


def class_values(entry: LandCover) -> dict[str, Any]:
    """Return a class as the plain values of a description."""
    values = entry._asdict() | {"colour": "#{:02x}{:02x}{:02x}".format(*entry.colour)}
    return {key: value for key, value in values.items() if value is not None}


def _frozen(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(part) if isinstance(part, list) else part for key, part in values.items()}


def _plain(part: Sensor | Level) -> dict[str, Any]:
    fields = ((key, value) for key, value in vars(part).items() if key != "name")
    return {key: list(value) if isinstance(value, tuple) else value for key, value in fields}


@cache
def _built_in(name: str) -> Dataset:
    return Dataset.of(yaml.safe_load(BUILT_IN[name].read_text(encoding="utf-8")))
