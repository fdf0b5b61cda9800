"""Write the tables of docs/recipes.md: python docs/comparisons.py NAME RESULTS PAGE, NAME as in TABLES."""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray

from cerraseg.config.dataset import Dataset
from cerraseg.geo.cog import NO_DATA

TABLES = {
    "ablation": {
        "pixel-concat-nw-l2-baseline": "the baseline, a pixel-wise network, one seed",
        "plain-concat-nw-l2-before": "`tuned` before, U-Net with an ImageNet encoder, whole patches",
        "unet-concat-nw-l2-before": "+ a stem of full resolution beside it",
        "fullres-concat-nw-l2-whole": "`fullres` in its place",
        "fullres-concat-nw-l2-crops": "+ 16 crops of 32 pixels a step",
        "fullres-concat-nw-l2-balance": "+ crops drawn by class, share to the power of 0.3",
        "fullres-concat-nw-l2-onecycle": "+ one cycle to 5e-3",
        "fullres-concat-nw-l2-nod4": "− flips and quarter turns (D4)",
        "fullres-concat-nw-l2-smooth": "+ label smoothing, 0.1: `tuned` as it is",
    },
    "arms": {
        "fullres-concat-nw-l2-nod4": "the last row but one above",
        "fullres-concat-nw-l2-nodice": "without Dice",
        "fullres-concat-nw-l2-ema": "with the mean of the parameters, decay 0.99",
        "fullres-concat-nw-l2-smooth": "with label smoothing, 0.1",
        "fullres-concat-nw-l2-both": "with these two",
        "fullres-concat-nw-l2-radiometry": "with gain and offset by sensor, 0.1 each",
        "fullres-concat-nw-l2-drop": "with bands and sensors lost, 5 % each, one seed",
        "fullres-concat-nw-l2-paste": "with ClassMix, every second crop, two seeds",
        "fullres-concat-nw-l2-together": "with all five, one seed",
        "pixel-concat-nw-l2-baseline": "the baseline, a pixel-wise network, one seed",
    },
    "transnuseg": {
        "pixel-concat-nw-l2-baseline": "the baseline, a pixel-wise network, one seed",
        "transnuseg-concat-nw-l2-before": "`tuned` before, TransNuSeg, whole patches",
        "transnuseg-concat-nw-l2-after": "− flips and quarter turns (D4): `tuned` as it is",
        "transnuseg-concat-nw-l2-drawn": "+ patches drawn by class, share to the power of 0.3, one seed",
        "transnuseg-concat-nw-l2-cycle": "that one without, in one cycle to 3e-3, one seed",
    },
    "ensemble": {
        "fullres-concat-nw-l2-nod4": "one training, mean of three seeds",
        "seeds-concat-nw-l2-ensemble": "the three seeds' probabilities averaged",
        "pixel-concat-nw-l2-baseline": "the baseline, a pixel-wise network, one seed",
    },
    "recipes": {
        "fullres-concat-nw-l2-anywhere": "`nw`: no weighting, crops anywhere, 14 classes alone",
        "fullres-concat-w-l2-anywhere": "`w`: published class weights",
        "fullres-concat-sqrt-l2-anywhere": "`sqrt`: inverse square root of the frequency",
        "fullres-concat-effective-l2-anywhere": "`effective`: effective number of samples",
        "fullres-concat-logit-l2-anywhere": "`logit`: logit adjustment",
        "fullres-concat-focal-l2-anywhere": "`focal`: focal loss",
        "fullres-concat-rare-l2-anywhere": "`rare`: patches with rare classes more often",
        "fullres-concat-nw-l2-tuned": "`tuned` as it is: `nw`, crops drawn by class, label smoothing",
        "fullres-concat-nw-l2-hierarchical": "`nw`, one model for both levels (hierarchical)",
        "pixel-concat-nw-l2-baseline": "the baseline, a pixel-wise network, one seed",
    },
    "levels": {
        "fullres-concat-nw-l1-anywhere": "a model of its own for the 7 classes",
        "fullres-concat-nw-l2-anywhere": "the model of the 14 classes, rolled up",
        "fullres-concat-nw-l2-hierarchical": "one model for both levels",
        "pixel-concat-nw-l1-baseline": "the baseline of the 7 classes, a pixel-wise network, one seed",
    },
}
"""Table → scenario without its seed → what its row says."""

PARENTS = np.array(Dataset.of("cerradata-4mm").ancestors("l2")["l1"], np.uint8)
CHOSEN = ("ablation", "arms", "transnuseg")  # tables whose rows are chosen by their validation scores
LADDERS = ("ablation", "transnuseg")  # their rows build on each other; those of the other tables stand beside the first
RARE = 1.0  # percent of the test pixels, below which a class counts as rare


