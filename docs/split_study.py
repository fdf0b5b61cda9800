"""Compare a random split with blocks of ground, on several landscapes: python docs/split_study.py CONFIG PAGE."""

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import rasterio
import yaml

from cerraseg import figures
from cerraseg.cog import NO_DATA
from cerraseg.metrics import confusion_matrix, scores
from cerraseg.taxonomy import LEVELS

SCHEMES = {"paper": "random", "blocks": "blocks"}
SEEDS = (1, 2, 3)  # of the landscape
COLOURS = {"paper": "#D55E00", "blocks": "#0072B2"}
START, END = "<!-- table: make splits -->\n", "<!-- end of table -->"


class Study(NamedTuple):
    """One landscape under one scheme: its metrics, and the macro F1 (0-1) on the scene that no patch covers."""

    scheme: str
    seed: int
    metrics: dict[str, Any]
    unseen: float


def configured(base: dict[str, Any], scheme: str, seed: int) -> dict[str, Any]:
    """The configuration with another landscape and scheme, everything else equal."""
    config = deepcopy(base)
    folder = config["simulate"]["folder"]
    config["results"] += f"/{scheme}-{seed}"
    config["simulate"] |= {"folder": f"{folder}-{seed}", "seed": seed}
    config["simulate"]["scene"] |= {"seed": seed}
    config["split"]["scheme"] = scheme
    for scene in config["scenes"]:
        scene |= {key: scene[key].replace(folder, f"{folder}-{seed}") for key in ("msi", "sar", "reference")}
    return config


def studied(config: dict[str, Any], scheme: str, seed: int) -> Study:
    """Run the workflow on a configuration, and read what came out."""
    results = Path(config["results"])
    results.mkdir(parents=True, exist_ok=True)
    file = results / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "--cores", "all", "--configfile", str(file)]
    subprocess.run(command, check=True)
    (metrics,) = results.glob("scores/*/metrics.json")
    scenario, scene = metrics.parent.name, config["scenes"][0]["name"]
    files = (
        results / f"scenes/{scene}/truth/l1/truth.tif",
        results / f"scenes/{scene}/{scenario}/map/classes.tif",
    )
    truth, mapped = (rasterio.open(path).read(1) for path in files)
    seen = mapped != NO_DATA
    unseen = scores(confusion_matrix(truth[seen], mapped[seen], len(LEVELS["l1"]))).macro_f1
    return Study(scheme, seed, json.loads(metrics.read_text()), unseen)


def table(studies: list[Study]) -> str:
    """Markdown: a row a landscape and scheme."""
    first = studies[0].metrics
    lines = [
        f"Data: **{first['source']}**, {len(SEEDS)} landscapes, one training each of `{first['scenario']['id']}`, "
        f"{first['training']['epochs']} epochs. Percent. *Unseen land* is a scene of such land that no patch covers.",
        "",
        "| landscape | split | test patches | touch a training patch | median distance | macro F1 [95 %], test "
        "| macro F1, unseen land | test − unseen |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for one in studies:
        leakage, f1 = one.metrics["leakage"], 100 * one.metrics["scores"]["macro_f1"]
        low, high = (100 * end for end in one.metrics["intervals"]["macro_f1"])
        lines.append(
            f"| {one.seed} | {SCHEMES[one.scheme]} | {one.metrics['patches']} | {100 * leakage['touching']:.0f} % | "
            f"{leakage['median_metres']:,.0f} m | {f1:.2f} [{low:.2f}, {high:.2f}] | {100 * one.unseen:.2f} | "
            f"{f1 - 100 * one.unseen:+.2f} |"
        )
    return "\n".join(lines) + "\n"


def draw(studies: list[Study], path: Path, source: str) -> None:
    """Left, scores by distance to the nearest training patch; right, test scores beside those on unseen land."""
    with figures.drawn(path, "Random split and blocks of ground", source, (9, 3.6)) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        for one in studies:
            bins = one.metrics["leakage"]["by_distance"]
            middles = [(part["from"] + part["to"]) / 2000 for part in bins]
            f1 = [100 * part["macro_f1_present"] for part in bins]
            left.plot(middles, f1, "o-", color=COLOURS[one.scheme], markersize=4, linewidth=0.9)
            ends = (100 * one.metrics["scores"]["macro_f1"], 100 * one.unseen)
            right.plot((0, 1), ends, "o-", color=COLOURS[one.scheme], markersize=4, linewidth=0.9)
        left.set(xlabel="distance to the nearest training patch (km)", ylabel="macro F1, classes present (%)")
        right.set(xticks=(0, 1), xticklabels=("test patches", "unseen land"), xlim=(-0.3, 1.3), ylabel="macro F1 (%)")
        for scheme, name in SCHEMES.items():
            left.plot([], [], "o-", color=COLOURS[scheme], label=name)
        left.legend(loc="lower left")


def main() -> None:
    """Run everything that is not done yet, and write the table and the picture."""
    base, page = yaml.safe_load(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    studies = [studied(configured(base, scheme, seed), scheme, seed) for seed in SEEDS for scheme in SCHEMES]
    draw(studies, page.parent / "images/splits.svg", studies[0].metrics["source"])
    head, found, rest = page.read_text().partition(START)
    if not found:
        sys.exit(f"{page} has no line {START.strip()}; expected one where the table goes")
    page.write_text(head + START + table(studies) + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
