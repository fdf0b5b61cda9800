"""Fit a baseline to pixels drawn from the training patches: in one process, on the CPU."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cerraseg.core.logs import log, progress
from cerraseg.core.signals import raise_pending_signal
from cerraseg.data.packed import Store
from cerraseg.data.tables import rows_of
from cerraseg.evaluation.metrics import compute_scores, confusion_matrix
from cerraseg.models.baselines import NEVER, Baseline, Gaussian, Pixel
from cerraseg.models.checkpoint import Segmenter, make_blueprint
from cerraseg.training.epoch_record import EpochRecord
from cerraseg.training.plan import Plan

_PER_CLASS = 16_000  # training pixels that are drawn of a class
_PATCHES = 128  # training patches of each class that they are drawn from
_VALUES = 25_000_000  # features of all pixels that are drawn: 100 MB
_VALIDATED = 64, 100_000  # validation patches and pixels
_EPOCHS, _STEPS, _BATCH = 8, 150, 1024  # parts of a training, their steps, pixels a step
_RIDGE = 0.01  # added to the variances of standardised features

Ids = NDArray[np.int64]
Table = tuple[Tensor, Tensor]  # features (pixels, features) and classes (pixels,)


def fit(plan: Plan, store: Store, split: Path, statistics: Path, resume: Path) -> EpochRecord:
    """Fit the baseline of a plan, which follows from the seed, and return its record; the best is in ``resume``.

    Training pixels are drawn evenly over the classes, and the scores corrected to the share of each class among all
    of them. Losses and validation scores are estimates from samples. An epoch is an eighth of the steps of ``pixel``;
    maximum likelihood has one.
    """
    torch.set_num_threads(max(1, plan.threads // plan.devices))
    torch.manual_seed(plan.scenario.seed)
    facts = json.loads(statistics.read_text())
    record = EpochRecord(plan, make_blueprint(plan.scenario, plan.recipe, plan.settings, facts, plan.dataset), resume)
    pixels = _Pixels(store, plan, Segmenter(record.blueprint))
    net, rng = pixels.net, pixels.rng
    net.fit_bands(list(record.blueprint.statistics.values()))
    train, validation = (rows_of(split, part, store.header.ids) for part in ("train", "validation"))
    counts = pixels.counts(train)
    wanted = draw_evenly(rng, counts, min(_PER_CLASS, _VALUES // (net.count * counts.shape[1])))
    with torch.no_grad():
        x, y = pixels.read(train, wanted, "training pixels")
        log.info("fitting %s to %d pixels of %d patches", plan.scenario.model, len(y), np.any(wanted, 1).sum())
        net.standard[:, :, 0, 0] = torch.stack([x.mean(0), x.std(0).clamp(min=1e-6)])
        x.sub_(net.standard[0, :, 0, 0]).div_(net.standard[1, :, 0, 0])
        share = counts.sum(0) / counts.sum() / np.maximum(wanted.sum(0) / wanted.sum(), 1e-12)
        weights = torch.from_numpy(share).float()
        net.offset[:, 0, 0] = weights.log().clamp(min=NEVER)
        pixels.masks = np.asarray(store.masks)[:, store.layer(store.truth(plan.scenario.level))]
        patches, most = _VALIDATED
        validated = pixels.counts(rows := validation[:: -(-len(validation) // patches)])
        part = min(1, most / validated.sum())
        validated = np.array([rng.multivariate_hypergeometric(of, round(part * of.sum())) for of in validated])
        sample = pixels.read(rows, validated, "validation pixels")
    every = len(y) // most + 1
    for rate in _fit_normals(net, x, y) if isinstance(net, Gaussian) else _train(net, x, y, plan):
        _note(record, net, (x[::every], y[::every]), sample, weights, rate)
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


class _Pixels:
    """Pixels of the packed store as a baseline sees them."""

    def __init__(self, store: Store, plan: Plan, segmenter: Segmenter) -> None:
        assert isinstance(segmenter.net, Pixel | Gaussian)
        self.normalise, self.net = segmenter.normalise, segmenter.net
        self.rng = np.random.default_rng(plan.scenario.seed)
        self.images, self.channels = store.images, store.channels(plan.dataset.bands(plan.scenario.modality))
        self.masks = np.asarray(store.masks)[:, store.layer(plan.scenario.level)]

    def counts(self, rows: Ids) -> Ids:
        """Count the pixels of each class in each row, (rows, classes)."""
        return np.array([np.bincount(self.masks[row].ravel(), minlength=256)[: len(self.net.offset)] for row in rows])

    def read(self, rows: Ids, wanted: Ids, what: str) -> Table:
        """Read as many pixels of each class of each row as are wanted, at random."""
        tables = []
        for row, counts in zip(progress(rows, what, len(rows)), wanted, strict=True):
            raise_pending_signal()
            if counts.any():
                mask = self.masks[row].ravel()
                places = [self.rng.choice(np.flatnonzero(mask == k), n, replace=False) for k, n in enumerate(counts)]
                image = torch.from_numpy(np.array(self.images[row])[self.channels])[None]
                features = self.net.features(self.normalise(image).contiguous(memory_format=torch.channels_last))
                y = torch.arange(len(counts)).repeat_interleave(torch.from_numpy(counts))
                tables.append((features[0].flatten(1).T[np.concatenate(places)], y))
        x, y = map(torch.cat, zip(*tables, strict=True))
        return x, y


def _train(net: Pixel, x: Tensor, y: Tensor, plan: Plan) -> Iterator[float]:
    """Train the network on even classes; yield the learning rate after each epoch."""
    rate, steps = plan.recipe.learning_rate, _EPOCHS * _STEPS
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=plan.recipe.weight_decay, fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1, cycle_momentum=False)
    for step in range(1, steps + 1):
        raise_pending_signal()
        drawn = torch.randint(len(y), (_BATCH,))
        optimizer.zero_grad()
        loss = F.cross_entropy(net.scores(_as_image(x[drawn]))[0, :, :, 0].T, y[drawn])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()
        if step % _STEPS == 0:
            yield float(rates.get_last_lr()[0])


@torch.no_grad()
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
        net.whiten[k].weight[:, :, 0, 0] = whitening
        net.whiten[k].bias[:] = -whitening @ z.mean(0)
        net.offset[k] += whitening.diagonal().log().sum()
    yield 0.0


def _as_image(x: Tensor) -> Tensor:
    """View (pixels, features) as (1, features, pixels, 1)."""
    return x.T[None, :, :, None]


@torch.no_grad()
def _note(record: EpochRecord, net: Baseline, train: Table, validation: Table, weights: Tensor, rate: float) -> None:
    """Add an epoch to the record."""
    known, new = (net.classify(_as_image(x))[0, :, :, 0].T for x, _ in (train, validation))
    truth, classes = (values.to(torch.uint8).numpy()[None] for values in (validation[1], new.argmax(1)))
    scores = compute_scores(confusion_matrix(truth, classes, len(weights)))
    row = {
        "epoch": len(record.history) + 1,
        "train_loss": float(F.nll_loss(known, train[1], weights)),
        "val_loss": (loss := float(F.nll_loss(new, validation[1]))),
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
