"""The command as it is installed: from the built wheel, in folders where nothing else of the project lies."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from placed import read
from project import REPOSITORY, TUNED
from region_rasters import write_region


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose cerraseg is the wheel's, with the libraries of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--no-deps", "--offline"]
    hatch = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(hatch, cwd=REPOSITORY, check=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    subprocess.run([*uv, "--python", sys.executable, "--target", target, wheel], check=True)
    threads = {"OMP_NUM_THREADS": "1"}  # as many as the step has; another number rounds otherwise
    path = os.pathsep.join([str(target / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, **threads, "PYTHONPATH": str(target), "PATH": path}


def called(installed, folder, *words, code=0):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cerraseg.cli", *map(str, words)], cwd=folder, env=installed, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_lone_checkpoint_maps_a_scene_as_the_workflow_did(installed, finished, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes((finished.folder / f"results/models/{TUNED}/checkpoint.pt").read_bytes())
    scene, expected = finished.folder / "data/simulated/scene", finished.folder / f"results/scenes/unseen/{TUNED}/map"
    images = [f"--{name}={scene / name}.tif" for name in ("msi", "sar")]
    called(installed, tmp_path, "map", "checkpoint.pt", *images, "-o", "map.tif", "--confidence", "confidence.tif")
    for own, theirs in (("map", "classes"), ("confidence", "confidence")):
        np.testing.assert_array_equal(read(tmp_path / f"{own}.tif"), read(expected / f"{theirs}.tif"))
    assert "Pasture" in called(installed, tmp_path, "show", "checkpoint.pt")
    assert "accuracy" in called(installed, tmp_path, "score", "map.tif", scene / "truth_l1.tif")


def test_image_and_polygons_become_a_map_without_an_editor(installed, tmp_path):
    region = write_region(tmp_path / "data", 384, 448).folder
    files = {path.name: path for path in region.rglob("*")}
    called(
        installed, tmp_path, "init", "mine", "--msi", files["s2.tif"], "--labels", files["fields.gpkg"],
        "--field", "crop",
    )  # fmt: skip
    said = called(installed, tmp_path / "mine", "run", "-n", "--cores", "2")
    assert "train" in said and not (tmp_path / "mine/results/models").exists()
    map_ = "results/scenes/mine/fullres-msi-nw-classes-tuned-1/map"
    called(installed, tmp_path / "mine", "run", "--cores", "2", map_, "--config", "training={epochs: 1, batch_size: 4}")
    assert set(np.unique(read(tmp_path / "mine" / map_ / "classes.tif"))) <= {1, 2, 3, 4, 5}
