"""Map a whole scene with overlapping, blended tiles; memory holds one row of tiles, whatever the scene's size."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from rasterio.windows import Window

from cerraseg.config.dataset import Dataset
from cerraseg.core.content import content
from cerraseg.core.files import atomic_write
from cerraseg.core.memory import batch_size_hint, explain_out_of_memory
from cerraseg.mapping import scene, scene_check
from cerraseg.mapping.cut import Cut, CutScene
from cerraseg.mapping.map_files import MapRows, Raster, write_coarser, write_map
from cerraseg.mapping.scene import SceneFiles
from cerraseg.mapping.tiles import map_rows
from cerraseg.models import checkpoint, inference


@dataclass(frozen=True)
class Settings:
    """How a scene is mapped."""

    overlap: float = 0.375  # share (0 to 0.9) of a tile that its neighbour covers too
    augment: bool = False  # whether to average the probabilities over the eight flips and quarter turns of each tile
    resampling: str = "bilinear"  # name of rasterio's resampling for a raster on another grid
    layers: Sequence[str] = ()  # optional layers, from LAYERS
    batch_size: int = 32  # tiles per batch
    precision: inference.Precision = "float32"  # of the forward pass
    check_scale: bool = True  # refuse a scene whose values have not the units of the checkpoint's training
    threads: int = 1  # of torch and of the compression


def map_scene(
    model_file: Path,
    files: SceneFiles,
    folder: Path,
    unfinished: Path,
    settings: Settings,
    dataset: Dataset,
    tags: Mapping[str, str],
    code: str = "",
    scaled: Mapping[str, bool] = MappingProxyType({}),
    segmenter: checkpoint.Segmenter | None = None,
    cut: Cut | None = None,
) -> None:
    """Map a scene on its own grid as Cloud-Optimized GeoTIFFs of uint8, 255 where any band has no data.

    Tiles see the training mean where there is no data, and a mirror image beyond a scene smaller than a tile.

    Args:
        folder: folder to write: ``classes.tif``, ``confidence.tif`` (percent), a file per layer of ``settings``, and
            ``classes_<level>.tif`` of each coarser level for a model that serves them too.
        unfinished: folder that keeps finished rows until all is written. After a kill, the next run continues from
            them if model, files, settings and ``code`` are the same; the result has the same bytes.
        tags, code: further metadata of the files, and the digest of the code.
        scaled: sensor → whether its scales and offsets are applied, where the check before training has decided it.
        segmenter: the model of the file, on its device, where it has been read.
        cut: the part of the scene to map; None: all of it.

    Raises:
        DataError: if the checkpoint or the scene cannot be used, also for values in other units than in training.
        MemoryShortage: if a batch of tiles is too large for the memory.
        StorageError: if the disk is full.
    """
    torch.set_num_threads(settings.threads)
    if segmenter is None:
        segmenter = checkpoint.load(model_file)[0].to(inference.device()).to(memory_format=torch.channels_last)
    blueprint, device = segmenter.blueprint, segmenter.fill.device
    classes = dataset.classes(blueprint.level)
    bands = {name: [name] for name in ("classes", "confidence", *settings.layers)}
    if not blueprint.members:
        bands.pop("disagreement", None)
    if not blueprint.calibration:
        bands.pop("set", None)
    for name, first in (("probabilities", []), ("set", ["number of classes"])):
        if name in bands:
            bands[name] = first + [c.name for c in classes]
    sensors = dataset.sensors_of(blueprint.modality)
    if settings.check_scale:
        trained, resampling = blueprint.statistics, settings.resampling
        scaled = scene_check.fitting_scale(files, sensors, trained, resampling=resampling, scaled=scaled)
    with scene.open_scene(files, sensors, settings.resampling, scaled) as whole:
        image = cut.of(whole, blueprint.described.patch_size, settings.overlap) if cut else whole
        key = _resume_key(model_file, files, scaled, settings, code) | {"cut": repr(cut and cut.window)}
        rows = MapRows(unfinished, image.shape[1], {name: len(names) for name, names in bands.items()}, key)
        remedy = batch_size_hint("predict.batch_size, which counts a scene's tiles too,", settings.batch_size)
        mixed = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")
        with torch.inference_mode(), explain_out_of_memory(remedy), mixed:
            how: dict[str, Any] = {
                "overlap": settings.overlap,
                "augment": settings.augment,
                "batch_size": settings.batch_size,
            }
            map_rows(segmenter, image, rows, tuple(bands), **how, device=device)
    made = {"OVERLAP": f"{settings.overlap:g}", "AUGMENT": str(settings.augment).lower()}
    made["RESAMPLING"] = settings.resampling if whole.warped else "none"
    common: dict[str, Any] = {"tags": {**tags, **made}, "threads": settings.threads}
    with atomic_write(folder) as part:
        for name, names in bands.items():
            kind = {"classes": classes if name == "classes" else None, "unit": "" if name == "set" else "%"}
            read: Callable[[Window], Raster] = partial(rows.read, name)
            if isinstance(image, CutScene):
                read = image.kept(read)
            write_map(part / f"{name}.tif", image.grid, read, bands=names, **kind, **common)
        if blueprint.hierarchical:
            target = lambda level: part / f"classes_{level}.tif"  # noqa: E731
            write_coarser(part / "classes.tif", blueprint.level, dataset, target, **common)
    shutil.rmtree(unfinished)


def _resume_key(
    model_file: Path, files: SceneFiles, scaled: Mapping[str, bool], settings: Settings, code: str
) -> dict[str, Any]:
    states = [(path, path.stat()) for path in files.sources]
    return {
        "model": content(model_file).sha256,
        "files": [[str(path), state.st_size, state.st_mtime_ns] for path, state in states],
        "images": repr(files.images),
        "scaled": dict(scaled),
        "settings": {name: value for name, value in asdict(settings).items() if name != "threads"},
        "code": code,
    }
