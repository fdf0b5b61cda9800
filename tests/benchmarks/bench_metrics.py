"""The confusion matrix of the whole test set, 14 classes, against scikit-learn's.

Usage: bench_metrics.py [patches]
"""

import importlib.util

import numpy as np
from measuring import arguments, measured, not_measured, row

CLASSES = 14


def masks(patches: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth in squares of 8×8 pixels with unequal shares, and a prediction that is right for about four in five."""
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.full(CLASSES, 0.3))
    truth = random.choice(CLASSES, size=(patches, 16, 16), p=shares).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    other = random.integers(0, CLASSES, truth.shape, dtype=np.uint8)
    return truth, np.where(random.random(truth.shape, dtype=np.float32) < 0.8, truth, other)


def ours(patches: int):
    from cerraseg.evaluation.metrics import confusion_matrix

    truth, prediction = masks(patches)
    return lambda: confusion_matrix(truth, prediction, CLASSES)


def scikit_learn(patches: int):
    from sklearn.metrics import confusion_matrix

    truth, prediction = masks(patches)
    return lambda: confusion_matrix(truth.ravel(), prediction.ravel(), labels=range(CLASSES))


def main() -> None:
    patches = arguments(__doc__, {"patches": 3028}).patches
    what, reach = f"confusion matrix of {patches:,} patches, {CLASSES} classes", "≥ 20"
    if not importlib.util.find_spec("sklearn"):
        return not_measured(what, "scikit-learn is not installed", reach)
    mine, theirs = (measured(method, patches, turns=5) for method in (ours, scikit_learn))
    assert np.array_equal(mine.value, theirs.value)
    peer = f"`sklearn.metrics.confusion_matrix`: {theirs.seconds:.2f} s"
    row(what, f"{mine.seconds:.3f} s", peer, theirs.seconds / mine.seconds, reach)


if __name__ == "__main__":
    main()
