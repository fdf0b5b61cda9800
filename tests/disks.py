"""A small disk of its own for a test, to be filled, emptied and made read-only: real errors of the system."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


class Disk:
    """A tmpfs; only root may mount one."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder, self.filler = folder, folder / "filler"
        folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={megabytes * 10**6}"]
        try:
            done = subprocess.run(["mount", *options, "tmpfs", str(folder)], capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no program mount")
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted: {done.stderr.strip()}")

    def fill(self, leaving: int = 0) -> None:
        """Write until so many bytes are free."""
        with self.filler.open("ab") as file:
            file.write(bytes(max(0, shutil.disk_usage(self.folder).free - leaving)))

    def empty(self) -> None:
        self.filler.unlink()

    def read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)  # lazily, as a memory map may be open

    def left(self) -> list[str]:
        """What lies on it beside the filler, hidden files too."""
        files = (Path(top) / name for top, _, names in os.walk(self.folder) for name in names)
        return sorted(str(file.relative_to(self.folder)) for file in files if file != self.filler)
