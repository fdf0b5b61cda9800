"""Time the confusion matrix of the whole test set (3,028 patches, 14 classes), and of each patch, against a named peer.

Usage: python tests/benchmarks/bench_metrics.py [patches]
The peers are ``numpy.histogram2d`` and, where it is installed, scikit-learn's ``confusion_matrix``.
"""

import sys
import time
from collections.abc import Callable
from itertools import product

import numpy as np
from reporting import not_installed, row

from cerraseg.evaluation.metrics import confusion_matrix, patch_confusions

try:
    import sklearn.metrics
except ImportError:
    sklearn = None

CLASSES = 14


def masks(patches: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth in squares of 8×8 pixels with unequal shares, and a prediction that is right for about four in five."""
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.full(CLASSES, 0.3))
    truth = random.choice(CLASSES, size=(patches, 16, 16), p=shares).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    other = random.integers(0, CLASSES, truth.shape, dtype=np.uint8)
    return truth, np.where(random.random(truth.shape, dtype=np.float32) < 0.8, truth, other)


def histogram(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    edges = [np.arange(classes + 1) - 0.5] * 2
    return np.histogram2d(truth.ravel(), prediction.ravel(), bins=edges)[0]


def scikit_learn(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    return sklearn.metrics.confusion_matrix(truth.ravel(), prediction.ravel(), labels=range(classes))


def timed(count: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Wall time in seconds, and the counts."""
    start = time.perf_counter()
    counts = count()
    return time.perf_counter() - start, counts


def main() -> None:
    truth, prediction = masks(int(sys.argv[1]) if len(sys.argv) > 1 else 3028)
    methods = {"ours": confusion_matrix, "by patch": patch_confusions, "numpy": histogram}
    if sklearn:
        methods["scikit-learn"] = scikit_learn
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    expected = confusion_matrix(truth, prediction, CLASSES)
    # In turns, so that other load on the machine meets all alike.
    for _, (name, count) in product(range(5), methods.items()):
        taken, counts = timed(lambda count=count: count(truth, prediction, CLASSES))
        seconds[name].append(taken)
        assert np.array_equal(counts.sum(axis=0) if name == "by patch" else counts, expected)
    best = {name: min(taken) for name, taken in seconds.items()}
    print(f"{truth.size / 1e6:.1f} million pixels, {CLASSES} classes, equal counts, best of 5 in turns")
    what = f"confusion matrix of {len(truth):,} patches, {CLASSES} classes"
    if sklearn:
        words = f"`sklearn.metrics.confusion_matrix`: {best['scikit-learn']:.2f} s"
        row(what, f"{best['ours']:.3f} s", words, best["scikit-learn"] / best["ours"], "≥ 20")
    else:
        not_installed(what, "scikit-learn", "≥ 20")
    for name, suffix in (("ours", ""), ("by patch", ", of each patch")):
        words = f"`numpy.histogram2d`, of all patches: {best['numpy']:.2f} s"
        row(what + suffix, f"{best[name]:.3f} s", words, best["numpy"] / best[name])


if __name__ == "__main__":
    main()
