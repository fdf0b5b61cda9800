"""Patches as torch datasets, for scripts and notebooks: from layer folders, or from a results folder's packed store.

The three loaders have the names and arguments of the data set's own (A. Miranda et al. 2025, arXiv:2502.00083).
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from cerraseg.config.dataset import CONCAT, DEFAULT, Dataset
from cerraseg.config.descriptions import load_dataset
from cerraseg.config.normalisation import FORMULAS, published_bands
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.data.packed import open_store
from cerraseg.data.patch_files import find_patches, read_files

Norm = Literal["none", "0to1", "1to1"]
Sample = tuple[Tensor, Tensor, Tensor]
_PACKED = ("packed/images.npy", "packed/masks.npy", "packed/header.json")


class Patches(TorchDataset[Sample]):
    """Patches of a folder, one by one: image (bands, S, S) float32, mask (S, S) int64, edges (S, S) int64.

    Masks hold positions in the legend, 255 without a label; edges are 1 at borders of classes. Pixels without data are
    NaN with ``norm`` ``none``, else 0.

    Args:
        folder: with the layer folders of the description, such as ``msi_images``; with folders that have these, such as
            ``train``; or a results folder of CerraSeg, whose packed patches are read.
        modality: sensors, joined by ``+``, or ``concat`` for all.
        level: of the masks; None: the first that the folder has.
        norm: ``none``, or by the published statistics of each band: ``0to1``, (x − min) / (max − min), or ``1to1``,
            (ln x − ln mean) / ln std.
        dataset: name of a built-in description, or path of a YAML file.

    Raises:
        ConfigError: if there is no such norm or description.
        DataError: if the folder has no such patches.
    """

    def __init__(
        self,
        folder: str | Path,
        modality: str = CONCAT,
        level: str | None = None,
        norm: Norm = "none",
        dataset: str | Mapping[str, Any] = DEFAULT,
    ) -> None:
        if norm not in ("none", "0to1", "1to1"):
            raise ConfigError(f"norm: {norm!r} is unknown; expected none, 0to1 or 1to1")
        self.dataset: Dataset = load_dataset(dataset, Path.cwd())
        self.folder, self.norm = Path(folder), norm
        self.sensors = [sensor.name for sensor in self.dataset.sensors_of(modality)]
        self.bands = self.dataset.bands(modality)
        self.packed = (self.folder / _PACKED[0]).is_file()
        levels = self._store.header.layers if self.packed else sorted({layer for one in self.files for layer in one})
        self.level = level or next((name for name in self.dataset.levels if name in levels), "")
        if self.level not in levels:
            raise DataError(f"{folder}: no masks of level {level}; expected one of {', '.join(levels)}")

    @cached_property
    def _store(self) -> Any:
        return open_store(*(self.folder / name for name in _PACKED))

    @cached_property
    def files(self) -> list[dict[str, str]]:
        """Layer → file of each patch, sorted by id."""
        inner = [path for path in sorted(self.folder.iterdir()) if path.is_dir()] if self.folder.is_dir() else []
        known = {name for names in self.dataset.folders.values() for name in names}
        roots = [self.folder] if any(path.name in known for path in inner) else inner
        if not roots:
            raise DataError(f"{self.folder}: no folder of patches; expected {', '.join(sorted(known))} in it")
        found = find_patches(roots, self.dataset)
        return [{layer: str(path) for layer, path in files.items()} for files in found.values()]

    def __len__(self) -> int:
        return self._store.header.patches if self.packed else len(self.files)

    def __getitem__(self, place: int) -> Sample:
        if not -len(self) <= place < len(self):
            raise IndexError(f"patch {place} of {len(self)}")
        image, mask, edges = self._packed(place) if self.packed else self._read(place)
        return torch.from_numpy(self._normalised(image)), torch.from_numpy(mask), torch.from_numpy(edges)

    def _packed(self, place: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        store, level = self._store, self.dataset.levels[self.level]
        masks = [store.masks[place, store.layer(layer)].astype(np.int64) for layer in (self.level, level.edges)]
        return np.array(store.images[place, store.channels(self.bands)]), masks[0], masks[1]

    def _read(self, place: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        patch = read_files(self.files[place], self.dataset, self.sensors, [self.level])
        return patch.image, patch.classes[0].astype(np.int64), patch.edges[0].astype(np.int64)

    def _normalised(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.norm == "none":
            return image
        pairs = [FORMULAS[self.norm](published_bands()[band]) for band in self.bands]
        first, second = (np.array(part, np.float32)[:, None, None] for part in zip(*pairs, strict=True))
        known = np.maximum(image, np.float32(1e-6))
        return np.nan_to_num(((np.log(known) if self.norm == "1to1" else known) - first) / second, nan=0.0)


class MMDataset(Patches):
    """Optical and radar patches of CerraData-4MM together, 12 + 2 bands; see :class:`Patches`.

    ``gpu`` names the device that the tensors are moved to, as in the data set's own loader; None leaves them.
    """

    modality = CONCAT

    def __init__(self, dir_path: str | Path, gpu: Any = None, norm: Norm = "none", level: str | None = None) -> None:
        super().__init__(dir_path, self.modality, level, norm)
        self.gpu = gpu

    def __getitem__(self, place: int) -> Sample:
        image, mask, edges = super().__getitem__(place)
        return (image, mask, edges) if self.gpu is None else (image.to(self.gpu), mask.to(self.gpu), edges.to(self.gpu))


class MSIDataset(MMDataset):
    """Optical patches of CerraData-4MM, 12 bands; see :class:`MMDataset`."""

    modality = "msi"


class SARDataset(MMDataset):
    """Radar patches of CerraData-4MM, 2 bands; see :class:`MMDataset`."""

    modality = "sar"
