"""A copy of the project in which tests run the real workflow."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import torch
import yaml
from published import export_published

from cerraseg.models.transnuseg import TransNuSeg

REPOSITORY = Path(__file__).parents[1]
TUNED, RELEASED = "unet-concat-nw-l1-tuned-1", "transnuseg-sar-nw-l2-released-0"
TINY = {
    "source": "simulate",
    "baselines": [],
    "simulate": {"patches": 24, "scene": {"width": 230, "height": 150}},
    "scenarios": {
        "models": ["unet"], "modalities": ["concat"], "weightings": ["nw"], "levels": ["l1"], "recipes": ["tuned"],
        "seeds": [1], "extra": [RELEASED],
    },
    "released": {"source": "local", "folder": "released"},
    "unet": {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": [16, 16, 8]},
    "training": {"epochs": 2, "batch_size": 4},
    "predict": {"geotiffs": True},
    "scenes": [
        {
            "name": "unseen", "msi": "data/simulated/scene/msi.tif", "sar": "data/simulated/scene/sar.tif",
            "reference": "data/simulated/scene/truth_l2.tif", "reference_level": "l2",
        }
    ],
    "maps": {"layers": ["probabilities", "margin", "entropy"], "minimum_hectares": 0.2},
}  # fmt: skip
ONE = "unet-msi-nw-l1-own-1"
ONE_SCENARIO = {key: value for key, value in TINY.items() if key not in ("released", "predict", "maps")} | {
    "results": "results",
    "recipes": {"own": {"from": "tuned", "learning_rate": 0.0005}},
    "scenarios": TINY["scenarios"] | {"modalities": ["msi"], "recipes": ["own"], "extra": []},
    "training": {"epochs": 1, "batch_size": 4},
}


class Project:
    """A copy of the project with one configuration."""

    parts: tuple[str, ...] = ("Snakefile", "cerraseg", "workflow", "profiles", "envs", "reference")
    where: tuple[str, ...] = ("--cores", "2")

    def __init__(self, folder: Path, config: dict) -> None:
        self.folder = folder
        folder.mkdir()
        ignore = shutil.ignore_patterns("cache", "tmp", "__pycache__")
        for source in (REPOSITORY / part for part in self.parts):
            if source.is_dir():
                shutil.copytree(source, folder / source.name, ignore=ignore)
            else:
                shutil.copy(source, folder)
        file = folder / "released/sar/transnuseg_14cSAR_nonW_epoch:3_loss0.5.pt"
        file.parent.mkdir(parents=True)
        torch.manual_seed(0)
        with file.open("wb") as opened:  # given a name, torch would write it into the file
            torch.save(export_published(TransNuSeg(2, 14, embed_dim=12, heads=(1, 2, 4), image_size=128)), opened)
        self.configure(config)

    @classmethod
    def at(cls, folder: Path) -> Self:
        """The project that lies in a folder."""
        made = object.__new__(cls)
        made.folder = folder
        return made

    def copy(self, folder: Path) -> Self:
        """All of it at another place, with the times of its files, which Snakemake goes by."""
        return self.at(Path(shutil.copytree(self.folder, folder, symlinks=True)))

    def configure(self, config: dict) -> None:
        (self.folder / "config").mkdir(exist_ok=True)
        (self.folder / "config/config.yaml").write_text(yaml.safe_dump(config))

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", *self.where, *args]

    def environment(self, **further: str) -> dict[str, str]:
        """That of the tests, with the programs of their Python first."""
        return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **further}

    def run(self, *args: str, ok: bool = True, **env: str) -> str:
        return self.call(self.command(*args), ok=ok, **env)

    def call(self, command: list[str], ok: bool = True, **env: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(**env), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == ok, done.stdout[-5000:]
        return done.stdout

    def start(self, command: list[str], **env: str) -> subprocess.Popen:
        """Start a command in a group of its own, and do not wait for it."""
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        env = self.environment(**env)
        return subprocess.Popen(command, cwd=self.folder, start_new_session=True, env=env, **silent)

    def planned(self, *args: str) -> dict[str, int]:
        """Rule → number of jobs that would run."""
        output = self.run("-n", *args)
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", output, re.MULTILINE | re.DOTALL)
        return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table[1], re.M)} if table else {}

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def kill_when(self, exists: str, *args: str, seconds: int = 300) -> None:
        """Start a run and kill it and all it started, without warning, once a file exists."""
        process = self.start(self.command(*args))
        deadline = time.monotonic() + seconds
        while not (appeared := list(self.folder.glob(exists))) and time.monotonic() < deadline:
            assert process.poll() is None, f"ended before {exists} appeared"
            time.sleep(0.01)
        kill(process)
        assert appeared, f"no {exists} within {seconds} s"
        self.run("--unlock")


def kill(process: subprocess.Popen) -> None:
    """Kill a process and all it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """A folder that the first process that asks makes, and all others wait for."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        making = folder.with_suffix(".making")
        if not folder.exists():
            shutil.rmtree(making, ignore_errors=True)  # of a process whose run failed
            make(making)
            making.rename(folder)
    return folder


def finished_project(folder: Path) -> Project:
    """A finished run of the tiny configuration."""
    return Project.at(made_once(folder, lambda making: Project(making, TINY).run(LC_ALL="C.UTF-8", TZ="UTC")))


class Tracked(Project):
    """A project in a git repository, with DVC."""

    parts = (*Project.parts, "dvc.yaml", ".dvc", ".dvcignore", ".gitignore")

    def __init__(self, folder: Path, config: dict) -> None:
        super().__init__(folder, config)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *args: str) -> str:
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        return self.call(["git", *identity, *args])

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "state")

    def dvc(self, *args: str, ok: bool = True, **env: str) -> str:
        return self.call([sys.executable, "-m", "dvc", *args], ok=ok, **env)

    def sync(self, *args: str, ok: bool = True) -> str:
        return self.call([sys.executable, "-m", "cerraseg.orchestration.dvc_sync", *args], ok=ok)

    def reset(self) -> None:
        """Back to the last commit, whatever was tried since."""
        self.git("reset", "--hard", "--quiet")
        self.dvc("checkout", "--force")
        self.sync("restore")

    def agree(self) -> None:
        """Snakemake and DVC both call everything up to date."""
        assert "Data and pipelines are up to date" in self.dvc("status")
        assert "Nothing to be done" in self.run("-n")

    def clone(self, folder: Path) -> Self:
        """A colleague's clone, with the remote of this one."""
        subprocess.run(["git", "clone", "--quiet", self.folder, folder], check=True)
        shutil.copy(self.folder / ".dvc/config.local", folder / ".dvc/config.local")
        return self.at(folder)
