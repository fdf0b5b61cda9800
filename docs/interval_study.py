"""Simulate what bootstrap intervals cover: python docs/interval_study.py PAGE."""

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.core.layout import SOURCE
from cerraseg.evaluation import bootstrap, score_files

Vector = NDArray[np.float64]

LEVELS = ("l1", "l2")
MATRICES = SOURCE / "reference/confusion_matrices"
PIXELS = 128 * 128
COVER = 0.05  # mean share of a patch that a rare class takes where it is
SPREAD = 1.0  # of logarithms: a class's share of a patch, the odds of its pixels to be found
OWN = 0.6  # part of that spread which each of the two models has alone
ALIKE = 0.5  # part of each variance that patches of a group share
SIZE = 8  # patches of a group
SETS = 400  # simulated test parts of a case and level
POPULATION = 320_000  # patches that the true scores are of
STATISTICS = ("macro F1", "accuracy", "difference")
METHODS = ("percentile", "BCa", "BCa, Student's t")
START, END = "<!-- table: make intervals -->\n", "<!-- end of table -->"


class Case(NamedTuple):
    """What is drawn anew, how many of them a test part has, patches of each group, and what part of them is alike."""

    drawn: str
    units: int
    size: int = 1
    alike: float = 0.0

    @property
    def groups(self) -> int:
        """Groups of a test part."""
        return self.units // self.size if self.drawn == "patches of groups" else self.units

    @property
    def patches(self) -> int:
        """Patches of a test part."""
        return self.groups * self.size


CASES = (
    *(Case("patches", units) for units in (40, 100, 300, 1000, 3000)),
    *(Case("patches of groups", units, SIZE, ALIKE) for units in (40, 304, 3000)),
    *(Case("groups", units, SIZE, ALIKE) for units in (5, 10, 20, 38, 50, 100, 375)),
)


def landscape(level: str) -> list[Vector]:
    """Published counts of two models, in pixels of each true class (rows) and predicted one."""
    files = (MATRICES / f"{model}_concat_w_{level}.csv" for model in ("unet", "transnuseg"))
    return [score_files.read_confusion(file).astype(np.float64) for file in files]


def patches(random: np.random.Generator, models: list[Vector], sets: int, case: Case) -> list[Vector]:
    """Margins (:func:`bootstrap.margins`) of the models on the same patches, each (sets, groups, size, 2 × classes).

    A class is in a patch where a normal variable is below its chance, so rare ones are in few patches and, alike in
    groups, in few groups. Its share of the patch and the odds that its pixels are found vary by a normal factor.
    """
    classes = len(models[0])

    def effect() -> Vector:
        shared = random.standard_normal((sets, case.groups, 1, classes))
        alone = random.standard_normal((sets, case.groups, case.size, classes))
        return np.sqrt(case.alike) * shared + np.sqrt(1 - case.alike) * alone

    share = models[0].sum(axis=1) / models[0].sum()
    chance = np.minimum(share / COVER, 1 - 1e-9)
    below = np.array([NormalDist().inv_cdf(each) for each in chance])
    truth = (effect() < below) * share / chance * np.exp(SPREAD * effect())
    truth *= PIXELS / np.maximum(truth.sum(axis=-1, keepdims=True), 1e-9)
    common, found = SPREAD * effect(), []
    for counts in models:
        rates = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
        odds = rates.diagonal() / (1 - rates.diagonal())
        odds = odds * np.exp(np.sqrt(1 - OWN**2) * common + OWN * SPREAD * effect())
        hits = truth * odds / (1 + odds)
        others = np.where(np.eye(classes, dtype=bool), 0, rates)
        wrong = (truth - hits) @ (others / others.sum(axis=1, keepdims=True))
        found.append(np.round(np.concatenate([hits, truth + hits + wrong], axis=-1)))
    return found


def statistics(both: Vector) -> Vector:
    """The :data:`STATISTICS` (n, 3) from sums of the margins of both models, side by side (n, 4 × classes)."""
    one, other = (bootstrap.scores(sums) for sums in np.split(both, 2, axis=1))
    return np.stack([one[:, 0], one[:, 2], one[:, 0] - other[:, 0]], axis=1)


def truth_of(level: str) -> Vector:
    """The true :data:`STATISTICS` of a level's population, (3,)."""
    random, models, part = np.random.default_rng(1), landscape(level), Case("patches", 4000)
    total = sum(
        np.concatenate(patches(random, models, 1, part), axis=-1).sum(axis=(0, 1, 2))
        for _ in range(POPULATION // part.units)
    )
    return statistics(np.asarray(total)[None])[0]


def test_parts(level: str, case: Case, sets: int, seed: int = 2) -> Iterator[Vector]:
    """Margins of both models on the units of so many test parts, each (units, 4 × classes)."""
    random, models = np.random.default_rng(seed), landscape(level)
    for _ in range(sets):
        both = np.concatenate(patches(random, models, 1, case), axis=-1)[0]
        yield both.sum(axis=1) if case.drawn == "groups" else both.reshape(case.patches, -1)


def covered(level: str, case: Case, sets: int, truth: Vector) -> Vector:
    """Share of the intervals of each of the :data:`METHODS` that hold the truth, (methods, statistics)."""
    hits = np.zeros((len(METHODS), len(STATISTICS)))
    times = np.concatenate(list(bootstrap.times_drawn(case.units)))
    for units in test_parts(level, case, sets):
        total = units.sum(axis=0)
        value, left_out = statistics(total[None])[0], statistics(total - units)
        drawn = statistics(times @ units)
        for method, (low, high) in enumerate(
            (
                bootstrap.interval(drawn),
                bootstrap.bca(drawn, value, left_out, 1.96),
                bootstrap.bca(drawn, value, left_out, bootstrap.reach(len(units))),
            )
        ):
            hits[method] += (low <= truth) & (truth <= high)
    return hits / sets


def table(found: dict[Case, dict[str, Vector]]) -> str:
    """Markdown: a row a case, with the coverage of macro F1 at each level, then of the others at both."""
    heads = [f"{name}, {level.upper()}" for level in LEVELS for name in METHODS]
    heads += [f"{statistic}: {name}" for statistic in STATISTICS[1:] for name in METHODS]
    lines = [
        f"| drawn | units | patches | {' | '.join(heads)} |",
        f"|---|--:|--:|{'--:|' * len(heads)}",
    ]
    for case, levels in found.items():
        shares = [share for level in LEVELS for share in levels[level][:, 0]]
        shares += [share for which in (1, 2) for share in np.mean([*levels.values()], axis=0)[:, which]]
        cells = " | ".join(f"{100 * share:.1f}" for share in shares)
        lines.append(f"| {case.drawn} | {case.units:,} | {case.patches:,} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate all cases, and write the table and what the package reads."""
    page = Path(sys.argv[1])
    head, start, rest = page.read_text().partition(START)
    if not start:
        sys.exit(f"{page} has no line {START.strip()}; expected one where the table goes")
    truth = {level: truth_of(level) for level in LEVELS}
    found = {}
    for case in CASES:
        found[case] = {level: covered(level, case, SETS, truth[level]) for level in LEVELS}
        print(case, {level: shares.round(3).tolist() for level, shares in found[case].items()}, flush=True)
    rows = [
        (case.drawn, case.units, round(float(np.mean([levels[level][-1, 0] for level in LEVELS])), 3))
        for case, levels in found.items()
    ]
    shares = pd.DataFrame(rows, columns=["drawn", "units", "macro_f1"])
    shares.to_csv(bootstrap.COVERAGE, index=False, lineterminator="\n")
    page.write_text(head + START + table(found) + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
