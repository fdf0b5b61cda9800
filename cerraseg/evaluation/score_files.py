"""The files of a scenario's scores: written by the evaluation, read by tables and figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import LandCover
from cerraseg.evaluation import bootstrap
from cerraseg.evaluation.metrics import Counts, Scores, compute_scores

RULE = (
    "Counts over all labelled pixels of the test patches. macro_f1, macro_precision, macro_recall and miou are plain "
    "means over all classes of the level, with 0 for a class never predicted or absent (the published rule); "
    "macro_f1_present and miou_present are means over the classes present in the truth; weighted_f1 weighs each class "
    "by its true pixels. intervals are 95 % bootstrap intervals (BCa) over what resampled names, patches or groups of "
    "the split, of which coverage held the true macro F1 in simulation. Fractions from 0 to 1."
)
"""The averaging rule, written into every ``metrics.json``."""

HEADLINES = ("accuracy", "macro_f1", "miou", "kappa")
"""The scores that the published benchmark gives."""


def write_scores(
    folder: Path,
    confusions: ArrayLike,
    ids: Sequence[str],
    classes: Sequence[LandCover],
    info: Mapping[str, object],
    groups: Sequence[str] | None = None,
) -> Scores:
    """Score patches; write ``metrics.json``, ``patches.npz``, ``classes.csv`` and ``confusion.csv``.

    The same input gives the same bytes.

    Args:
        folder: where the files go.
        confusions: counts ``(N, classes, classes)`` of the patches, see :func:`patch_confusions`.
        ids: the patches' ids.
        classes: legend of the scenario's level.
        info: facts for the JSON: ``scenario`` (id, model, modality, weighting, level, recipe, seed), ``source`` (label
            of the data), ``patches`` (how many were scored), and as known ``training`` (``epochs``), ``edges`` (scores
            by tolerance in pixels) and ``leakage``. Added are ``pixels``, ``rule``, ``scores``, ``intervals`` (95 %;
            null of a single unit), ``resampled`` (over which ``units`` they are, how many, and their simulated
            ``coverage``) and ``classes``.
        groups: the split's group of each patch, over which intervals are drawn; None: over patches.

    Raises:
        DataError: if no pixel has a label.
        ValueError: if ``info`` holds NaN, which JSON has not.
    """
    counts = np.asarray(confusions)
    matrix = counts.sum(axis=0)
    result, units = compute_scores(matrix), bootstrap.by_group(counts, groups)
    drawn = "patches" if groups is None else "groups"
    facts = {
        **info,
        "pixels": int(result.support.sum()),
        "rule": RULE,
        "scores": result.summary(),
        "intervals": bootstrap.score_intervals(units),
        "resampled": {"units": drawn, "count": len(units), "coverage": bootstrap.coverage(drawn, len(units))},
        "classes": result.by_class(classes),
    }
    text = json.dumps(facts, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    ids_of_classes = [entry.id for entry in classes]
    confusion = pd.DataFrame(matrix, ids_of_classes, ids_of_classes).rename_axis("Class").reset_index()
    for name, table in (("classes", pd.DataFrame(result.by_class(classes))), ("confusion", confusion)):
        with atomic_write(folder / f"{name}.csv") as part:
            table.to_csv(part, index=False, lineterminator="\n")
    with atomic_write(folder / "patches.npz") as part:
        named = {"ids": ids} if groups is None else {"ids": ids, "groups": groups}
        texts: dict[str, Any] = {name: np.asarray(values, dtype=np.str_) for name, values in named.items()}
        np.savez_compressed(part, confusion=counts, **texts)
    with atomic_write(folder / "metrics.json") as part:
        part.write_text(text, encoding="utf-8")
    return result


def write_headlines(path: Path, result: Scores) -> None:
    """Write the :data:`HEADLINES` among the scores as JSON, for tools that compare runs."""
    summary = {name: value for name, value in result.summary().items() if name in HEADLINES}
    with atomic_write(path) as part:
        part.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read the ``metrics.json`` of a folder of scores."""
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))


def read_patches(path: str | Path) -> tuple[NDArray[np.str_], NDArray[np.integer]]:
    """Read the ids ``(N,)`` and counts ``(N, classes, classes)`` of a ``patches.npz``."""
    with np.load(path) as file:
        return file["ids"], file["confusion"]


def read_units(path: str | Path) -> tuple[NDArray[np.str_], NDArray[np.integer]]:
    """Read from a ``patches.npz`` what intervals are drawn over: counts ``(N, classes, classes)`` of groups or patches.

    First come the sorted ids, each with its group where there are groups: units of the same names are paired.
    """
    with np.load(path) as file:
        order = np.argsort(file["ids"])
        names, counts = file["ids"][order], file["confusion"][order]
        groups = file["groups"][order] if "groups" in file else None
    units = bootstrap.by_group(counts, groups)
    return names if groups is None else np.stack([names, groups], axis=1), units


def read_confusion(path: str | Path) -> Counts:
    """Read a ``confusion.csv`` (header ``Class`` and the class ids) as int64 ``(classes, classes)``."""
    return np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.int64, ndmin=2)[:, 1:]
