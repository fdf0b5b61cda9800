"""Fit a baseline to pixels drawn from the training patches: in one process, on the CPU."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cerraseg.core.logs import log, progress
from cerraseg.core.signals import raise_pending_signal
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.packed import Store
from cerraseg.data.tables import rows_of
from cerraseg.evaluation.metrics import compute_scores, confusion_matrix
from cerraseg.models.baselines import Baseline, Gaussian, Pixel
from cerraseg.models.checkpoint import Segmenter, make_blueprint
from cerraseg.training.epoch_record import EpochRecord
from cerraseg.training.plan import Plan

_PER_CLASS = 16_000  # training pixels that are drawn of a class
_PATCHES = 128  # training patches of each class that they are drawn from
_VALUES = 25_000_000  # features of all pixels that are drawn: 100 MB
_VALIDATED = 64, 100_000  # validation patches and pixels
_EPOCHS, _STEPS, _BATCH = 8, 150, 1024  # parts of a training, their steps, pixels a step
_NEVER = -1e4  # added to the score of a class without a training pixel
_RIDGE = 0.01  # added to the variances of standardised features

Ids = NDArray[np.int64]
Mask = NDArray[np.uint8]
Table = tuple[Tensor, Tensor]  # features (pixels, features) and classes (pixels,)


def fit(plan: Plan, store: Store, split: Path, statistics: Path, resume: Path) -> EpochRecord:
    """Fit the baseline of a plan, which follows from the seed, and return its record; the best is in ``resume``.

    Training pixels are drawn evenly over the classes, and the scores corrected to the share of each class among all
    of them. Losses and validation scores are estimates from samples. An epoch is an eighth of the steps of ``pixel``;
    maximum likelihood has one.
    """
    torch.set_num_threads(max(1, plan.threads // plan.devices))
    torch.manual_seed(plan.scenario.seed)
    rng = np.random.default_rng(plan.scenario.seed)
    facts = json.loads(statistics.read_text())
    blueprint = make_blueprint(plan.scenario, plan.recipe, plan.settings, facts, plan.dataset)
    pixels = _Pixels(store, plan, Segmenter(blueprint))
    net, classes = pixels.net, len(plan.dataset.classes(plan.scenario.level))
    net.fit_bands(list(blueprint.statistics.values()))
    rows = rows_of(split, "train", store.header.ids)
    counts = np.array([np.bincount(pixels.masks[row].ravel(), minlength=256)[:classes] for row in rows])
    wanted = draw_evenly(rng, counts, min(_PER_CLASS, _VALUES // (net.count * classes)))
    with torch.no_grad():
        x, y = pixels.read(rows, lambda k, mask: _of_each(rng, mask, wanted[k]), "training pixels")
        log.info("fitting %s to %d pixels of %d patches", plan.scenario.model, len(y), np.any(wanted, 1).sum())
        net.mean[:, 0, 0], net.std[:, 0, 0] = x.mean(0), x.std(0).clamp(min=1e-6)
        x.sub_(net.mean[:, 0, 0]).div_(net.std[:, 0, 0])
        share = torch.bincount(y, minlength=classes) / len(y)
        weights = (torch.from_numpy(counts.sum(0) / counts.sum()) / share).nan_to_num(0).float()
        net.offset[:, 0, 0] = weights.log().clamp(min=_NEVER)
        rows = rows_of(split, "validation", store.header.ids)
        pixels.masks = np.asarray(store.masks)[:, store.layer(store.truth(plan.scenario.level))]
        rows = rows[:: -(-len(rows) // _VALIDATED[0])]
        part = min(1.0, _VALIDATED[1] / (len(rows) * store.size**2))
        validation = pixels.read(rows, lambda _, mask: _labelled(rng, mask, part), "validation pixels")
    record = EpochRecord(plan, blueprint, resume)
    every = len(y) // _VALIDATED[1] + 1
    for rate in _fit_normals(net, x, y) if isinstance(net, Gaussian) else _train(net, x, y, plan):
        _note(record, net, (x[::every], y[::every]), validation, weights, rate)
    return record


def draw_evenly(rng: np.random.Generator, counts: Ids, most: int) -> Ids:
    """Return how many pixels of each class to draw from each patch, about ``most`` of a class: (patches, classes).

    They lie in at most 128 patches that hold the class, as the root of its pixels there. ``counts`` are the pixels of
    each patch by class, (patches, classes).
    """
    wanted = np.zeros_like(counts)
    for k, pixels in enumerate(counts.T):
        patches = rng.permutation(np.flatnonzero(pixels))[:_PATCHES]
        roots = np.sqrt(pixels[patches])
        wanted[patches, k] = np.minimum(pixels[patches], np.ceil(most * roots / max(roots.sum(), 1)))
    return wanted


def _of_each(rng: np.random.Generator, mask: Mask, wanted: Ids) -> Ids:
    places = [rng.choice(np.flatnonzero(mask == k), wanted[k], replace=False) for k in np.flatnonzero(wanted)]
    return np.concatenate([np.empty(0, np.int64), *places])


def _labelled(rng: np.random.Generator, mask: Mask, part: float) -> Ids:
    labelled = np.flatnonzero(mask != IGNORE)
    return rng.choice(labelled, math.ceil(part * len(labelled)), replace=False)


class _Pixels:
    """Pixels of the packed store as a baseline sees them."""

    def __init__(self, store: Store, plan: Plan, segmenter: Segmenter) -> None:
        assert isinstance(segmenter.net, Pixel | Gaussian)
        self.normalise, self.net = segmenter.normalise, segmenter.net
        self.images, self.channels = store.images, store.channels(plan.dataset.bands(plan.scenario.modality))
        self.masks = np.asarray(store.masks)[:, store.layer(plan.scenario.level)]

    def read(self, rows: Ids, choose: Callable[[int, Mask], Ids], what: str) -> Table:
        """Read the features and classes of the places that ``choose`` returns for a row's position and mask."""
        tables = []
        for k, row in enumerate(progress(rows, what, len(rows))):
            raise_pending_signal()
            places = choose(k, mask := self.masks[row].ravel())
            if len(places):
                image = torch.from_numpy(np.array(self.images[row])[self.channels])[None]
                features = self.net.features(self.normalise(image).contiguous(memory_format=torch.channels_last))
                tables.append((features[0].flatten(1).T[places], torch.from_numpy(mask[places]).long()))
        x, y = zip(*tables, strict=True)
        return torch.cat(x), torch.cat(y)


