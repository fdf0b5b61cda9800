"""A region, from its checked entry: its area, UTM zones and tiles, and the scenes that they amount to."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import shapely

from cerraseg.config.dataset import Dataset
from cerraseg.geo.zones import Zone, read_area, zones_of

_OF_SEARCH = ("kind", "url", "collection", "assets", "max_cloud")


@dataclass(frozen=True)
class Region:
    """A place and a season to map: in each UTM zone of its area a scene, cut into tiles."""

    settings: Mapping[str, Any]  # see cerraseg.config.regions
    dataset: Dataset
    folder: str  # of its results

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.settings["name"])

    @cached_property
    def area(self) -> Any:
        """The area of interest, a shapely geometry of longitudes and latitudes."""
        aoi = self.settings["aoi"]
        return read_area(Path(aoi)) if isinstance(aoi, str) else shapely.box(*aoi)

    @cached_property
    def zones(self) -> dict[int, Zone]:
        """EPSG code → zone."""
        grid, margin = self.settings["grid"], self.dataset.patch_size // 2
        return zones_of(self.area, resolution=grid["resolution"], tile_km=grid["tile_km"], margin=margin)

    @property
    def bands(self) -> dict[str, list[str]]:
        """Sensor → its bands."""
        return {sensor: list(self.dataset.sensors[sensor].bands) for sensor in self.settings["sensors"]}

    def tiles(self, epsg: int) -> list[str]:
        """Return the names of the tiles of a zone, which are new in all zones."""
        return [f"{epsg}_{tile}" for tile in self.zones[epsg].tiles]

    def scene(self, epsg: int) -> str:
        """Return the name of the scene that a zone is."""
        return f"{self.name}-{epsg}"

    def images(self, epsg: int) -> dict[str, str]:
        """Return sensor → the file with the zone's image, which the run makes."""
        return {sensor: f"{self.folder}/{epsg}/{sensor}.vrt" for sensor in self.settings["sensors"]}

    def entry(self, epsg: int) -> dict[str, Any]:
        """Return a zone as a scene and, where the region has labels, as an area of the configuration."""
        empty: dict[str, Any] = {"bands": [], "nodata": None, "mask": None}
        images = {sensor: {"files": [file], **empty} for sensor, file in self.images(epsg).items()}
        dates, of = "/".join(self.settings["dates"]), self.settings
        named = {"name": self.scene(epsg), "date": dates, "scenarios": of["scenarios"]}
        return {**named, "images": images, "labels": of["labels"]}

    @property
    def searched(self) -> dict[str, Any]:
        """What the list of images depends on, as plain values."""
        sensors = {}
        for name, of in self.settings["sensors"].items():
            mask = of["mask"] and {"asset": of["mask"]["asset"]}  # its values and growth count when tiles are fetched
            sensors[name] = {key: of[key] for key in _OF_SEARCH} | {"mask": mask}
        return {"area": self.area.wkt, "dates": self.settings["dates"], "sensors": sensors, "bands": self.bands}

    def fetched(self, tile: str) -> dict[str, Any]:
        """Return what a tile's images depend on beside the list, as plain values."""
        epsg, _, name = tile.partition("_")
        grid = self.zones[int(epsg)].tile_grid(name)
        return {
            "epsg": int(epsg),
            "transform": list(grid.transform)[:6],
            "shape": list(grid.shape),
            "sensors": self.settings["sensors"],
            "bands": self.bands,
        }

    @property
    def all_fetched(self) -> dict[str, dict[str, Any]]:
        """Tile → what its images depend on."""
        return {tile: self.fetched(tile) for epsg in self.zones for tile in self.tiles(epsg)}

    def placed(self, epsg: int) -> dict[str, Any]:
        """Return what the grid of a zone and its tiles depend on, as plain values."""
        margin = self.dataset.patch_size // 2
        return {"area": self.area.wkt, "epsg": epsg, "grid": dict(self.settings["grid"]), "margin": margin}

    @property
    def scenes(self) -> list[str]:
        """The names of the scenes that its zones are."""
        return [self.scene(epsg) for epsg in self.zones]


def regions_by_name(settings: list[dict[str, Any]], dataset: Dataset, results: str) -> dict[str, Region]:
    """Return name → region."""
    return {of["name"]: Region(of, dataset, f"{results}/regions/{of['name']}") for of in settings}
