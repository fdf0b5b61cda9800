"""Read the patches of a patch table from where they lie: files of their own, or windows of an area's rasters."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import rasterio

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError
from cerraseg.data.area_windows import open_area
from cerraseg.data.patch_files import Patch, read_files
from cerraseg.geo.rasters import MANY_FILES

CHUNK = 64
"""Patches that a worker reads at a time."""


def chunks_of(table: pd.DataFrame) -> list[tuple[int, list[dict[str, Any]]]]:
    """Cut a table into chunks of neighbouring rows: number of the first row, and the rows."""
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
    return [(start, rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]


@dataclass(frozen=True)
class Source:
    """Where patches are read from; it can be sent to a worker process."""

    dataset: Dataset
    sensors: Sequence[str]
    levels: Sequence[str]
    areas: Mapping[str, Mapping[str, Any]] | None = None  # name → entry; None: patches are files

    def read(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[Patch | DataError]:
        """Yield the patch of each row of the patch table, or what is wrong with it."""
        with rasterio.Env(**MANY_FILES):
            if self.areas is None:
                for row in rows:
                    yield _or_error(read_files, row, self.dataset, self.sensors, self.levels)
                return
            for name in dict.fromkeys(row["area"] for row in rows):  # areas follow one another
                with open_area(self.areas[name], self.dataset, self.sensors, self.levels) as area:
                    for row in (row for row in rows if row["area"] == name):
                        yield _or_error(area.read, row["window_row"], row["window_column"])


def _or_error(read: Callable[..., Patch], *arguments: Any) -> Patch | DataError:
    try:
        return read(*arguments)
    except DataError as error:
        return error
