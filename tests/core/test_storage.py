"""The system's errors of disks and folders come out in the user's words, and other errors as they are."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cerraseg.core.errors import DataError, StorageError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.core.storage import ensure_folder, explain_disk_errors, need_room
from cerraseg.orchestration.step import step


def test_full_disk_is_named_with_what_is_free(small_disk):
    small_disk.fill(leaving=200_000)
    said = (
        rf"disk of {small_disk.folder}/new is full \(No space left on device; 0.0 MB free\); expected .* same command"
    )
    with pytest.raises(StorageError, match=said) as caught, atomic_write(small_disk.folder / "new/a.bin") as temporary:
        temporary.write_bytes(bytes(10**6))
    assert caught.value.errno == errno.ENOSPC
    assert small_disk.left() == []
    small_disk.empty()
    with atomic_write(small_disk.folder / "new/a.bin") as temporary:
        temporary.write_bytes(bytes(10**6))
    assert small_disk.left() == ["new/a.bin"]


def test_old_file_outlives_a_full_disk(small_disk):
    (small_disk.folder / "a.txt").write_text("old")
    small_disk.fill()
    with pytest.raises(StorageError), atomic_write(small_disk.folder / "a.txt") as temporary:
        temporary.write_bytes(bytes(10**5))
    assert (small_disk.folder / "a.txt").read_text() == "old"


def test_error_without_a_reason_is_put_down_to_a_full_disk_alone(small_disk, tmp_path):
    """As GDAL's: what it says is kept."""
    with pytest.raises(RuntimeError, match="it failed"), atomic_write(small_disk.folder / "a"):
        raise RuntimeError("it failed")
    small_disk.fill()
    said = r"is full \(it failed; 0.0 MB free\)"
    with pytest.raises(StorageError, match=said), atomic_write(small_disk.folder / "a"):
        raise RuntimeError("it failed")
    with pytest.raises(DataError, match="our own"), atomic_write(small_disk.folder / "a"):
        raise DataError("our own")


def test_read_only_folder_is_named(small_disk):
    small_disk.read_only()
    with (
        pytest.raises(StorageError, match=rf"{small_disk.folder}/new is read-only .* point `results` at another disk"),
        atomic_write(small_disk.folder / "new/a.txt"),
    ):
        pass
    small_disk.writable()
    with atomic_write(small_disk.folder / "new/a.txt") as temporary:
        temporary.touch()
    assert small_disk.left() == ["new/a.txt"]


@pytest.mark.parametrize("kind", ["file", "broken link"])
def test_what_is_no_folder_is_named(kind, tmp_path):
    results = tmp_path / "results"
    results.touch() if kind == "file" else results.symlink_to(tmp_path / "nowhere")
    with (
        pytest.raises(StorageError, match=f"^{results} is no folder, perhaps a broken link.* move it away"),
        atomic_write(results / "logs/a.txt"),
    ):
        pass
    results.unlink()
    with atomic_write(results / "logs/a.txt") as temporary:
        temporary.touch()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EDQUOT, "The quota for the disk of /r is used up"),
        (errno.EFBIG, r"/r: larger than a file may be \(File too large\).*ulimit -f"),
        (errno.EACCES, "/r: Permission denied; expected the permission for it: change its mode or owner"),
        (errno.EIO, r"network file system of /r fails \(Input/output error\)"),
        (errno.ESTALE, "network file system of /r fails"),
        (errno.EMFILE, r"Too many files are open .*ulimit -n"),
    ],
)
def test_each_fault_has_its_remedy(code, said):
    with pytest.raises(StorageError, match=said), explain_disk_errors(Path("/r/file")):
        raise OSError(code, os.strerror(code))


def test_other_errors_of_the_system_stay():
    with pytest.raises(FileNotFoundError), explain_disk_errors(Path("/r/file")):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/input")
    with pytest.raises(FileExistsError), explain_disk_errors(Path("/a/file")):  # an archive's two entries of one name
        raise FileExistsError(errno.EEXIST, "File exists", "/a/b")


def test_denied_input_is_named_not_the_output(tmp_path):
    with pytest.raises(StorageError, match=r"^/in/a.tif: Permission denied"), atomic_write(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "Permission denied", "/in/a.tif")


def test_too_little_room_is_refused_ahead_and_enough_is_not(small_disk):
    small_disk.fill(leaving=10**6)
    with pytest.raises(StorageError, match=rf"mapping needs 2.0 MB in {small_disk.folder}, 1.0 MB are free; free some"):
        need_room(small_disk.folder, 2 * 10**6, "mapping")
    need_room(small_disk.folder, 10**6 - 10**4, "mapping")


def test_folder_that_cannot_be_one_is_refused_before_anything_runs(small_disk, tmp_path):
    for good in (tmp_path, tmp_path / "new/results"):
        ensure_folder(good, written=True)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        for bad in (tmp_path / name, tmp_path / name / "results"):
            with pytest.raises(StorageError, match=f"{tmp_path}/{name} is no folder, perhaps a broken link"):
                ensure_folder(bad)
    small_disk.read_only()
    ensure_folder(small_disk.folder / "results")
    with pytest.raises(StorageError, match=f"{small_disk.folder}/results is read-only"):
        ensure_folder(small_disk.folder / "results", written=True)


STEP = """
import sys
from pathlib import Path
from types import SimpleNamespace
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.orchestration.step import step
folder = Path(sys.argv[1])
with step(SimpleNamespace(log=[folder / "logs/a.log"], output=SimpleNamespace())):
    for _ in range(50):
        log.info("a line %s", "x" * 200)
    with atomic_write(folder / "a.bin") as temporary:
        temporary.write_bytes(bytes(10**6))
"""


def run_step(folder):
    return subprocess.run(
        [sys.executable, "-c", STEP, folder], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_step_ends_with_a_message_and_no_traceback_though_its_log_has_no_room(state, small_disk):
    (small_disk.folder / "logs").mkdir()
    small_disk.fill() if state == "full" else small_disk.read_only()
    done = run_step(small_disk.folder)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "Logging error" not in done.stderr
    assert f"{small_disk.folder}{'' if state == 'full' else '/logs/a.log'} is {state}" in done.stderr
    small_disk.empty() if state == "full" else small_disk.writable()
    assert run_step(small_disk.folder).returncode == 0
    assert small_disk.left() == ["a.bin", "logs/a.log"]


def test_memory_that_runs_out_in_any_step_ends_it_with_a_message(tmp_path, capsys):
    with (
        pytest.raises(SystemExit, match="1"),
        step(SimpleNamespace(log=[tmp_path / "a.log"], output=SimpleNamespace())),
    ):
        bytearray(2**60)
    assert "The memory is used up" in (tmp_path / "a.log").read_text()
    assert "Traceback" not in (tmp_path / "a.log").read_text()


def test_error_that_nobody_expects_is_logged_with_its_traceback(tmp_path):
    job = SimpleNamespace(log=[tmp_path / "a.log"], input=[], config={"results": str(tmp_path)})
    with pytest.raises(ZeroDivisionError), step(job):
        log.info("%s", 1 / 0)
    assert "Traceback" in (tmp_path / "a.log").read_text()
