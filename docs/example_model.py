"""What a colleague would send, for docs/model-in-hand.ipynb: a small trained model, an image to map, and patches.

All of it is simulated, and the model is trained by the steps of the workflow, called one after the other.
"""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.config.recipes import RECIPES, recipe_of
from cerraseg.config.scenario import known_names, parse
from cerraseg.data import index, packed, statistics
from cerraseg.data.pack import pack
from cerraseg.data.simulation.files import simulate, simulate_scene
from cerraseg.data.splits import assign
from cerraseg.training.plan import Plan
from cerraseg.training.train import Outputs, train

SCENARIO = "fullres-concat-nw-l1-tuned-1"
SHARES = {"train": 0.7, "validation": 0.2, "test": 0.1}


def write_example(folder: Path, patches: int = 32, epochs: int = 6) -> None:
    """Write ``checkpoint.pt``, ``scene`` (two rasters and their true classes) and ``patches`` under a folder.

    Args:
        folder: to write to; it may be there.
        patches: of 128 × 128 pixels, of which most are for training.
        epochs: of the training.
    """
    dataset = Dataset.of("cerradata-4mm")
    work = folder / "training"
    work.mkdir(parents=True, exist_ok=True)
    simulate(folder / "patches", patches=patches, seed=42)
    simulate_scene(folder / "scene", width=320, height=256, seed=42)
    table, split = work / "patches.parquet", work / "split.csv"
    index.write_patch_table([folder / "patches"], dataset, table, work / "rejected.csv")
    assign.write_split(table, split, dataset, scheme="paper", shares=SHARES, seed=42, validation_seed=42)
    arrays = work / "images.npy", work / "masks.npy", work / "header.json"
    pack(table, dataset, *arrays, workers=1)
    store = packed.open_store(*arrays)
    statistics.write_statistics(table, split, store, dataset, work / "statistics.json")
    scenario = parse(SCENARIO, known_names(dataset))
    plan = Plan(scenario, recipe_of(scenario, RECIPES), {}, dataset, epochs=epochs, batch_size=4)
    outputs = Outputs(folder / "checkpoint.pt", work / "last.pt", work / "history.csv")
    train(plan, store, split, work / "statistics.json", outputs, work / "resume")
