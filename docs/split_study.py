"""Compare folds of patches with folds of blocks, on several landscapes: python docs/split_study.py CONFIG PAGE."""

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from cerraseg.evaluation import score_files
from cerraseg.evaluation.bootstrap import Comparison, compare_all
from cerraseg.report import figures

SIDES = {"random": 1.28, "blocks": 12.8}
"""Name of a split → side of its blocks in km: that of a patch, so that each is a block, and ten times that."""

SEEDS = (1, 2, 3)  # of the landscape
COLOURS = {"random": "#D55E00", "blocks": "#0072B2"}
FEWEST = 10  # patches of a bin that is shown
START, END = "<!-- table: make splits -->\n", "<!-- end of table -->"


class Study(NamedTuple):
    """What a scenario's folds say together: metrics, counts (patches, classes, classes), the baseline's metrics."""

    metrics: dict[str, Any]
    confusions: NDArray[np.integer]
    baseline: dict[str, Any]

    @property
    def macro_f1(self) -> float:
        """Macro F1 in percent."""
        return 100 * float(self.metrics["scores"]["macro_f1"])

    def by_distance(self) -> tuple[list[float], list[float]]:
        """Middle of each bin of distance to the nearest training patch in km, and its macro F1 in percent."""
        bins = self.metrics["leakage"]["by_distance"]
        bins = [part for part in bins if part["patches"] >= FEWEST]
        return [(part["from"] + part["to"]) / 2000 for part in bins], [100 * part["macro_f1_present"] for part in bins]


Studies = dict[tuple[int, str], Study]
"""Seed of the landscape and name of the split → what came out."""


def configured(base: dict[str, Any], seed: int, split: str) -> dict[str, Any]:
    """The configuration with another landscape and size of blocks, everything else equal."""
    config = deepcopy(base)
    config["results"] += f"/{split}-{seed}"
    config["simulate"] |= {"folder": f"{config['simulate']['folder']}-{seed}", "seed": seed}
    config["split"]["block_km"] = SIDES[split]
    return config


def studied(config: dict[str, Any]) -> Study:
    """Run the workflow on a configuration, and read the scores of its one scenario and of its baseline."""
    results = Path(config["results"])
    results.mkdir(parents=True, exist_ok=True)
    file = results / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "--cores", "all", "--configfile", str(file)]
    subprocess.run(command, check=True)
    files = {file.parent.name.partition("-")[0]: file for file in results.glob("scores/*/metrics.json")}
    scenario, baseline = (files[model] for model in (config["scenarios"]["models"][0], "pixel"))
    scores, of_baseline = (json.loads(file.read_text()) for file in (scenario, baseline))
    return Study(scores, score_files.read_patches(scenario.with_name("patches.npz"))[1], of_baseline)


def gaps(studies: Studies) -> list[Comparison]:
    """Random folds minus blocks for each landscape, paired by patch, as fractions."""
    entrants = {key: [study.confusions] for key, study in studies.items()}
    return compare_all(entrants, [((seed, "random"), (seed, "blocks")) for seed in SEEDS])


def table(studies: Studies, epochs: int) -> str:
    """Markdown: a row a landscape and split, then the mean gap."""
    first = next(iter(studies.values())).metrics
    lines = [
        f"Data: **{first['source']}**, {len(SEEDS)} landscapes, `{first['scenario']['id'].rpartition('-')[0]}`, "
        f"{epochs} epochs, {first['patches']} patches, each tested by the one of four models that "
        "has not seen its fold. Macro F1 in percent.",
        "",
        "| landscape | folds of | touch a training patch | median distance | macro F1 [95 %] | of the baseline "
        "| of the nearest patches | of the farthest | random − blocks [95 %], paired |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    compared = dict(zip(SEEDS, gaps(studies), strict=True))
    for (seed, split), study in studies.items():
        leakage, (_, f1) = study.metrics["leakage"], study.by_distance()
        low, high = (100 * end for end in study.metrics["intervals"]["macro_f1"])
        difference, least, most = (100 * value for value in compared[seed][:3])
        gap = f"{difference:+.2f} [{least:+.2f}, {most:+.2f}]" if split == "random" else ""
        lines.append(
            f"| {seed} | {split} | {100 * leakage['touching']:.0f} % | {leakage['median_metres']:,.0f} m | "
            f"{study.macro_f1:.2f} [{low:.2f}, {high:.2f}] | {100 * study.baseline['scores']['macro_f1']:.2f} | "
            f"{f1[0]:.2f} | {f1[-1]:.2f} | {gap} |"
        )
    differences = [100 * gap.difference for gap in compared.values()]
    lines += [
        "",
        f"Random − blocks over the landscapes: {np.mean(differences):+.2f} ± {np.std(differences, ddof=1):.2f}.",
    ]
    return "\n".join(lines) + "\n"


def draw(studies: Studies, path: Path) -> None:
    """Left, scores by distance to the nearest training patch; right, the scores of all patches."""
    source = next(iter(studies.values())).metrics["source"]
    with figures.drawn(path, "The same patches, tested in random folds and in blocks", source, (9, 3.6)) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2), sharey=True)
        for (_, split), study in studies.items():
            left.plot(*study.by_distance(), "o-", color=COLOURS[split], markersize=4, linewidth=0.9)
        for seed in SEEDS:
            ends = [studies[seed, split].macro_f1 for split in SIDES]
            right.plot(range(len(SIDES)), ends, "o-", color="#555555", markersize=4, linewidth=0.9)
        left.set(xlabel="distance to the nearest training patch (km)", ylabel="macro F1 (%)")
        right.set(xticks=range(len(SIDES)), xticklabels=SIDES, xlim=(-0.3, len(SIDES) - 0.7))
        right.set_xlabel("folds of")
        for split, colour in COLOURS.items():
            left.plot([], [], "o-", color=colour, label=split)
        left.legend(loc="lower left")


def main() -> None:
    """Run everything that is not done yet, and write the table and the picture."""
    base, page = yaml.safe_load(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    studies = {(seed, split): studied(configured(base, seed, split)) for seed in SEEDS for split in SIDES}
    draw(studies, page.parent / "images/splits.svg")
    head, found, rest = page.read_text().partition(START)
    if not found:
        sys.exit(f"{page} has no line {START.strip()}; expected one where the table goes")
    page.write_text(head + START + table(studies, base["training"]["epochs"]) + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
