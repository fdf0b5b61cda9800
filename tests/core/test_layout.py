"""The files of the layer folders, and what of them is noticed when it changes."""

import os
from pathlib import Path

import pytest
from scenes import CERRADATA

from cerraseg.core.errors import DataError
from cerraseg.core.layout import fingerprint, layer_folder, list_patches


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("msi_images", "semantic_7c", "edge_7c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a_1.tif").write_bytes(b"before")
    return tmp_path


def rewrite(path: Path) -> None:
    """Other content of the same size, a moment later."""
    path.write_bytes(b"behind")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


CHANGES = {
    "an image": lambda root: rewrite(root / "msi_images/a_1.tif"),
    "an edge mask": lambda root: rewrite(root / "edge_7c/a_1.tif"),
    "a size": lambda root: (root / "msi_images/a_1.tif").write_bytes(b""),
    "a name": lambda root: (root / "msi_images/a_1.tif").rename(root / "msi_images/a_2.tif"),
    "another file": lambda root: (root / "msi_images/a_2.tif").symlink_to("nowhere"),
    "a folder": lambda root: (root / "sar_images").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_of_a_file_is_noticed(root, change):
    (root / "elsewhere").mkdir()
    before = fingerprint([root], CERRADATA.folders)
    (root / "elsewhere/b_1.tif").touch()
    (root / "msi_images/notes.txt").touch()
    assert fingerprint([root], CERRADATA.folders) == before and len(before) == 3
    change(root)
    assert fingerprint([root], CERRADATA.folders) != before


def test_broken_links_are_listed_and_broken_folders_refused(root):
    (root / "msi_images/a_2.tif").symlink_to("a_2.tif")
    assert [*list_patches(root / "msi_images")] == ["a_1.tif", "a_2.tif"]
    (root / "sar_images").symlink_to("nowhere")
    with pytest.raises(DataError, match="sar_images"):
        layer_folder(root, CERRADATA.folders["sar"])
    assert layer_folder(root, CERRADATA.folders["l2"]) is None and fingerprint([root], CERRADATA.folders)
