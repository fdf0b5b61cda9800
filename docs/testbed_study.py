"""The test bed: its classifiers, its knobs, and score by training time: python docs/testbed_study.py CONFIG PAGE.

CONFIG is config/ablation.yaml, whose results are there already.
"""

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from cerraseg.report import figures

RARE = 1.0  # percent of the test pixels, below which a class counts as rare
NETS = {
    "r50": "U-Net, ResNet-50",
    "transnuseg": "TransNuSeg, 48 channels",
    "fullres": "`fullres`, as `tuned` trains it",
}
BASELINES = {"gaussian": "maximum likelihood", "pixel": "the baseline, a pixel-wise network"}
KNOBS: dict[str, list[Any]] = {
    "rarity": ["even", "published"],
    "label_noise": [0, 1, 2],
    "spectral": [0, 0.03, 0.1],
    "texture": [0.1, 0.2, 0.4],
    "gain": [0, 0.08, 0.2],
    "haze": [0, 0.01, 0.05],
    "looks": [1, 4, 16],
    "drift": [0, 0.25, 0.5],
}
USUAL = {knob: values[1] for knob, values in KNOBS.items()} | {"rarity": "even", "spectral": 0, "drift": 0}
LINES = {"labels": ("#009E73", "labels"), "pixel": ("#0072B2", "single pixels"), "baseline": ("#D55E00", "baseline")}
CURVES = {
    "fullres-concat-nw-l2-smooth": ("#009E73", "fullres, crops (tuned)"),
    "r50-concat-nw-l2-after": ("#CC79A7", "U-Net, ResNet-50, whole patches"),
    "plain-concat-nw-l2-before": ("#0072B2", "U-Net, MobileNet, whole patches (tuned before)"),
    "transnuseg-concat-nw-l2-after": ("#E69F00", "TransNuSeg, whole patches"),
    "pixel-concat-nw-l2-baseline": ("#D55E00", "baseline"),
}
START, END = "<!-- table: make testbed -->\n", "<!-- end of table -->"


def run(config: dict[str, Any], *targets: str) -> Path:
    """Run the workflow on a configuration; the folder of its results."""
    results = Path(config["results"])
    results.mkdir(parents=True, exist_ok=True)
    file = results / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    wanted = [str(results / target) for target in targets]
    command = [sys.executable, "-m", "snakemake", "--cores", "all", *wanted, "--configfile", str(file)]
    subprocess.run(command, check=True)
    return results


def published(base: dict[str, Any]) -> dict[str, Any]:
    """The configuration at published rarity, of the baselines and the networks as they are trained best."""
    config = deepcopy(base) | {"results": "results-testbed/published", "scenes": [], "ensembles": {}}
    extra = [one for one in base["scenarios"]["extra"] if "-after-" in one]
    config["simulate"] |= {"folder": "data/simulated-published", "rarity": "published"}
    config["scenarios"] |= {"recipes": ["smooth"], "extra": extra}
    return config


def with_knob(base: dict[str, Any], knob: str, value: Any) -> dict[str, Any]:
    """The configuration of the baseline alone, with one knob of the landscape turned."""
    name = f"{knob}-{value}" if value != USUAL[knob] else "usual"
    config = deepcopy(base) | {"results": f"results-testbed/{name}", "scenes": [], "ensembles": {}}
    config["simulate"] |= {"folder": f"data/simulated-testbed/{name}", "patches": 200, knob: value}
    config["baselines"] = []
    config["scenarios"] |= {"models": ["pixel"], "recipes": ["baseline"], "seeds": [1], "extra": []}
    return config


def ceiling(config: dict[str, Any], which: str) -> float:
    """Macro F1 of L2 in percent that a land allows, see docs/simulation.md."""
    return float(
        json.loads((Path(config["simulate"]["folder"]) / "cerradata_4mm/ceiling.json").read_text())[which]["l2"]
    )


