"""A small finished run for tests of the overview page."""

from pathlib import Path

import numpy as np
from rasterio.transform import from_origin
from scenes import CERRADATA, write_raster
from test_benchmark import PAPER_SCORES, evaluated

from cerraseg.evaluation import benchmark
from cerraseg.report.benchmark import tables
from cerraseg.report.overview.scores import Scored

SIMULATED = "simulated landscape"
L1, L2 = "unet-concat-w-l1-tuned-1", "unet-sar-nw-l2-paper-1"
HEIGHT, WIDTH = 40, 60
HISTORY = """epoch,train_loss,val_loss,val_macro_f1,val_miou,selected
1,2.5,2.25,0.25,0.125,False
2,1.5,1.75,0.5,0.375,True
3,1.25,,0.4,0.3,False
"""


def raster(path: Path, bands: np.ndarray, crs: str = "EPSG:32722", pixel: float = 10.0) -> Path:
    corner = (-48.0, -6.0) if crs == "EPSG:4326" else (6e5, 8e6)
    transform = from_origin(*corner, pixel, pixel)
    return write_raster(path, bands if bands.ndim == 3 else bands[None], crs=crs, transform=transform)


def class_map(classes: int = 7, seed: int = 0) -> np.ndarray:
    """Blocks of 10 pixels, each of one class; no data in the upper left one."""
    blocks = np.random.default_rng(seed).integers(0, classes, (HEIGHT // 10, WIDTH // 10), dtype=np.uint8)
    blocks[0, 0] = 255
    return np.kron(blocks, np.ones((10, 10), dtype=np.uint8))


def results(folder: Path, source: str = SIMULATED, *, comparable: bool = False) -> Path:
    """Results of two scenarios: an L1 one with history, image, truth and areas, and an L2 one without any."""
    files = [evaluated(folder / "scores", name, source) for name in (L1, L2)]
    tables.write_csv(benchmark.collect(files, PAPER_SCORES, CERRADATA, comparable=comparable), folder / "benchmark.csv")
    for seed, (name, classes) in enumerate({L1: 7, L2: 14}.items()):
        mosaic = folder / "scenarios" / name / "mosaic"
        predicted = class_map(classes, seed)
        raster(mosaic / "prediction_epsg32722.tif", predicted)
        confidence = np.where(predicted == 255, 255, 40 + predicted * 4).astype(np.uint8)
        raster(mosaic / "confidence_epsg32722.tif", confidence)
    raster(folder / "truth" / "l1" / "truth_epsg32722.tif", class_map(7, 9))
    image = np.stack([np.full((HEIGHT // 2, WIDTH // 2), value, dtype=np.uint8) for value in (90, 120, 60, 255)])
    image[3, :5, :5] = 0
    raster(folder / "truth" / "image_epsg32722.tif", image, pixel=20.0)
    (folder / "histories").mkdir()
    (folder / "histories" / f"{L1}.csv").write_text(HISTORY)
    (folder / "scores" / L1 / "areas.csv").write_text(
        "id,name,pixels,hectares,share,basis,adjusted_hectares,adjusted_ci95,adjusted_low,adjusted_high\n"
        "0,Pasture,100,1.0,4.0,test patches,1.5,0.1,1.2,1.9\n1,Forest,200,2.0,8.0,test patches,,,,\n"
        ",Total,300,3.0,12.0,test patches,3.0,,,\n"
    )
    return folder


def scored(folder: Path) -> dict[str, Scored]:
    return {id_: Scored.of(folder, id_, [str(folder / "histories" / f"{L1}.csv")]) for id_ in (L1, L2)}
