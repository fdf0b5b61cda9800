"""What a classifier can score at most on a simulated land: pixel by pixel, or with labels but for their noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerraseg.data.simulation.land import ID, PARENTS, Floats
from cerraseg.data.simulation.landscape import Ground

_PARTS = 2  # of a class by growth stage: within one, log bands are about normally distributed


def draw_sample(images: Floats, ground: Ground) -> tuple[NDArray[Any], ...]:
    """Draw pixels of every class: log bands (n, 14), class and part (n,); and count by true and labelled class."""
    l2, labels, owner, _ = (layer[1:-1, 1:-1].ravel() for layer in ground)
    order = np.random.default_rng(0).permutation(l2.size)
    taken = np.concatenate([order[l2[order] == class_id][:40] for class_id in ID.values()])
    counts = np.bincount(l2 * len(ID) + labels.astype(np.intp), minlength=len(ID) ** 2).reshape(len(ID), len(ID))
    logs = np.log(images.reshape(len(images), -1)[:, taken].T)
    return logs, l2[taken], (owner[taken] * _PARTS).astype(int), counts


def ceilings(samples: Sequence[tuple[NDArray[Any], ...]]) -> dict[str, dict[str, float]]:
    """Return the macro F1 in percent, by level, of two classifiers that know the land.

    ``pixel`` knows how the log bands of single pixels are distributed by class: a mixture of normal distributions over
    the growth stages, fitted to every other sampled pixel and scored on the rest. Of the rules that multiply the
    densities by the classes' shares to the power of 0, 0.5 or 1, the best counts. ``labels`` answers with the noisy
    labels. Classes that the land lacks do not count.
    """
    pixels, classes, part, counts = (np.concatenate(column) for column in zip(*samples, strict=True))
    some = np.random.default_rng(0).permutation(len(pixels))[:200_000]
    pixels, classes, part = pixels[some].astype(np.float64), classes[some], part[some]
    counts = counts.reshape(-1, len(ID), len(ID)).sum(axis=0)
    shares, asked = counts.sum(axis=1) / counts.sum(), classes[1::2]
    logs = np.full((len(asked), len(ID), _PARTS), -np.inf)
    for class_id, k in np.ndindex(len(ID), _PARTS):
        fitted = pixels[::2][(classes[::2] == class_id) & (part[::2] == k)]
        if len(fitted) > 40:  # enough for 14 bands
            half = np.linalg.cholesky(np.linalg.inv(np.cov(fitted.T)))
            weight = len(fitted) / (classes[::2] == class_id).sum() * half.diagonal().prod()
            logs[..., class_id, k] = np.log(weight) - np.square((pixels[1::2] - fitted.mean(axis=0)) @ half).sum(1) / 2
    densities = np.exp(logs - logs.max(axis=(1, 2), keepdims=True, initial=-1e9)).sum(axis=2)
    weights = np.eye(len(ID))[asked] * (shares / np.bincount(asked, minlength=len(ID)).clip(1))
    found: dict[str, dict[str, float]] = {"pixel": {}, "labels": {}}
    for level, parents in (("l1", np.array(PARENTS)), ("l2", np.arange(len(ID)))):
        member = np.eye(parents.max() + 1)[parents]  # (14, classes of the level)
        guesses = (np.eye(len(member.T))[(densities * shares**power @ member).argmax(axis=1)] for power in (0, 0.5, 1))
        found["pixel"][level] = max(_macro_f1((weights @ member).T @ guess) for guess in guesses)
        found["labels"][level] = _macro_f1(member.T @ counts @ member)
    return found


def _macro_f1(confusion: NDArray[Any]) -> float:
    true, called = confusion.sum(axis=1), confusion.sum(axis=0)
    return round(100 * float((2 * confusion.diagonal() / (true + called).clip(1e-9))[true > 0].mean()), 1)
