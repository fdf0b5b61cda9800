"""Errors of disks and folders are explained with the path and a remedy; other errors stay as they are."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from cerraseg.core.errors import DataError, StorageError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.core.storage import ensure_folder, explain_disk_errors, need_room
from cerraseg.orchestration.step import step


def test_full_disk_is_named_and_nothing_is_left(small_disk):
    (small_disk.folder / "a.bin").write_text("old")
    small_disk.fill(leaving=200_000)
    with pytest.raises(StorageError) as caught, atomic_write(small_disk.folder / "a.bin") as temporary:
        temporary.write_bytes(bytes(10**6))
    assert caught.value.errno == errno.ENOSPC and str(small_disk.folder) in str(caught.value)
    assert small_disk.left() == ["a.bin"] and (small_disk.folder / "a.bin").read_text() == "old"


def test_error_without_a_reason_is_put_down_to_a_full_disk_alone(small_disk):
    """As GDAL's and torch's."""
    with pytest.raises(RuntimeError, match="it failed"), atomic_write(small_disk.folder / "a"):
        raise RuntimeError("it failed")
    small_disk.fill()
    with pytest.raises(StorageError) as caught, atomic_write(small_disk.folder / "a"):
        raise RuntimeError("it failed")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(DataError, match="our own"), atomic_write(small_disk.folder / "a"):
        raise DataError("our own")


@pytest.mark.parametrize("kind", ["file", "broken link"])
def test_what_is_no_folder_is_named(kind, tmp_path):
    results = tmp_path / "results"
    results.touch() if kind == "file" else results.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match=f"^{results}: .*no folder"), atomic_write(results / "logs/a.txt"):
        pass
    for bad in (results, results / "logs"):
        with pytest.raises(StorageError, match=f"^{results}: .*no folder"):
            ensure_folder(bad)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_each_error_names_the_folder(code):
    with pytest.raises(StorageError, match=r"^/r: ") as caught, explain_disk_errors(Path("/r/file")):
        raise OSError(code, os.strerror(code))
    assert caught.value.errno == code


def test_the_file_that_an_error_names_counts_and_other_errors_of_the_system_stay():
    with pytest.raises(StorageError, match=r"^/in/a.tif: "), explain_disk_errors(Path("/r/file")):
        raise PermissionError(errno.EACCES, "Permission denied", "/in/a.tif")
    with pytest.raises(FileNotFoundError), explain_disk_errors(Path("/r/file")):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/input")
    with pytest.raises(FileExistsError), explain_disk_errors(Path("/a/file")):
        raise FileExistsError(errno.EEXIST, "File exists", "/a/b")


def test_too_little_room_is_refused_ahead_and_enough_is_not(small_disk):
    small_disk.fill(leaving=10**6)
    with pytest.raises(StorageError, match=rf"mapping needs 2.0 MB in {small_disk.folder}, 1.0 MB are free"):
        need_room(small_disk.folder, 2 * 10**6, "mapping")
    need_room(small_disk.folder, 10**6 - 10**4, "mapping")


def test_results_that_cannot_be_written_are_refused_before_anything_runs(small_disk, tmp_path):
    ensure_folder(tmp_path / "new/results", written=True)
    assert not (tmp_path / "new").exists()
    small_disk.read_only()
    ensure_folder(small_disk.folder / "results")
    with pytest.raises(StorageError, match=f"{small_disk.folder}/results"):
        ensure_folder(small_disk.folder / "results", written=True)


def job(log_file):
    config = {"results": str(log_file.parent)}
    return SimpleNamespace(rule="pack", log=[log_file], input=[], output=SimpleNamespace(), config=config)


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_step_ends_with_a_message_though_its_log_has_no_room(state, small_disk, capsys):
    small_disk.fill() if state == "full" else small_disk.read_only()
    with pytest.raises(SystemExit, match="1"), step(job(small_disk.folder / "a.log")):
        for _ in range(50):
            log.info("a line %s", "x" * 200)
        with atomic_write(small_disk.folder / "a.bin") as temporary:
            temporary.write_bytes(bytes(10**6))
    told = capsys.readouterr().err
    assert str(small_disk.folder) in told and "Traceback" not in told and "Logging error" not in told


def test_only_an_unexpected_error_is_logged_with_its_traceback(tmp_path):
    with pytest.raises(SystemExit, match="1"), step(job(tmp_path / "memory.log")):
        bytearray(2**60)
    assert "Traceback" not in (tmp_path / "memory.log").read_text()
    with pytest.raises(ZeroDivisionError), step(job(tmp_path / "a.log")):
        log.info("%s", 1 / 0)
    assert "Traceback" in (tmp_path / "a.log").read_text()
