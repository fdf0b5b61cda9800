"""Where the data and the checkpoints come from, and the manifest."""

import json
from pathlib import Path

import pytest
from scenes import CERRADATA

from cerraseg.core.errors import ConfigError, DataError
from cerraseg.data import download
from cerraseg.data.download import download_checkpoints, find_roots, write_manifest

FILES = {"msi_images/ms_7.tif": b"1" * 2000, "sar_images/7.tif": b"2" * 1000, "semantic_7c/mask_7.tif": b"3"}

NAMES = CERRADATA.folders["msi"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True)
        (tmp_path / "root" / name).write_bytes(content)
    return tmp_path / "root"


def test_roots_are_found_three_levels_down(tmp_path):
    for name in ["b/msi_images/msi_images", "a/x/y/opt_images", "c/x/y/z/msi_images", "d/sar_images"]:
        (tmp_path / name).mkdir(parents=True)
    assert find_roots(tmp_path, NAMES) == [tmp_path / "a/x/y", tmp_path / "b"]
    assert find_roots(tmp_path / "b", NAMES) == [tmp_path / "b"]


def test_the_manifest_counts_and_does_not_change(root, tmp_path):
    (root / "msi_images/ms_7.tif.aux.xml").write_bytes(b"not counted")
    (root / "msi_images/ms_8.tif").symlink_to("nowhere")
    path = tmp_path / "out/manifest.json"
    write_manifest(path, CERRADATA, source="kaggle", roots=[root], version=1, dataset="a/b")
    counts = {"msi_images": (2, 2007), "sar_images": (1, 1000), "semantic_7c": (1, 1)}
    folders = {name: {"files": files, "bytes": size} for name, (files, size) in counts.items()}
    assert json.loads(path.read_text()) == {
        "source": "kaggle",
        "origin": {"dataset": "a/b", "version": 1},
        "roots": [{"path": str(root), "folders": folders}],
    }
    first = path.read_bytes()
    write_manifest(path, CERRADATA, source="kaggle", roots=[root], dataset="a/b", version=1)
    assert path.read_bytes() == first


def test_roots_are_read_only_if_their_files_are_those_of_the_manifest(root, tmp_path):
    write_manifest(tmp_path / "manifest.json", CERRADATA, source="local", roots=[root])
    assert download.read_roots(tmp_path / "manifest.json", CERRADATA) == [root]
    (root / "msi_images/ms_7.tif").unlink()
    with pytest.raises(DataError, match=r"manifest\.json counted: msi_images"):
        download.read_roots(tmp_path / "manifest.json", CERRADATA)


def test_a_landscape_is_replaced_by_its_own_configuration_alone(root, tmp_path):
    mine, copy, other = (tmp_path / name for name in ("manifest.json", "copy.json", "other.json"))
    settings = {"folder": "data/simulated", "patches": 24}
    download.refuse_other_landscape(copy, mine, settings)
    write_manifest(mine, CERRADATA, source="simulated landscape", roots=[root], patches=24)
    download.copy_manifest(mine, copy)
    download.refuse_other_landscape(copy, mine, settings | {"patches": 30})
    download.refuse_other_landscape(copy, other, settings)
    with pytest.raises(ConfigError, match=r"simulate\.folder: data/simulated .*patches 24 and not 30"):
        download.refuse_other_landscape(copy, other, settings | {"patches": 30})


def test_a_manifest_of_something_else_is_refused(root, tmp_path):
    (tmp_path / "other/images").mkdir(parents=True)
    (root / "edge_7c").symlink_to("nowhere")
    for name, found in (("other", "found images"), ("nowhere", "no such folder"), ("root", "edge_7c")):
        with pytest.raises(DataError, match=found):
            write_manifest(tmp_path / "manifest.json", CERRADATA, source="local", roots=[tmp_path / name])
    assert not (tmp_path / "manifest.json").exists()


def test_checkpoints_of_a_folder_need_it(tmp_path):
    local = {"source": "local", "dataset": "", "version": None, "drive_id": ""}
    assert download_checkpoints(**local, folder=tmp_path) == tmp_path
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        download_checkpoints(**local, folder=tmp_path / "nowhere")
