"""Released checkpoints: what their names mean, which file is taken, and the listing."""

import hashlib
import json
from pathlib import Path

import pytest
from scenes import CERRADATA

from cerraseg.config.scenario import known_names, parse
from cerraseg.core.errors import DataError
from cerraseg.models.released import find_checkpoints, released_checkpoint, write_listing


def put(folder: Path, *names: str):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


NAMES = {
    # as published
    "unet_14cMSISAR_W_model_epoch_92.pt": "unet-concat-w-l2",
    "unet_7cMSISAR_2nonW_model_epoch_29.pt": "unet-concat-nw-l1",
    "transnuseg_7cMSISAR_w_epoch:12_lossx.pt": "transnuseg-concat-w-l1",
    # by the same rules
    "transnuseg_14cSAR_nw_epoch\uf03a7_w.pt": "transnuseg-sar-nw-l2",
    "unet_14cMSI_nonW_model_epoch_3.pth": "unet-msi-nw-l2",
    "UNET_7Csar_NONW_Model_Epoch_3.PT": "unet-sar-nw-l1",
    "unet_7cConcat_W.pt": "unet-concat-w-l1",
    # the modality from the folder
    "concat/unet_7c_W_model_epoch_1.pt": "unet-concat-w-l1",
    "concat/sar/unet_7c_W_model_epoch_1.pt": "unet-sar-w-l1",
    # too little, or two things
    "unet_14cMSISAR_model_epoch_92.pt": None,
    "unet_14c_W_model_epoch_92.pt": None,
    "unet_10cMSI_W_model_epoch_92.pt": None,
    "segformer_14cMSI_W_model_epoch_92.pt": None,
    "unet_14cMSI_W_nonW_model_epoch_92.pt": None,
    "unet_14cMSI_sar_W_model_epoch_92.pt": None,
    "unet_7c_14cMSI_W_model_epoch_92.pt": None,
    "sar/unet_7cMSI_W_model_epoch_1.pt": None,
    "epoch.pt": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_names(tmp_path, name, caplog):
    put(tmp_path, name)
    assert find_checkpoints(tmp_path) == ({NAMES[name]: tmp_path / name} if NAMES[name] else {})
    assert (f"skipped {tmp_path / name}" in caplog.text) == (NAMES[name] is None)


def test_other_files_are_passed_over_in_silence(tmp_path, caplog):
    put(tmp_path, "README.md", "__MACOSX/._unet_7cMSI_W.pt", "msi/._unet_7c_W.pt", ".half.part/unet_7cMSI_W.pt")
    (tmp_path / "folder.pt").mkdir()
    assert find_checkpoints(tmp_path) == {}
    assert caplog.text == ""


def test_the_folder_itself_may_name_the_modality(tmp_path, monkeypatch):
    put(tmp_path / "sar", "unet_7c_W_model_epoch_1.pt")
    monkeypatch.chdir(tmp_path / "sar")
    assert find_checkpoints(Path()) == {"unet-sar-w-l1": Path("unet_7c_W_model_epoch_1.pt")}


def test_the_highest_epoch_is_taken(tmp_path):
    names = ["unet_7cMSI_W_model_epoch_9.pt", "unet_7cMSI_W_model_epoch_100.pt", "unet_7cMSI_W_model_epoch_29.pt"]
    put(tmp_path, *names, "unet_7cMSI_W.pt")
    assert find_checkpoints(tmp_path) == {"unet-msi-w-l1": tmp_path / names[1]}


def test_the_listing_is_deterministic_and_gives_each_scenarios_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["sar/unet_7cSAR_W_model_epoch_1.pt", "msi/transnuseg_14cMSI_nw_epoch:2_loss.pt"]
    folder, path = Path("data"), Path("out/listing.json")
    put(folder, *names)
    write_listing(path, folder, {"source": "kaggle", "version": 1})
    assert json.loads(path.read_text()) == {
        "origin": {"source": "kaggle", "version": 1},
        "folder": "data",
        "checkpoints": {
            key: {"file": name, "bytes": len(name), "sha256": hashlib.sha256(name.encode()).hexdigest()}
            for key, name in zip(["unet-sar-w-l1", "transnuseg-msi-nw-l2"], names, strict=True)
        },
    }
    first = path.read_bytes()
    write_listing(path, folder, {"version": 1, "source": "kaggle"})
    assert path.read_bytes() == first
    assert released_checkpoint(path, parse("unet-sar-w-l1-released-0", known_names(CERRADATA))) == folder / names[0]
    with pytest.raises(DataError, match=r"for unet-msi-w-l1; there is transnuseg-msi-nw-l2, unet-sar-w-l1\."):
        released_checkpoint(path, parse("unet-msi-w-l1-released-0", known_names(CERRADATA)))


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no released checkpoint"):
        write_listing(tmp_path / "empty.json", tmp_path, {})
