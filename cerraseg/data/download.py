"""Get the dataset and the released checkpoints, and write down which data a run stands on."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cerraseg.core.errors import ConfigError, DataError, DownloadError
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import layer_folder, list_tifs
from cerraseg.core.taxonomy import FOLDERS
from cerraseg.data.google_drive import download_archive
from cerraseg.data.kaggle import download_dataset

ROOM = {
    "cerranet/cerradata-4mm": 30_291 * 128 * 128 * 4 * (12 + 2 + 1 + 1 + 1 + 1),
    "cerranet/trained-models-on-cerradata-4mm": 12 * (91_300_000 + 130_200_000),
}
"""Kaggle dataset → size of its contents in bytes: of the patches by their bands, masks and edge maps (36 GB), of the 24
checkpoints by the models' parameters (2.7 GB), 4 bytes each. Kaggle announces no sizes; those of others are not checked."""

LOCAL = (
    "If the data is on disk already, set `source: local` in the configuration, with "
    "`roots: [<the folder that holds msi_images>]`."
)
LOCAL_CHECKPOINTS = (
    "If the checkpoints are on disk already, set `released: {source: local, folder: <the folder that holds the .pt "
    "files>}` in the configuration."
)


def download_kaggle(dataset: str, version: int | None, folder: Path) -> list[Path]:
    """Download a Kaggle dataset (``owner/name``) and return its root folders, those that hold the MSI images.

    See :func:`cerraseg.data.kaggle.download_dataset`.

    Raises:
        DownloadError: also if the dataset holds no MSI folder.
    """
    found = download_dataset(dataset, version, folder, room=ROOM.get(dataset, 0), alternative=LOCAL)
    roots = find_roots(found)
    if not roots:
        raise DownloadError(
            f"{dataset} is in {found}, but holds no folder {' or '.join(FOLDERS['msi'])} within three levels; found "
            f"{_names(found)}. Check `dataset`; if the folder was changed by hand, delete it and run again."
        )
    return roots


def download_checkpoints(*, source: str, dataset: str, version: int | None, drive_id: str, folder: Path) -> Path:
    """Get the released checkpoints and return the folder that holds them.

    Args:
        source: ``kaggle``: ``version`` of ``dataset``; ``drive``: the archive ``drive_id``; ``local``: ``folder``.
        dataset: Kaggle handle.
        version: of the dataset, from 1; None: the current one.
        drive_id: file id on Google Drive.
        folder: where downloads are kept, or the folder of the checkpoints.

    Raises:
        DownloadError: from a download.
        DataError: if a local folder does not exist.
    """
    if source == "kaggle":
        room = ROOM.get(dataset, 0)
        return download_dataset(dataset, version, folder, room=room, alternative=LOCAL_CHECKPOINTS)
    if source == "drive":
        return download_archive(drive_id, folder)
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
    """Write a JSON manifest: the ``source`` label, its ``origin``, and files (.tif) and bytes per layer folder.

    The same data and arguments give the same bytes.

    Raises:
        DataError: if a root holds none of the known folders, or one is a broken link.
    """
    counted = [{"path": root.as_posix(), "folders": _count(root)} for root in roots]
    manifest = {"source": source, "origin": origin, "roots": counted}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def copy_manifest(manifest: Path, copy: Path) -> None:
    """Lay a copy of the manifest beside the patches, where it is lost with them."""
    with atomic_write(copy) as temporary:
        shutil.copyfile(manifest, temporary)


def read_roots(manifest: Path) -> list[Path]:
    """Return the roots that a manifest names.

    Raises:
        DataError: if there are not the files that it counted.
    """
    roots = json.loads(manifest.read_text(encoding="utf-8"))["roots"]
    for root in roots:
        if (found := _count(Path(root["path"]))) != root["folders"]:
            lacking = sorted(name for name, files in root["folders"].items() if found.get(name) != files)
            raise DataError(
                f"{root['path']} has not the files that {manifest} counted: {', '.join(lacking) or 'more folders'} differ. "
                f"Remove {manifest} and give the same command again: it gets what is missing, and reads what is there"
            )
    return [Path(root["path"]) for root in roots]


def refuse_other_landscape(copy: Path, manifest: Path, settings: Mapping[str, object]) -> None:
    """Refuse to simulate over patches that another configuration simulated.

    Args:
        copy: the manifest beside the patches, of whoever made them.
        manifest: the manifest of this configuration.
        settings: what this configuration would simulate, with its ``folder``.

    Raises:
        ConfigError: if they were not made by this configuration and differ.
    """
    if not copy.is_file() or (manifest.is_file() and manifest.read_bytes() == copy.read_bytes()):
        return
    there = json.loads(copy.read_text(encoding="utf-8"))["origin"]
    wanted = {key: value for key, value in settings.items() if key != "folder"}
    if there != wanted:
        differing = ", ".join(
            f"{key} {there.get(key)!r} and not {wanted[key]!r}" for key in wanted if there.get(key) != wanted[key]
        )
        raise ConfigError(
            f"simulate.folder: {settings['folder']} holds the patches of another configuration ({differing}); expected "
            "a folder for each: name another one, or remove it if nobody needs it"
        )


def _count(root: Path) -> dict[str, dict[str, int]]:
    """Number and bytes of the .tif files of each layer folder of ``root``."""
    counts = {}
    for folder in (layer_folder(root, layer) for layer in FOLDERS):
        if folder:
            files = list_tifs(folder).values()
            counts[folder.name] = {"files": len(files), "bytes": sum(file.st_size for file in files)}
    if not counts:
        known = ", ".join(name for names in FOLDERS.values() for name in names)
        raise DataError(
            f"{root} holds none of the dataset's folders; found {_names(root)}, expected {known}. "
            "Point `roots` at the folder that contains them."
        )
    return counts


def _names(folder: Path) -> str:
    """Name what ``folder`` holds, at most ten entries."""
    if not folder.is_dir():
        return "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:10] + ["..."] * (len(names) > 10)) or "nothing"
