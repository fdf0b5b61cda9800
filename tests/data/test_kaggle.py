"""The trained models' data set with the real kagglehub client against a stand-in for Kaggle; see test_download.py."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import Disk
from kaggle_server import Kaggle, isolate, serving, zip_of
from kagglesdk import kaggle_env

from cerraseg.data import download
from cerraseg.models import released
from cerraseg.data import kaggle as kaggle_module
from cerraseg.core.errors import DownloadError

DATASET = "cerranet/trained-models-on-cerradata-4mm"
FILES = {
    "concat/unet_14cMSISAR_W_model_epoch_92.pt": b"1" * (3 << 20),
    "concat/unet_7cMSISAR_2nonW_model_epoch_29.pt": b"2" * 1000,
    "concat/transnuseg_7cMSISAR_w_epoch:12_lossx.pt": b"3" * 1000,
    "msi/transnuseg_14cMSI_nw_epoch:3_lossx.pt": b"4" * 1000,
    "sar/unet_7cSAR_W_model_epoch_8.pt": b"5" * 1000,
}
ARCHIVE = zip_of(FILES)


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kaggle]:
    isolate(monkeypatch, tmp_path / "home")
    with serving(ARCHIVE) as server:
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, server.url)
        yield server


def fetch(folder: Path) -> Path:
    return download.download_checkpoints(source="kaggle", dataset=DATASET, version=1, drive_id="", folder=folder)


def test_the_released_checkpoints_are_downloaded_and_found(kaggle: Kaggle, tmp_path: Path) -> None:
    folder = fetch(tmp_path / "data")
    assert folder == tmp_path / "data/datasets" / DATASET / "versions/1"
    assert {request.body["datasetSlug"] for request in kaggle.asked("DownloadDataset")} == {DATASET.split("/")[1]}
    found = released.find(folder)
    assert {key: path.relative_to(folder).as_posix() for key, path in found.items()} == {
        ("transnuseg", "concat", "w", "l1"): "concat/transnuseg_7cMSISAR_w_epoch:12_lossx.pt",
        ("transnuseg", "msi", "nw", "l2"): "msi/transnuseg_14cMSI_nw_epoch:3_lossx.pt",
        ("unet", "concat", "nw", "l1"): "concat/unet_7cMSISAR_2nonW_model_epoch_29.pt",
        ("unet", "concat", "w", "l2"): "concat/unet_14cMSISAR_W_model_epoch_92.pt",
        ("unet", "sar", "w", "l1"): "sar/unet_7cSAR_W_model_epoch_8.pt",
    }
    listing = tmp_path / "listing.json"
    released.write_listing(listing, folder, {"dataset": DATASET})
    chosen = released.choose(released.read_listing(listing), "unet", "concat", "w", "l2")
    assert chosen.file.read_bytes() == FILES["concat/unet_14cMSISAR_W_model_epoch_92.pt"]
    kaggle.requests.clear()
    assert fetch(tmp_path / "data") == folder and kaggle.requests == []


def test_an_interrupted_download_goes_on(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.cut_after = len(ARCHIVE) // 2
    with pytest.raises(DownloadError, match="bytes are kept: run it again"):
        fetch(tmp_path)
    kaggle.cut_after = None
    assert len(released.find(fetch(tmp_path))) == len(FILES)
    assert kaggle.asked("archive")[-1].range is not None


def test_the_way_round_kaggle_is_that_of_the_checkpoints(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.status = 404
    with pytest.raises(DownloadError, match=r"\(404\).* If the checkpoints are on disk already") as caught:
        fetch(tmp_path)
    assert DATASET in str(caught.value) and "msi_images" not in str(caught.value)


@pytest.mark.parametrize("announced", [True, False])
def test_the_space_asked_for_is_that_of_the_checkpoints(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    """Where no size is announced, archive and contents are taken to have the expected one: not the images' 36 GB."""
    kaggle.size, unpacked = announced, 2 * len(ARCHIVE)
    need, usage = 3 * len(ARCHIVE) if announced else 2 * unpacked, shutil.disk_usage(tmp_path)
    assert download.CHECKPOINT_BYTES < 3e9
    monkeypatch.setattr(download, "CHECKPOINT_BYTES", unpacked)
    monkeypatch.setattr(kaggle_module.shutil, "disk_usage", lambda folder: usage._replace(free=need - 1))
    with pytest.raises(DownloadError, match="Free some space"):
        fetch(tmp_path)
    monkeypatch.setattr(kaggle_module.shutil, "disk_usage", lambda folder: usage._replace(free=need))
    assert len(released.find(fetch(tmp_path))) == len(FILES)


@pytest.mark.parametrize("leaving", [10**6, 5 * 10**6])
def test_a_disk_that_fills_up_costs_nothing_of_what_arrived(
    kaggle: Kaggle, small_disk: Disk, monkeypatch: pytest.MonkeyPatch, leaving: int
) -> None:
    """In the archive or in its contents."""
    small_disk.fill(leaving)
    with monkeypatch.context() as patch:
        patch.setattr(kaggle_module, "_check_space", lambda *_: None)  # others fill the disk after it
        with pytest.raises(
            DownloadError,
            match=r"No space left on device.*it goes on from the [\d,]+ bytes|Not enough space.*arrived is kept",
        ):
            fetch(small_disk.folder)
    small_disk.empty()
    assert len(released.find(fetch(small_disk.folder))) == len(FILES)
    assert not list(small_disk.folder.rglob("*.archive"))