def table(configs: dict[str, dict[str, Any]]) -> str:
    """Markdown: a row a classifier; for each rarity macro F1, of all classes and of those that are not rare."""
    rows: dict[str, list[str]] = {}
    for config in configs.values():
        results = Path(config["results"])
        runs, classes = (pd.read_csv(results / f"benchmark{part}.csv") for part in ("", "_classes"))
        runs["common"] = runs["id"].map(common(classes))
        rows.setdefault("ceiling of single pixels", []).extend([f"{ceiling(config, 'pixel'):.1f}", "–"])
        kept = runs[runs["recipe"].isin(["baseline", "after", "smooth"])]
        scores = kept.groupby("model")[["macro_f1", "common"]].agg(["mean", "std"])
        for model, what in (BASELINES | NETS).items():
            cells = scores.reindex([model]).to_numpy().reshape(-1, 2)
            row = [
                "–" if np.isnan(mean) else f"{mean:.1f}" + f" ± {std:.1f}" * (not np.isnan(std)) for mean, std in cells
            ]
            rows.setdefault(what, []).extend(row)
        rows.setdefault("the labels to train with", []).extend([f"{ceiling(config, 'labels'):.1f}", "–"])
    lines = [
        f"Data: **{runs['source'].iloc[0]}**, 14 classes, {runs['patches'].iloc[0]} test patches, networks with "
        f"three seeds (mean ± standard deviation), {runs['epochs'].max()} epochs. Macro F1 in percent.",
        "",
        f"| what | {' | '.join(f'{name}: all classes | of {RARE:g} % and more' for name in configs)} |",
        f"|---|{'--:|--:|' * len(configs)}",
        *(f"| {what} | {' | '.join(cells)} |" for what, cells in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def common(classes: pd.DataFrame) -> "pd.Series[float]":
    """Scenario → mean F1 of the classes with at least :data:`RARE` percent of its test pixels."""
    share = 100 * classes["support"] / classes.groupby("id")["support"].transform("sum")
    found: pd.Series[float] = classes[share >= RARE].groupby("id")["f1"].mean()
    return found


def reached(config: dict[str, Any]) -> dict[str, float]:
    """Macro F1 of L2 in percent on a land: both ceilings and the baseline's."""
    runs = pd.read_csv(run(config, "benchmark.csv") / "benchmark.csv").set_index("model")
    return {name: ceiling(config, name) for name in ("labels", "pixel")} | {"baseline": runs["macro_f1"]["pixel"]}


def draw_knobs(base: dict[str, Any], path: Path) -> None:
    """A panel a knob: both ceilings and the baseline by its value, all others as they are by default."""
    with figures.drawn(path, "What each knob of the landscape does", "simulated landscape", (9, 4.6)) as figure:
        panels = figure.subplots(2, 4, sharey=True)
        for panel, (knob, values) in zip(panels.flat, KNOBS.items(), strict=True):
            found = [reached(with_knob(base, knob, value)) for value in values]
            for name, (colour, what) in LINES.items():
                panel.plot(
                    range(len(values)),
                    [one[name] for one in found],
                    "o-",
                    color=colour,
                    label=what,
                    markersize=4,
                    linewidth=0.9,
                )
            usual = values.index(USUAL[knob])
            labels = [f"{value}*" if place == usual else f"{value}" for place, value in enumerate(values)]
            panel.set_xticks(range(len(values)), labels)
            panel.set(title=knob, ylim=(0, 100))
        for panel in panels[:, 0]:
            panel.set_ylabel("macro F1, L2 (%)")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def draw_times(results: Path, path: Path) -> None:
    """Validation score by the CPU time of the training, three seeds; epochs of a training take equal time."""
    with figures.drawn(path, "Score by training time", "simulated landscape", (7, 4)) as figure:
        axes = figure.subplots()
        for name, (colour, what) in CURVES.items():
            for number, file in enumerate(sorted((results / "histories").glob(f"{name}-*.csv"))):
                seconds = pd.read_csv(results / f"timings/train/{file.stem}.tsv", sep="\t")["cpu_time"].item()
                scores = 100 * pd.read_csv(file)["val_macro_f1"].to_numpy()
                times = [seconds * (epoch + 1) / len(scores) for epoch in range(len(scores))]
                if "pixel" in name:
                    times, scores = times[-1:], scores[-1:]
                    axes.axhline(scores[-1], color=colour, linewidth=0.7, linestyle="--")
                axes.plot(
                    times, scores, "o-", color=colour, label=what if not number else None, markersize=3, linewidth=0.9
                )
        axes.set_xscale("log")
        axes.set(xlabel="CPU seconds of one core, start included", ylabel="validation macro F1, L2 (%)", ylim=(0, 100))
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def main() -> None:
    """Run what is missing; write the table into the page and the pictures beside it."""
    base, page = yaml.safe_load(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    head, start, rest = page.read_text().partition(START)
    if not start:
        sys.exit(f"{page} has no line {START.strip()}; expected one where the table goes")
    draw_times(Path(base["results"]), page.parent / "images/training_time.svg")
    draw_knobs(base, page.parent / "images/knobs.svg")
    configs = {"even": base, "published": published(base)}
    run(configs["published"], "benchmark.csv")
    page.write_text(head + START + table(configs) + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
