"""Write the table of docs/recipes.md from the results of config/ablation.yaml: python docs/ablation.py RESULTS PAGE."""

import sys
from pathlib import Path

import pandas as pd

STEPS = {
    "paper": "the published recipe",
    "logits": "logits into the cross-entropy, softmax once",
    "zscore": "+ z-score per band",
    "d4": "+ flips and quarter turns (D4)",
    "schedule": "+ warm-up and cosine schedule",
    "tuned": "`tuned`: + AdamW at 2e-3, Dice, no rollback, selection on macro F1, pixel mean",
}
START, END = "<!-- table: make ablation -->\n", "<!-- end of table -->"


def table(results: Path) -> str:
    """Markdown: a row a step, with the paired comparison to the step before."""
    runs = pd.read_csv(results / "benchmark.csv")
    pairs = pd.read_csv(results / "benchmark_pairs.csv")
    scores = runs.groupby("recipe")[["macro_f1", "miou", "accuracy"]].agg(["mean", "std"])
    seeds, patches, source = runs["seed"].nunique(), runs["patches"].iloc[0], runs["source"].iloc[0]
    lines = [
        f"Data: **{source}**, {patches} test patches, {seeds} seeds (mean ± standard deviation), "
        f"{runs['epochs'].max()} epochs. Percent; differences to the row above in points.",
        "",
        "| recipe | macro F1 | mIoU | accuracy | Δ macro F1 [95 % over patches] | p (Holm) |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    before = ""
    for recipe, what in STEPS.items():
        cells = [f"{mean:.2f} ± {std:.2f}" for mean, std in scores.loc[recipe].to_numpy().reshape(-1, 2)]
        lines.append(f"| {what} | {' | '.join(cells)} | {change(pairs, recipe, before)} |")
        before = recipe
    return "\n".join(lines) + "\n"


def change(pairs: pd.DataFrame, recipe: str, before: str) -> str:
    """Difference to the step before, with its interval and p-value."""
    for sign, first, second in ((1, recipe, before), (-1, before, recipe)):
        found = pairs[pairs["first"].str.endswith(f"-{first}") & pairs["second"].str.endswith(f"-{second}")]
        for row in found.itertuples():
            low, high = sorted((sign * row.low, sign * row.high))
            return f"{sign * row.difference:+.2f} [{low:+.2f}, {high:+.2f}] | {row.p_holm:.4f}"
    return "– | –"


if __name__ == "__main__":
    page = Path(sys.argv[2])
    head, _, rest = page.read_text().partition(START)
    page.write_text(head + START + table(Path(sys.argv[1])) + END + rest.partition(END)[2])
