"""Get the dataset and the released checkpoints, and write down which data a run stands on."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from cerraseg.data import google_drive, kaggle
from cerraseg.core.errors import DataError, DownloadError
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import FOLDERS

DATASET_BYTES = 30_291 * 128 * 128 * 4 * (12 + 2 + 1 + 1 + 1 + 1)
"""Size of CerraData-4MM unpacked, in bytes (about 36 GB): 12 MSI and 2 SAR bands, two masks and two edge maps, 4 bytes
a pixel each. An estimate: Kaggle announces the size of the archive alone."""

CHECKPOINT_BYTES = 12 * (91_300_000 + 130_200_000)
"""Size of the 24 released checkpoints unpacked, in bytes (about 2.7 GB), from the models' parameters, 4 bytes each."""

LOCAL = (
    "If the data is on disk already, set `source: local` in the configuration, with "
    "`roots: [<the folder that holds msi_images>]`."
)
LOCAL_CHECKPOINTS = (
    "If the checkpoints are on disk already, set `released: {source: local, folder: <the folder that holds the .pt "
    "files>}` in the configuration."
)


def download_kaggle(dataset: str, version: int | None, folder: Path) -> list[Path]:
    """Download ``dataset`` (``owner/name``) into ``folder``; return its root folders, those that hold the MSI images.

    How it resumes, what ``version`` means and what else it raises: see :func:`cerraseg.data.kaggle.fetch`.

    Raises :class:`DownloadError` also when the dataset holds no MSI folder.
    """
    found = kaggle.fetch(dataset, version, folder, unpacked=DATASET_BYTES, otherwise=LOCAL)
    roots = find_roots(found)
    if not roots:
        raise DownloadError(
            f"{dataset} is in {found}, but holds no folder {' or '.join(FOLDERS['msi'])} within three levels; found "
            f"{_names(found)}. Check `dataset`; if the folder was changed by hand, delete it and run again."
        )
    return roots


def download_checkpoints(*, source: str, dataset: str, version: int | None, drive_id: str, folder: Path) -> Path:
    """Get the released checkpoints and return the folder that holds them.

    ``kaggle`` downloads ``version`` of ``dataset`` into ``folder``, ``drive`` the zip ``drive_id`` on Google Drive, see
    :func:`cerraseg.data.kaggle.fetch` and :func:`cerraseg.data.google_drive.fetch`; ``local`` takes ``folder`` as it is.

    Raises :class:`DownloadError` from a download and :class:`DataError` if a local folder does not exist.
    """
    if source == "kaggle":
        return kaggle.fetch(dataset, version, folder, unpacked=CHECKPOINT_BYTES, otherwise=LOCAL_CHECKPOINTS)
    if source == "drive":
        return google_drive.fetch(drive_id, folder)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder} for the released checkpoints. {LOCAL_CHECKPOINTS}")
    return folder


def find_roots(folder: Path, levels: int = 3) -> list[Path]:
    """Return the folders that hold the MSI images, in name order: ``folder`` or those at most ``levels`` below it."""
    if any((folder / name).is_dir() for name in FOLDERS["msi"]):
        return [folder]
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if levels else []
    return [root for path in below for root in find_roots(path, levels - 1)]


def write_manifest(path: Path, *, source: str, roots: Sequence[Path], **origin: object) -> None:
    """Write a JSON manifest: the ``source`` label, its ``origin``, and files (.tif) and bytes per folder of each root.

    The same data and arguments give the same bytes: roots stand as given, keys are sorted, there is no time stamp.
    Raises :class:`DataError` if a root holds none of the known folders.
    """
    counted = [{"path": root.as_posix(), "folders": _count(root)} for root in roots]
    manifest = {"source": source, "origin": origin, "roots": counted}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def _count(root: Path) -> dict[str, dict[str, int]]:
    """Count the .tif files of each known folder of ``root`` and their bytes."""
    known = [name for names in FOLDERS.values() for name in names]
    counts = {}
    for folder in (root / name for name in known if (root / name).is_dir()):
        sizes = [entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith(".tif")]
        counts[folder.name] = {"files": len(sizes), "bytes": sum(sizes)}
    if not counts:
        raise DataError(
            f"{root} holds none of the dataset's folders; found {_names(root)}, expected {', '.join(known)}. "
            "Point `roots` at the folder that contains them."
        )
    return counts


def _names(folder: Path) -> str:
    """Name what ``folder`` holds, at most ten entries."""
    if not folder.is_dir():
        return "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:10] + ["..."] * (len(names) > 10)) or "nothing"
