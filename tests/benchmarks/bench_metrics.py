"""Time the confusion matrix of the whole test set (3,028 patches, 14 classes), and of each patch, against a named peer.

Usage: python tests/benchmarks/bench_metrics.py [patches]
The peer is scikit-learn's ``confusion_matrix`` where it can be imported, else ``numpy.histogram2d``.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from cerraseg.metrics import confusion_matrix, patch_confusions

CLASSES = 14


def masks(patches: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth in squares of 8×8 pixels with unequal shares, and a prediction that is right for about four in five."""
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.full(CLASSES, 0.3))
    truth = random.choice(CLASSES, size=(patches, 16, 16), p=shares).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    other = random.integers(0, CLASSES, truth.shape, dtype=np.uint8)
    return truth, np.where(random.random(truth.shape, dtype=np.float32) < 0.8, truth, other)


def peer() -> tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    try:
        import sklearn.metrics
    except ImportError:
        edges = [np.arange(CLASSES + 1) - 0.5] * 2
        return "numpy.histogram2d", lambda truth, prediction: np.histogram2d(truth, prediction, bins=edges)[0]
    labels = list(range(CLASSES))
    return "sklearn.metrics.confusion_matrix", lambda truth, prediction: sklearn.metrics.confusion_matrix(
        truth, prediction, labels=labels
    )


def timed(count: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Wall time in seconds, and the counts."""
    start = time.perf_counter()
    counts = count()
    return time.perf_counter() - start, counts


def main() -> None:
    truth, prediction = masks(int(sys.argv[1]) if len(sys.argv) > 1 else 3028)
    name, count = peer()
    our_seconds, patch_seconds, their_seconds = [], [], []
    # In turns, so that other load on the machine meets both alike.
    for _ in range(5):
        seconds, ours = timed(lambda: confusion_matrix(truth, prediction, CLASSES))
        our_seconds.append(seconds)
        seconds, by_patch = timed(lambda: patch_confusions(truth, prediction, CLASSES))
        patch_seconds.append(seconds)
        seconds, theirs = timed(lambda: count(truth.ravel(), prediction.ravel()))
        their_seconds.append(seconds)
        assert np.array_equal(ours, theirs) and np.array_equal(by_patch.sum(axis=0), theirs)
    print(f"{truth.size / 1e6:.1f} million pixels, {CLASSES} classes, equal counts, best of 5 in turns")
    print(f"{name:<35} {min(their_seconds):8.3f} s")
    for ours, seconds in (("confusion_matrix", our_seconds), ("patch_confusions", patch_seconds)):
        ratio = min(their_seconds) / min(seconds)
        print(f"{f'cerraseg.metrics.{ours}':<35} {min(seconds):8.3f} s   ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
