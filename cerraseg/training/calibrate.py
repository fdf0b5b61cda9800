"""Calibrate a model on the validation part: its probabilities, and class sets that hold the true class.

Sources: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (temperature and vector scaling); V. Vovk,
"Conditional Validity of Inductive Conformal Predictors", ACML 2012 (class sets, by class).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from cerraseg.core.logs import log
from cerraseg.core.signals import raise_pending_signal
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.packed import Store, batches
from cerraseg.evaluation.metrics import compute_scores
from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Blueprint, Segmenter
from cerraseg.models.inference import decide, device
from cerraseg.training.batches import PackedPatches, Streamed

NOMINAL = 0.9
"""Share of a class's pixels whose class set is to hold it."""

_OF_PATCH, _IN_ALL = 2_000, 500_000  # most pixels that the calibration is fitted on
_BATCH = 16  # patches at a time
_RIDGE = 1e-3  # keeps the scales of classes together and their biases at 0 as far as few pixels speak against it
_WEAK = 1e-5  # keeps the temperature finite where every pixel is right

Rows = NDArray[np.int64]


class Sample(NamedTuple):
    """Pixels: logits (N, classes), true class, number of labelled pixels that it stands for, and patch, (N,) each."""

    logits: Tensor
    truth: Tensor
    weight: Tensor
    patch: Tensor


def save_calibrated(
    path: str | Path,
    blueprint: Blueprint,
    parameters: Mapping[str, Tensor],
    training: Mapping[str, Any],
    store: Store,
    rows: Rows,
    *,
    vector: bool = True,
) -> None:
    """Write a checkpoint calibrated on the patches in ``rows``, those of validation; else as ``checkpoint.save``."""
    given = calibrate([(checkpoint.build_model(blueprint, parameters), rows)], store, vector=vector)
    checkpoint.save(path, replace(blueprint, calibration=given), parameters, training)


def calibrate(parts: Sequence[tuple[Segmenter, Rows]], store: Store, *, vector: bool = True) -> dict[str, Any]:
    """Fit a calibration to the raw logits of a model.

    Up to 2,000 labelled pixels of each patch are taken, 500,000 in all, as many of each class in it, and weighted back.
    Vector scaling is taken where, fitted on each half of the patches, it has a lower negative log-likelihood than a
    temperature on the other half, and no lower macro F1: it would take back what a training did for rare classes.

    Args:
        parts: the model and the rows of its patches; of a cross-validation, each fold's model with its own.
        store: packed patches.
        vector: whether vector scaling may be taken, which changes classes.

    Returns:
        A blueprint's ``calibration``: ``method``; by class ``scale`` and ``bias`` of the logits, and ``least``, the
        probability from which on it is in the class set; ``pixels`` and ``patches``. Empty without a labelled pixel.
    """
    drawn = list(_drawn(parts, store))
    if not drawn:
        log.warning("not calibrated: the validation patches have no labelled pixel with finite logits")
        return {}
    logits, *others = (torch.from_numpy(np.concatenate(values)) for values in zip(*drawn, strict=True))
    sample = Sample(logits.double(), *others)
    method = "vector" if vector and _vector_wins(sample, parts[0][0].ancestors) else "temperature"
    scale, bias = _fit(sample, method == "vector")
    found, patches = (sample.logits * scale + bias).softmax(1), len(np.unique(sample.patch))
    log.info("calibrated by %s scaling on %d pixels of %d patches", method, len(logits), patches)
    least = least_probabilities(found.numpy(), *(values.numpy() for values in sample[1:]))
    values = {"method": method, "scale": scale.tolist(), "bias": bias.tolist(), "least": least}
    return values | {"pixels": len(logits), "patches": patches}


def least_probabilities(probabilities: NDArray[Any], truth: Rows, weight: NDArray[Any], patch: Rows) -> list[float]:
    """Return for each class the probability that 90 of 100 of its pixels reach, and half a patch more.

    As pixels of a patch are alike, patches count and not pixels (R. Dunn et al. 2023). Of a class in five or less, it
    is 0: all sets hold it. ``probabilities`` are (N, classes), the others as in :class:`Sample`.
    """
    least = []
    for k, values in enumerate(probabilities.T):
        own, share = values[truth == k], weight[truth == k]
        order, patches = np.argsort(own), max(1, len(np.unique(patch[truth == k])))
        allowed = (1 - NOMINAL - 0.5 / patches) * share.sum()
        outside = int((np.cumsum(share[order]) <= allowed + 1e-9).sum())
        least.append(float(own[order[outside - 1]]) if outside else 0.0)
    return least


