"""Small patches in the CerraData-4MM layout, and the real sample where the machine has it."""

import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from disks import Disk
from numpy.typing import NDArray
from project import Project, finished_project
from rasterio.transform import Affine
from region_run import RegionRun, followed
from scenes import CERRADATA, write_raster

from cerraseg.data import index, statistics
from cerraseg.data import packed as store
from cerraseg.data.pack import pack
from cerraseg.data.splits import assign

NAMES = {"msi": "msi_images/ms", "sar": "sar_images/sar", "l1": "semantic_7c/mask_7classes", "l2": "semantic_14c/14c"}
PIXEL = 8.983e-5
# The same cases on every machine; the repository gets no folder .hypothesis.
hypothesis.settings.register_profile(
    "cerraseg",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=int(os.environ.get("CERRASEG_CASES", "60")),
    suppress_health_check=[*hypothesis.HealthCheck],
)
hypothesis.settings.load_profile("cerraseg")

IDS = ("42", "7", "901", "42312", "100", "1000", "15", "3003", "88", "512", "64", "2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first, the slowest file before all, so that no worker waits for the other's last one."""
    slow = ("workflow", "nightly")
    items.sort(key=lambda item: (item.path.parent.name not in slow, item.path.name != "test_slurm.py"))


def write_tif(path: Path, array: NDArray, *, crs: str | None = "EPSG:4326", east: float = 0.0) -> None:
    write_raster(path, array, crs=crs, transform=Affine(PIXEL, 0, -47 + east, 0, -PIXEL, -6))


def patch_file(root: Path, layer: str, id_: str) -> Path:
    return root / f"{NAMES[layer]}_{id_}.tif"


def write_patch(root: Path, id_: str, place: int = 0) -> None:
    """A patch whose classes show in its bands: class k raises every band by k."""
    rng = np.random.default_rng(int(id_))
    l2 = np.repeat(np.repeat(rng.integers(0, 14, (4, 4)), 32, 0), 32, 1)[None]
    l1 = np.array(CERRADATA.ancestors("l2")["l1"])[l2]
    noise = rng.normal(0, 0.1, (14, 128, 128))
    image = (1000 + 100 * l2 + 20 * noise).astype(np.float32)
    east = place * 128 * PIXEL
    layers = {"msi": image[:12], "sar": image[12:], "l1": l1.astype(np.int32), "l2": l2.astype(np.int32)}
    for layer, array in layers.items():
        write_tif(patch_file(root, layer, id_), array, east=east)


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    for place, id_ in enumerate(IDS):
        write_patch(root, id_, place)
    return root


@pytest.fixture
def root(_template: Path, tmp_path: Path) -> Path:
    """Twelve patches with all four layers, free to be spoilt."""
    return Path(shutil.copytree(_template, tmp_path / "cerradata_4mm"))


@pytest.fixture(scope="session")
def packed(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with patches.parquet, split.csv, packed arrays and statistics.json of the twelve patches; read only."""
    out = tmp_path_factory.mktemp("packed")
    index.write_patch_table([_template], CERRADATA, out / "patches.parquet", out / "rejected.csv")
    table, split, shares = out / "patches.parquet", out / "split.csv", {"train": 0.5, "validation": 0.25, "test": 0.25}
    assign.write_split(table, split, CERRADATA, scheme="paper", shares=shares, seed=42, validation_seed=666)
    pack(table, CERRADATA, *arrays(out), workers=1)
    statistics.write_statistics(table, split, opened(out), CERRADATA, out / "statistics.json")
    return out


def sent(job: Callable[[Any], Any], chunks: Sequence[Any], _: int) -> Iterator[Any]:
    """In place of ``process_map``: what goes to worker processes and comes back is pickled, but none is started."""
    return (pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(job))(chunk))) for chunk in chunks)


def arrays(folder: Path) -> tuple[Path, Path, Path]:
    return folder / "images.npy", folder / "masks.npy", folder / "header.json"


def opened(folder: Path) -> store.Store:
    return store.open_store(*arrays(folder))


def base_of_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all tests of a run, whatever process they are in."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run of the tiny configuration, one for all tests of a run; read only."""
    return finished_project(base_of_run(tmp_path_factory) / "finished")


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished run, free to be changed."""
    return finished.copy(tmp_path / "project")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 40 MB."""
    disk = Disk(tmp_path / "disk", megabytes=40)
    yield disk
    disk.unmount()


@pytest.fixture
def real_sample() -> Path:
    """The folder of real Sentinel patches that CERRASEG_REAL_SAMPLE names."""
    if folder := os.environ.get("CERRASEG_REAL_SAMPLE"):
        return Path(folder)
    pytest.skip("CERRASEG_REAL_SAMPLE is not set")


@pytest.fixture(scope="session")
def region_run(tmp_path_factory: pytest.TempPathFactory) -> RegionRun:
    """A project in which docs/your-data.md was followed, one for all tests of a run; read only."""
    return followed(base_of_run(tmp_path_factory) / "region")