def table(name: str, results: Path) -> str:
    """Markdown: a row a scenario, mean and deviation over its seeds, with the paired comparison to another row."""
    runs, classes, pairs = (pd.read_csv(results / f"benchmark{part}.csv") for part in ("", "_classes", "_pairs"))
    rows, suffix = TABLES[name], ""
    if name == "levels":  # scores of 14 classes count as those of the 7 that hold them
        for score in ("macro_f1", "miou"):
            runs[score] = runs[f"{score}_as_l1"].fillna(runs[score])
        pairs, suffix = pairs[pairs["level"] == "as_l1"], " of the 7 classes"
    runs = runs.join(rare(classes), on="id")
    runs["name"] = runs["id"].str.rpartition("-")[0]
    pairs = pairs.replace(dict(zip(runs["id"], runs["name"], strict=True)))  # of one seed, they have the id
    runs = runs[runs["name"].isin(rows)].copy()
    if name == "levels":
        runs["apart"] = [100 * contradicting(results / "scenarios", id_) for id_ in runs["id"]]
    columns = {"macro_f1": f"macro F1{suffix}", "miou": f"mIoU{suffix}"}
    columns |= {"rare": f"F1 of classes below {RARE:g} %"} if name == "recipes" else {}
    if name in CHOSEN:
        runs["validation"] = [validation(results / "histories" / f"{id_}.csv") for id_ in runs["id"]]
        columns = {"validation": "validation: macro F1"} | columns
    columns |= {"accuracy": "accuracy"} if name != "levels" else {"apart": "pixels that contradict the map of 7"}
    epochs = int(runs.loc[runs["recipe"] != "baseline", "epochs"].max())
    seeds = runs.loc[runs["seed"] > 0, "seed"].nunique()  # an ensemble has the seed 0
    before = "the row above" if name in LADDERS else "the first row"
    lines = [
        f"Data: **{runs['source'].iloc[0]}**, {runs['patches'].iloc[0]} test patches, {seeds} seeds (mean ± standard "
        f"deviation), {epochs} epochs. Percent; differences to {before} in points.",
        "",
        f"| what | {' | '.join(columns.values())} | Δ macro F1 [95 %] | p (Holm) |",
        f"|---|{'--:|' * (len(columns) + 2)}",
    ]
    scores = runs.groupby("name")[list(columns)].agg(["mean", "std"])
    other = ""
    for scenario, what in rows.items():
        pairs_of = scores.loc[scenario].to_numpy().reshape(-1, 2)
        cells = [
            "–" if np.isnan(mean) else f"{mean:.2f}" + f" ± {std:.2f}" * (not np.isnan(std)) for mean, std in pairs_of
        ]
        lines.append(f"| {what} | {' | '.join(cells)} | {change(pairs, scenario, other)} |")
        other = scenario if name in LADDERS else other or scenario
    return "\n".join(lines) + "\n"


def validation(history: Path) -> float:
    """Macro F1 in percent of the epoch that was kept, before calibration."""
    epochs = pd.read_csv(history)
    return 100 * float(epochs.loc[epochs["selected"], "val_macro_f1"].iloc[-1])


def contradicting(scenarios: Path, id_: str) -> float:
    """Share of a map of 14 classes whose class lies in another of the 7 than the map of these says, at the same pixel.

    The latter is the scenario's own where it wrote one, else that of the model for 7 classes with the same seed.
    """
    if "-l2-" not in id_:
        return float("nan")
    folder = scenarios / id_
    own = sorted(folder.glob("mosaic/l1_*.tif"))
    if own:
        coarse, fine = pixels(own), pixels(folder / "mosaic" / path.name.replace("l1_", "prediction_") for path in own)
    else:
        coarse, fine = (np.load(path / "prediction.npy") for path in (scenarios / id_.replace("-l2-", "-l1-"), folder))
    return float((PARENTS[fine] != coarse).mean())


def pixels(maps: Iterable[Path]) -> NDArray[np.uint8]:
    """Class ids of all pixels with data."""
    read = [rasterio.open(path).read(1) for path in maps]
    return np.concatenate([classes[classes != NO_DATA] for classes in read])


def rare(classes: pd.DataFrame) -> "pd.Series[float]":
    """Scenario → mean F1 of the classes that have pixels, but few, in the test patches."""
    share = 100 * classes["support"] / classes.groupby("id")["support"].transform("sum")
    return classes[(share > 0) & (share < RARE)].groupby("id")["f1"].mean().rename("rare")


def change(pairs: pd.DataFrame, scenario: str, other: str) -> str:
    """Difference of a scenario to another, with its interval and p-value."""
    for sign, first, second in ((1, scenario, other), (-1, other, scenario)):
        for row in pairs[(pairs["first"] == first) & (pairs["second"] == second)].itertuples():
            low, high = sorted((sign * row.low, sign * row.high))
            return f"{sign * row.difference:+.2f} [{low:+.2f}, {high:+.2f}] | {row.p_holm:.4f}"
    return "– | –"


if __name__ == "__main__":
    name, results, page = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    start, end = f"<!-- table: {name} -->\n", "<!-- end of table -->"
    head, found, rest = page.read_text().partition(start)
    if not found:
        sys.exit(f"{page} has no line {start.strip()}; expected one where the table goes")
    page.write_text(head + start + table(name, results) + end + rest.partition(end)[2])
