"""A trained model in hand: read from one file, applied to arrays and to whole images."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cerraseg.config.areas import check_scene
from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import Legend, id_table
from cerraseg.data.scale import describe, scale_fault, statistics_of
from cerraseg.mapping import region_map
from cerraseg.mapping.in_memory import Array, Collected
from cerraseg.mapping.map_scene import Settings, map_scene
from cerraseg.mapping.scene import SceneFiles
from cerraseg.mapping.tiles import map_rows
from cerraseg.models import inference
from cerraseg.models.checkpoint import Blueprint, Segmenter
from cerraseg.models.exchange import load_model

Images = str | Path | Sequence[str | Path] | Mapping[str, Any]
"""The image of a sensor: a raster, several that share its bands, a Sentinel-2 SAFE folder, or what an area of a
configuration takes: ``files``, ``bands``, ``nodata``, ``mask``."""

_SAMPLE = 1_000_000  # pixels whose values are compared with those of training


@dataclass(frozen=True)
class Prediction:
    """What a model makes of an image; pixels without data in any band have 255, 255 and NaN."""

    classes: NDArray[np.uint8]  # ids of the legend, (H, W)
    confidence: NDArray[np.uint8]  # probability of the class in percent, (H, W)
    probabilities: NDArray[np.float32]  # 0 to 1, (classes, H, W), in the order of the legend


@dataclass(frozen=True)
class Model:
    """A trained model with what it knows of its world; :func:`load` makes one."""

    file: Path
    device: torch.device
    segmenter: Segmenter = field(repr=False)
    blueprint: Blueprint = field(repr=False)
    training: Mapping[str, Any] = field(repr=False)

    @property
    def dataset(self) -> Dataset:
        """The description of its data, with sensors and their bands, levels and their classes, patch size."""
        return self.blueprint.described

    @property
    def bands(self) -> tuple[str, ...]:
        """Its bands, in the order in which :meth:`predict` takes them."""
        return self.dataset.bands(self.blueprint.modality)

    @property
    def legend(self) -> Legend:
        """Its classes."""
        return self.dataset.classes(self.blueprint.level)

    def predict(
        self,
        image: ArrayLike,
        *,
        overlap: float = Settings.overlap,
        augment: bool = False,
        batch_size: int = Settings.batch_size,
        check_scale: bool = True,
    ) -> Prediction:
        """Classify an image in memory, of any size, in overlapping, blended tiles as maps are made.

        Args:
            image: (bands, H, W) in the units of training, NaN where a band has no data.
            overlap: share (0 to 0.9) of a tile that its neighbour covers too.
            augment: whether to average over the eight flips and quarter turns of each tile.
            batch_size: tiles at a time.
            check_scale: whether to refuse values in other units than in training.

        Raises:
            DataError: if the shape is another, no pixel has data in all bands, or the values have other units.
        """
        pixels = np.asarray(image, np.float32)
        if pixels.ndim != 3 or len(pixels) != len(self.bands):
            raise DataError(
                f"image of shape {pixels.shape}; expected ({len(self.bands)}, height, width): the bands "
                f"{', '.join(self.bands)}"
            )
        picture = Array(self.bands, pixels, np.asarray(np.isfinite(pixels).all(0)))
        if check_scale:
            self._check_scale(picture)
        rows = Collected()
        with torch.inference_mode():
            how: dict[str, Any] = {"overlap": overlap, "augment": augment, "batch_size": batch_size}
            names = ("classes", "confidence", "shares")
            map_rows(self.segmenter, picture, rows, names, **how, device=self.device)
        whole = {name: np.concatenate(parts).transpose(1, 0, 2) for name, parts in rows.parts.items()}
        return Prediction(id_table(self.legend)[whole["classes"][0]], whole["confidence"][0], whole["shares"])

    def _check_scale(self, picture: "Array") -> None:
        trained, found = self.blueprint.statistics, picture.pixels[:, picture.valid]
        if not found.size:
            raise DataError("no pixel of the image has data in all of its bands; expected an image: look at it")
        if not trained:
            log.warning("%s has no statistics of training: the units of the image are not checked", self.file)
            return
        sample, first = found[:, :: max(1, found.shape[1] // _SAMPLE)], 0
        for sensor in self.dataset.sensors_of(self.blueprint.modality):
            ours = statistics_of(sensor.bands, sample[first : first + len(sensor.bands)], trained)
            first += len(sensor.bands)
            if fault := scale_fault(ours, trained):
                raise DataError(
                    f"the {sensor.name} bands are not on the scale that the model was trained on: {fault}. "
                    f"{describe(ours, trained)}. Expected the units of training: convert the image, or give "
                    "check_scale=False"
                )

    def map(
        self,
        image: Images | None = None,
        *,
        out: str | Path,
        confidence: str | Path | None = None,
        layers: Mapping[str, str | Path] | None = None,
        overlap: float = Settings.overlap,
        augment: bool = False,
        resampling: str = Settings.resampling,
        batch_size: int = Settings.batch_size,
        precision: inference.Precision = "float32",
        check_scale: bool = True,
        **images: Images,
    ) -> Path:
        """Map an image as a Cloud-Optimized GeoTIFF on its own grid, with the legend's ids, names and colours.

        Stopped at any time, the same call goes on from the rows that are finished.

        Args:
            image: of the first sensor; others by the sensor's name, such as ``sar="s1.tif"``.
            out: map to write; coarser levels of a model that serves them lie beside it, as ``<out>_<level>.tif``.
            confidence: file for the confidence in percent.
            layers: optional layer (:data:`cerraseg.mapping.tiles.LAYERS`) → file.
            overlap, augment, resampling, batch_size, precision, check_scale: see
                :class:`cerraseg.mapping.map_scene.Settings`.

        Returns:
            ``out``.

        Raises:
            ConfigError: if an image is missing or no sensor's.
            DataError: if an image cannot be read, lacks a band or has other units than in training.
        """
        sensors = [sensor.name for sensor in self.dataset.sensors_of(self.blueprint.modality)]
        given = ({sensors[0]: image} if image is not None else {}) | images
        target = Path(out)
        entry = {"name": target.stem, **{name: _plain(value) for name, value in given.items()}}
        files = SceneFiles.of(check_scene(entry, self.dataset, must_exist=True), self.dataset)
        targets = {"classes": target, "confidence": confidence, **(layers or {})}
        settings = Settings(
            overlap=overlap,
            augment=augment,
            resampling=resampling,
            layers=tuple(layers or ()),
            batch_size=batch_size,
            precision=precision,
            check_scale=check_scale,
            threads=torch.get_num_threads(),
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        work = target.with_name(f".{target.name}.maps")
        tags = {"SCENARIO": str(self.training.get("scenario", self.file.name)), "SCENE": target.stem}
        resume = target.with_name(f".{target.name}.rows")
        map_scene(self.file, files, work, resume, settings, self.dataset, tags, segmenter=self.segmenter)
        for made in sorted(work.iterdir()):
            wanted = _target(made.name, target, targets)
            if wanted is not None:
                wanted.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(made, wanted)
        shutil.rmtree(work)
        return target

    def map_region(
        self,
        aoi: str | Path | Sequence[float],
        dates: Sequence[str],
        *,
        out: str | Path,
        catalogue: str = "planetary-computer",
        collections: Mapping[str, str] | None = None,
        max_cloud: float = 60,
        limit: int = 20,
        tile_km: float = 20,
        dry_run: bool = False,
        **settings: Any,
    ) -> Path:
        """Map a place and a season from the images of a STAC catalogue, see docs/regions.md.

        Stopped at any time, the same call goes on from the tiles that are finished. The list of images is frozen in
        ``out``: whoever has it gets the same map.

        Args:
            aoi: file with polygons, or west, south, east and north in degrees.
            dates: first and last day, YYYY-MM-DD.
            out: folder to write: ``map_<EPSG code>`` of each UTM zone, ``areas.csv`` and ``collection.json``.
            catalogue: ``earth-search``, ``planetary-computer``, ``cdse``, or the address of a STAC API.
            collections: sensor → collection, where it is not the catalogue's usual one.
            max_cloud: most cloud cover of an image in percent.
            limit: most dates of a tile, those with the least cloud.
            tile_km: side of the tiles that are fetched and mapped one by one.
            dry_run: whether to end after the search, with what the rest costs in the log.
            settings: further fields of :class:`cerraseg.mapping.map_scene.Settings`.

        Returns:
            ``out``.

        Raises:
            ConfigError: for an unknown catalogue or dates that are none, or if ``out`` holds another region.
            DataError: if there is no image, or images have other units than in training.
            DownloadError: if the catalogue or its files cannot be read.
        """
        source = {"catalogue": catalogue, "collections": collections or {}, "max_cloud": max_cloud, "limit": limit}
        place = str(aoi) if isinstance(aoi, str | Path) else aoi
        grid = {"tile_km": tile_km}
        region = region_map.region_of(self.segmenter, place, dates, Path(out), **source, grid=grid)
        found = region_map.find_images(region)
        if not dry_run:
            how = Settings(**settings, threads=torch.get_num_threads())
            region_map.map_region(region, found, self.file, self.segmenter, how)
        return Path(out)

    def summary(self) -> dict[str, Any]:
        """Return what the model is, as plain values: classes, bands with units' statistics, calibration, training."""
        blueprint = self.blueprint
        classes = [{"id": c.id, "name": c.name, "colour": "#{:02x}{:02x}{:02x}".format(*c.colour)} for c in self.legend]
        sensors = {one.name: list(one.bands) for one in self.dataset.sensors_of(blueprint.modality)}
        return {
            "file": str(self.file),
            "model": blueprint.model,
            "members": len(blueprint.members),
            "dataset": self.dataset.name,
            "level": blueprint.level,
            "classes": classes,
            "sensors": sensors,
            "patch_size": self.dataset.patch_size,
            "parameters": sum(parameter.numel() for parameter in self.segmenter.parameters()),
            "normalise": blueprint.normalise if blueprint.mean else "none",
            "statistics": {band: dict(of) for band, of in blueprint.statistics.items()},
            "hierarchical": blueprint.hierarchical,
            "calibration": dict(blueprint.calibration),
            "training": dict(self.training),
        }


def load(file: str | Path, device: str = "auto") -> Model:
    """Read a model from a checkpoint that CerraSeg wrote, or from an ONNX file exported from one.

    Args:
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``mps``.

    Raises:
        DataError: if the file is neither, or damaged, or there is no such device.
    """
    path = Path(file)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a checkpoint of CerraSeg: correct the path")
    chosen = inference.device(device)
    return Model(path, chosen, *load_model(path, chosen))


def _plain(image: Images) -> Any:
    """Return an image as a configuration has it."""
    if isinstance(image, str | Path):
        return str(image)
    return dict(image) if isinstance(image, Mapping) else [str(file) for file in image]


def _target(made: str, target: Path, targets: Mapping[str, str | Path | None]) -> Path | None:
    """Return where a file of a map's folder goes; None: nobody asked for it."""
    name = made.removesuffix(".aux.xml").removesuffix(".tif")
    if name.startswith("classes_"):
        return target.with_name(target.stem + made.removeprefix("classes"))
    wanted = targets.get(name)
    if wanted is None:
        return None
    return Path(f"{wanted}.aux.xml") if made.endswith(".aux.xml") else Path(wanted)
