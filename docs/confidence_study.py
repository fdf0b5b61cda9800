"""What calibration and class sets keep of what they promise: python docs/confidence_study.py CONFIG MODEL PAGE.

MODEL is a checkpoint of the configuration's landscape, trained without what is simulated here.
"""

import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cerraseg.data.packed import Store, open_store
from cerraseg.evaluation.calibration import measures, read_tally
from cerraseg.mapping.predict import predict
from cerraseg.models import checkpoint
from cerraseg.training.calibrate import NOMINAL, calibrate

HELD = 1_000  # patches of another land of the same kind: the last TESTED are scored, of the rest some calibrate
TESTED = 400
PATCHES = (30, 120, 600)  # to calibrate with
KINDS: dict[str, dict[str, Any]] = {
    "of the same kind": {},
    "drifted": {"drift": 0.3, "gain": 0.15},
}
START, END = "<!-- table: make confidence -->\n", "<!-- end of table -->"


def packed(base: dict[str, Any], name: str, **settings: Any) -> Store:
    """Simulate and pack patches of a land that the model has not seen."""
    config = deepcopy(base) | {"results": f"results-confidence/{name}", "scenes": [], "ensembles": {}}
    config["simulate"] |= {"folder": f"data/simulated-confidence/{name}", "seed": 1_000, "patches": HELD} | settings
    results = Path(config["results"])
    results.mkdir(parents=True, exist_ok=True)
    (results / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    files = [results / "packed" / name for name in ("images.npy", "masks.npy", "header.json")]
    targets, file = map(str, files), str(results / "config.yaml")
    subprocess.run([sys.executable, "-m", "snakemake", "--cores", "all", *targets, "--configfile", file], check=True)
    return open_store(*files)


def measured(model: Path, store: Store, folder: Path) -> dict[str, Any]:
    """Measures of a checkpoint on the patches to test on."""
    rows = np.arange(HELD - TESTED, HELD)
    files = [folder / f"{name}.npy" for name in ("prediction", "confidence", "edges")]
    predict(model, store, rows, *files, scored=rows, calibration=folder / "calibration.npz", threads=2)
    _, blueprint, _ = checkpoint.load(model)
    return measures(read_tally(folder / "calibration.npz"), blueprint.described.classes(blueprint.level))


def main() -> None:
    """Calibrate on more and more patches, and write the table."""
    base, model, page = yaml.safe_load(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), Path(sys.argv[3])
    head, start, rest = page.read_text().partition(START)
    if not start:
        sys.exit(f"{page} has no line {START.strip()}; expected one where the table goes")
    stores = {kind: packed(base, kind.replace(" ", "-"), **settings) for kind, settings in KINDS.items()}
    same, folder = stores["of the same kind"], Path("results-confidence")
    segmenter, blueprint, training = checkpoint.load(model)
    rows = []
    for count in PATCHES:
        given = calibrate([(segmenter, np.arange(count))], same)
        file = folder / f"{count}.pt"
        checkpoint.save(file, replace(blueprint, calibration=given), segmenter.net.state_dict(), training)
        for kind, store in stores.items():
            found = measured(file, store, folder)
            shares = [100 * row["coverage"] for row in found["by_class"] if row["coverage"] is not None]
            off = sum(abs(share - 100 * NOMINAL) <= 2 for share in shares)
            cells = [100 * found[stage][name] for name in ("ece", "class_ece") for stage in ("before", "after")]
            rows.append(
                f"| {count} | {kind} | {' | '.join(f'{cell:.2f}' for cell in cells)} | {np.mean(shares):.1f} | "
                f"{min(shares):.1f} to {max(shares):.1f} | {off} of {len(shares)} | {found['sets']['size']:.2f} |"
            )
            print(rows[-1], flush=True)
    lines = [
        f"Data: **simulated landscape**, `{model.parent.name}`, {TESTED} test patches. Errors and shares in percent.",
        "",
        "| patches to calibrate with | tested on land | calibration error | after | of classes | after "
        "| sets hold the true class, mean of classes | least to most | within 2 points of 90 | mean size of a set |",
        "|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|",
        *rows,
    ]
    page.write_text(head + START + "\n".join(lines) + "\n" + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
