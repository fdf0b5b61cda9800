"""Whole or absent, and no trace of the dead."""

import os
import platform
import shutil
import signal
import time
from pathlib import Path

import pytest

from cerraseg.core.files import atomic_write

GONE = 2**22 + 1  # above the largest id of a process that Linux gives


def test_file_appears_when_the_block_ends_and_after_an_exception_the_old_one_is_left(tmp_path):
    with atomic_write(tmp_path / "new/a.txt") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "new/a.txt").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "new/a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [path.read_text() for path in (tmp_path / "new").iterdir()] == ["whole"]


@pytest.mark.parametrize(("name", "other"), [("a.txt", "[a].txt"), ("[a].txt", "a.txt")])
def test_leftovers_of_dead_processes_go_and_all_else_stays(name, other, tmp_path):
    """Processes of another node, or of an unnamed one, may be alive: their leftovers go by their age."""
    here = platform.node()
    old = f".{name}.node2.org.123.part.txt"
    lost = {f".{name}.{here}.{GONE}.part.txt", f".{name}.{here}.{GONE}.former.part.txt", old}
    theirs = {f".{name}.old.part.txt", f".{name}.b.txt.{here}.{GONE}.part.txt", f".{other}.{here}.{GONE}.part.txt"}
    alive = {f".{name}.{here}.{os.getppid()}.part.txt", f".{name}.node2.{GONE}.part.txt", f".{name}.{GONE}.part.txt"}
    for leftover in lost | theirs | alive:
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "half").touch()
    week = time.time() - 8 * 24 * 3600
    os.utime(tmp_path / old, (week, week))
    with atomic_write(tmp_path / name) as temporary:
        temporary.touch()
    assert {path.name for path in tmp_path.iterdir()} == {name} | theirs | alive


@pytest.mark.parametrize("folder", [False, True])
def test_content_is_on_disk_before_the_name_is(folder, tmp_path, monkeypatch):
    seen, sync, replace = [], os.fsync, Path.replace

    def path_of(handle):
        return Path(f"/proc/self/fd/{handle}").readlink()

    monkeypatch.setattr(os, "fsync", lambda handle: (seen.append(path_of(handle)), sync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (seen.append("renamed"), replace(self, to))[1])
    with atomic_write(tmp_path / "a") as temporary:
        if folder:
            (temporary / "deep").mkdir(parents=True)
            (temporary / "deep/b").touch()
        else:
            temporary.touch()
    parts = {temporary, temporary / "deep", temporary / "deep/b"} if folder else {temporary}
    assert set(seen[:-2]) == parts and seen[-2:] == ["renamed", tmp_path]


def test_a_folder_is_never_half_removed_under_its_name(tmp_path, monkeypatch):
    """Killed while the former one is removed, the new one is there, and the next process clears the rest."""
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/old").touch()
    process = os.fork()
    if process == 0:
        monkeypatch.setattr(shutil, "rmtree", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        with atomic_write(tmp_path / "maps") as temporary:
            temporary.mkdir()
            (temporary / "new").touch()
    assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["new"] and len(list(tmp_path.iterdir())) == 2
    with atomic_write(tmp_path / "maps") as temporary:
        temporary.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]