def _train(net: Pixel, x: Tensor, y: Tensor, plan: Plan) -> Iterator[float]:
    """Train the network on even classes; yield the learning rate after each epoch."""
    recipe = plan.recipe
    optimizer = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, _EPOCHS * _STEPS, pct_start=0.1, cycle_momentum=False
    )
    for step in range(1, _EPOCHS * _STEPS + 1):
        raise_pending_signal()
        drawn = torch.randint(len(y), (_BATCH,))
        optimizer.zero_grad()
        loss = F.cross_entropy(net.scores(_as_image(x[drawn]))[0, :, :, 0].T, y[drawn])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()
        if step % _STEPS == 0:
            yield float(rates.get_last_lr()[0])


def _fit_normals(net: Gaussian, x: Tensor, y: Tensor) -> Iterator[float]:
    """Fit a normal distribution to each class.

    Covariances are drawn towards the mean one by as many pixels as there are features, and get a ridge.
    """
    parts = {k: x[y == k].double() for k in torch.bincount(y).nonzero()[:, 0].tolist()}
    scatter = {k: (z - z.mean(0)).T @ (z - z.mean(0)) for k, z in parts.items()}
    pooled = sum(scatter.values(), torch.zeros(net.count)) / len(y) * net.count
    for k, z in parts.items():
        covariance = (scatter[k] + pooled) / (len(z) + net.count) + _RIDGE * torch.eye(net.count)
        whitening = torch.linalg.inv(torch.linalg.cholesky(covariance))
        with torch.no_grad():
            net.whiten[k].weight[:, :, 0, 0] = whitening
            net.whiten[k].bias[:] = -whitening @ z.mean(0)
            net.offset[k] += whitening.diagonal().log().sum()
    yield 0.0


def _as_image(x: Tensor) -> Tensor:
    """View (pixels, features) as (1, features, pixels, 1)."""
    return x.T[None, :, :, None]


def _note(record: EpochRecord, net: Baseline, train: Table, validation: Table, weights: Tensor, rate: float) -> None:
    """Add an epoch to the record."""
    with torch.no_grad():
        found = [net.classify(_as_image(x))[0, :, :, 0].T for x, _ in (train, validation)]
    truth, classes = validation[1], found[1].argmax(1)
    masks, predicted = (values.to(torch.uint8).numpy()[None] for values in (truth, classes))
    scores = compute_scores(confusion_matrix(masks, predicted, len(weights)))
    loss = float(F.nll_loss(found[1], truth))
    row = {
        "epoch": len(record.history) + 1,
        "train_loss": float(F.nll_loss(found[0], train[1], weights)),
        "val_loss": loss,
        "val_semantic_loss": loss,
        "val_macro_f1": scores.macro_f1,
        "val_miou": scores.miou,
        "learning_rate": rate,
    }
    record.history.append(row)
    record.parameters = {name: value.clone() for name, value in net.state_dict().items()}
    if record.best_epoch == row["epoch"]:
        record.save(record.resume / "best.pt")
    log.info("epoch %d: validation loss %.4f, macro F1 %.2f %%", row["epoch"], loss, 100 * scores.macro_f1)