def _drawn(parts: Sequence[tuple[Segmenter, Rows]], store: Store) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield what a :class:`Sample` holds of each patch."""
    quota = min(_OF_PATCH, _IN_ALL // max(1, sum(len(rows) for _, rows in parts)))
    for segmenter, rows in parts:
        kind, where, order = segmenter.blueprint, device(), batches(np.arange(len(rows)), _BATCH)
        segmenter.eval().to(where).to(memory_format=torch.channels_last)
        patches = PackedPatches(store, rows, kind.described.bands(kind.modality), [store.truth(kind.level)])
        for batch, (images, masks) in zip(order, Streamed(patches, order, where, segmenter.normalise), strict=True):
            raise_pending_signal()
            with torch.inference_mode():
                logits = segmenter.raw(images)[0].float().flatten(2)
            for row, values, mask in zip(rows[batch], logits, masks[:, 0].flatten(1).cpu().numpy(), strict=True):
                places, weight = _places(mask, quota)
                taken = values[:, torch.from_numpy(places).to(where)].T.cpu().numpy()
                if (kept := np.isfinite(taken).all(1)).any():
                    yield taken[kept], mask[places][kept].astype(np.int64), weight[kept], np.full(kept.sum(), row)


def _places(mask: NDArray[np.uint8], quota: int) -> tuple[Rows, NDArray[np.float64]]:
    """Choose pixels of a patch, evenly spread over each class, and how many labelled ones each stands for."""
    places, weights = [np.empty(0, np.int64)], [np.empty(0)]
    present = np.unique(mask[mask != IGNORE])
    for own in (np.flatnonzero(mask == k) for k in present):
        taken = min(len(own), max(1, quota // len(present)))
        places.append(own[((np.arange(taken) + 0.5) * len(own) / taken).astype(np.int64)])
        weights.append(np.full(taken, len(own) / taken))
    return np.concatenate(places), np.concatenate(weights)


def _fit(sample: Sample, vector: bool) -> tuple[Tensor, Tensor]:
    """Minimise the negative log-likelihood; return scale, above 0, and bias by class, alike without ``vector``."""
    classes = sample.logits.shape[1]
    power = torch.zeros(classes if vector else 1, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=vector)
    optimizer = torch.optim.LBFGS([power, bias][: 1 + vector], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        apart = (power - power.mean()).square().mean() + bias.square().mean()
        loss = _loss(sample, sample.logits * power.exp() + bias) + _RIDGE * apart + _WEAK * power.square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return power.detach().exp().expand(classes), bias.detach()


def _loss(sample: Sample, logits: Tensor) -> Tensor:
    return (cross_entropy(logits, sample.truth, reduction="none") * sample.weight).sum() / sample.weight.sum()


def _vector_wins(sample: Sample, ancestors: Sequence[Sequence[int]] = ()) -> bool:
    """Compare the scalings on halves of the patches, by place in the store: each fitted on one, tried on the other."""
    known, classes = np.unique(sample.patch), sample.logits.shape[1]
    first, losses, scores = sample.patch < int(known[len(known) // 2]), [], []
    for vector in (False, True) if len(known) > 1 else ():
        held = sample.logits.clone()
        for fitted in (first, ~first):
            scale, bias = _fit(_of(sample, fitted), vector)
            held[~fitted] = held[~fitted] * scale + bias
        losses.append([float(_loss(_of(sample, half), held[half])) for half in (first, ~first)])
        counts = (sample.truth * classes + _decided(held, ancestors)).bincount(sample.weight, classes**2)
        scores.append(compute_scores(counts.view(classes, classes).round().numpy()).macro_f1_present)
    return bool(losses) and all(two < one for one, two in zip(*losses, strict=True)) and scores[1] >= scores[0]


def _decided(logits: Tensor, ancestors: Sequence[Sequence[int]]) -> Tensor:
    """Return the class of each pixel, (N,), as the model's maps have it."""
    return decide(logits.softmax(1)[..., None, None], ancestors)[0].flatten() if ancestors else logits.argmax(1)


def _of(sample: Sample, chosen: Tensor) -> Sample:
    return Sample(*(values[chosen] for values in sample))
