"""Get the dataset and the released checkpoints, and write down which data a run stands on."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import ConfigError, DataError, DownloadError
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import layer_folder, list_patches
from cerraseg.data.google_drive import download_archive
from cerraseg.data.kaggle import download_dataset


def download_kaggle(handle: str, version: int | None, folder: Path, dataset: Dataset) -> list[Path]:
    """Download a Kaggle dataset and return its root folders, those that hold the first sensor's images."""
    found = download_dataset(handle, version, folder)
    names = next(iter(dataset.sensors.values())).folders
    roots = find_roots(found, names)
    if not roots:
        raise DownloadError(
            f"{handle} is in {found}, but holds no folder {' or '.join(names)} within three levels; found "
            f"{_names(found)}. Check `kaggle.dataset`; if the folder was changed by hand, delete it and run again."
        )
    return roots


def download_checkpoints(*, source: str, dataset: str, version: int | None, drive_id: str, folder: Path) -> Path:
    """Get the released checkpoints and return the folder that holds them.

    ``source`` is ``kaggle`` (``version`` of ``dataset``, downloaded into ``folder``), ``drive`` (the archive
    ``drive_id``, likewise) or ``local`` (``folder`` itself).
    """
    if source == "kaggle":
        return download_dataset(dataset, version, folder)
    if source == "drive":
        return download_archive(drive_id, folder)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder} for the released checkpoints: correct `released.folder`")
    return folder


def find_roots(folder: Path, names: Sequence[str], levels: int = 3) -> list[Path]:
    """Return the folders that hold one of ``names``, in name order: ``folder`` or those at most ``levels`` below it."""
    if any((folder / name).is_dir() for name in names):
        return [folder]
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if levels else []
    return [root for path in below for root in find_roots(path, names, levels - 1)]


def write_manifest(path: Path, dataset: Dataset, /, *, source: str, roots: Sequence[Path], **origin: object) -> None:
    """Write a JSON manifest: the ``source`` label, its ``origin``, and files and bytes per layer folder."""
    counted = [{"path": root.as_posix(), "folders": _count(root, dataset)} for root in roots]
    manifest = {"source": source, "origin": origin, "roots": counted}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def copy_manifest(manifest: Path, copy: Path) -> None:
    """Lay a copy of the manifest beside the patches, where it is lost with them."""
    with atomic_write(copy) as temporary:
        shutil.copyfile(manifest, temporary)


def read_roots(manifest: Path, dataset: Dataset) -> list[Path]:
    """Return the roots that a manifest names; refuse them if there are not the files that it counted."""
    roots = json.loads(manifest.read_text(encoding="utf-8"))["roots"]
    for root in roots:
        if (found := _count(Path(root["path"]), dataset)) != root["folders"]:
            lacking = sorted(name for name, files in root["folders"].items() if found.get(name) != files)
            raise DataError(
                f"{root['path']} has not the files that {manifest} counted: {', '.join(lacking) or 'more folders'} "
                f"differ. Remove {manifest} and give the same command again: it gets what is missing, and reads what "
                "is there"
            )
    return [Path(root["path"]) for root in roots]


def refuse_other_landscape(copy: Path, manifest: Path, settings: Mapping[str, object]) -> None:
    """Refuse to simulate over patches that another configuration simulated.

    Args:
        copy: the manifest beside the patches, of whoever made them.
        manifest: the manifest of this configuration.
        settings: what this configuration would simulate, with its ``folder``.
    """
    if not copy.is_file() or (manifest.is_file() and manifest.read_bytes() == copy.read_bytes()):
        return
    there = json.loads(copy.read_text(encoding="utf-8"))["origin"]
    differing = [key for key in settings if key != "folder" and there.get(key) != settings[key]]
    if differing:
        listed = ", ".join(f"{key} {there.get(key)!r} and not {settings[key]!r}" for key in differing)
        raise ConfigError(
            f"simulate.folder: {settings['folder']} holds the patches of another configuration ({listed}); expected "
            "a folder for each: name another one, or remove it if nobody needs it"
        )


def _count(root: Path, dataset: Dataset) -> dict[str, dict[str, int]]:
    counts = {}
    for folder in (layer_folder(root, names) for names in dataset.folders.values()):
        if folder:
            files = list_patches(folder).values()
            counts[folder.name] = {"files": len(files), "bytes": sum(file.st_size for file in files)}
    if not counts:
        known = ", ".join(name for names in dataset.folders.values() for name in names)
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
