"""Time the whole benchmark table of a full run: 24 scenarios × 3 seeds, scored on 3,028 patches of 128 × 128 pixels.

Usage: python tests/benchmarks/bench_benchmark.py [patches] [seeds]
Counts are simulated: patches differ in their classes, scenarios in how often they are right. Collecting, the pairs, the
classes, all writers and the chart run in a process of their own; its time without imports and its peak memory count.
The peer is a plain loop that draws whole patches again and scores each draw with ``metrics.compute_scores``, for the
same intervals and pairs: a few draws are timed and scaled up, which is said beside the number.
"""

import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
from reporting import measured, result, row

from cerraseg.config.scenario import Scenario
from cerraseg.core.taxonomy import LEVELS
from cerraseg.evaluation import benchmark, bootstrap, metrics, score_files
from cerraseg.report import charts
from cerraseg.report.benchmark import tables

PAPER = Path(__file__).parents[2] / "reference" / "paper_scores.csv"
PIXELS = 128 * 128
SIMULATED = "simulated counts"
PEER_DRAWS = 10


def confusions(patches: int, classes: int, right: float, random: np.random.Generator) -> np.ndarray:
    """Counts ``(patches, classes, classes)``: each patch holds its own mix of classes, each class its own hit rate."""
    shares = random.dirichlet(np.full(classes, 0.1), patches)
    truth = random.multinomial(PIXELS, shares)
    rates = np.full((classes, classes), (1 - right) / (classes - 1))
    np.fill_diagonal(rates, right)
    return np.stack([random.multinomial(truth[:, row], rates[row]) for row in range(classes)], axis=1).astype(np.uint16)


def simulate(folder: Path, patches: int, seeds: int) -> list[Path]:
    """The evaluations of 24 scenarios × ``seeds``, as the workflow leaves them."""
    ids, files = [str(10_000 + patch) for patch in range(patches)], []
    crossed = product(("unet", "transnuseg"), ("msi", "sar", "concat"), ("nw", "w"), LEVELS, range(1, seeds + 1))
    for place, (model, modality, weighting, level, seed) in enumerate(crossed):
        scenario = Scenario(model, modality, weighting, level, "paper", seed)
        counts = confusions(patches, len(LEVELS[level]), 0.5 + place / 250, np.random.default_rng(seed))
        info = {"scenario": {"id": scenario.id, **vars(scenario)}, "source": SIMULATED, "patches": patches}
        score_files.write_scores(folder / scenario.id, counts, ids, LEVELS[level], info)
        files.append(folder / scenario.id / "metrics.json")
    return files


def table(folder: Path) -> None:
    """What the step ``benchmark`` of the workflow does."""
    start = time.perf_counter()
    files = sorted(folder.glob("*/metrics.json"))
    labels = {"title": "Benchmark", "source": SIMULATED}
    rows = benchmark.collect(files, PAPER, comparable=False)
    classes, pairs = benchmark.per_class(files), benchmark.pairs(files)
    tables.write_csv(rows, folder / "benchmark.csv")
    tables.write_csv(classes, folder / "benchmark_classes.csv")
    tables.write_csv(pairs, folder / "benchmark_pairs.csv")
    tables.write_markdown(rows, classes, pairs, folder / "benchmark.md", **labels)
    tables.write_latex(rows, folder / "benchmark.tex", **labels)
    charts.benchmark_bars(rows, folder / "benchmark.svg", **labels)
    result(seconds=time.perf_counter() - start, pairs=len(pairs))


def loop(files: list[Path]) -> float:
    """Seconds a draw: one index list, then each scenario's patches are gathered, summed and scored."""
    counts = [score_files.read_patches(file.with_name("patches.npz"))[1] for file in files]
    random = np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(PEER_DRAWS):
        drawn = random.integers(0, len(counts[0]), len(counts[0]))
        for each in counts:
            metrics.compute_scores(each[drawn].sum(axis=0, dtype=np.int64))
            if each.shape[1] == len(LEVELS["l2"]):
                metrics.compute_scores(benchmark.roll_up(each[drawn].sum(axis=0, dtype=np.int64)))
    return (time.perf_counter() - start) / PEER_DRAWS


def main() -> None:
    if sys.argv[1:2] == ["--table"]:
        return table(Path(sys.argv[2]))
    patches, seeds = (int(given) for given in [*sys.argv[1:], *("3028", "3")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        files = simulate(Path(name), patches, seeds)
        print(f"{len(files)} evaluations simulated and scored, with intervals: {time.perf_counter() - start:.1f} s")
        ours = measured(__file__, "--table", name)
        draws = bootstrap.draws_for(24 * 23 // 2)
        whole = loop(files) * draws
        what = (
            f"tables and chart of 24 scenarios × {seeds} seeds, {patches:,} test patches: 276 paired comparisons on "
            f"{draws:,} draws"
        )
        words = f"the draws alone, in a loop with numpy: {whole:,.0f} s, scaled from {PEER_DRAWS}"
        row(what, f"{ours['seconds']:.1f} s, {ours['peak']:.0f} MB", words, whole / ours["seconds"])


if __name__ == "__main__":
    main()
