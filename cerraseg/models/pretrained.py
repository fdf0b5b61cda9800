"""Load parameters that were trained elsewhere, on other bands too, into a custom model's encoder."""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cerraseg.config.custom_models import Pretrained
from cerraseg.core.errors import DataError
from cerraseg.core.logs import log
from cerraseg.geo.band_names import standard_name
from cerraseg.models.checkpoint import Blueprint
from cerraseg.models.smp import LateFusion
from cerraseg.models.state_dict import read_parameters

MINIMUM_SHARE = 0.9
"""Share of an encoder's tensors that a file must hold."""

_PREFIXES = ("module.", "net.", "encoder.", "model.")


def load_encoder(model: nn.Module, bands: Sequence[str], sources: Sequence[Pretrained], colours: Sequence[str]) -> None:
    """Load parameters of encoders from files: of the one of all bands, or of those of late fusion.

    Args:
        model: of :func:`cerraseg.models.smp.build_smp`, changed in place. What a file lacks stays as it is.
        bands: names of the model's bands. The first layer is fitted to them by :func:`fit_bands`.
        sources: files with their encoders: CerraSeg checkpoints, or state dicts of segmentation-models-pytorch
            (encoder or whole model), timm or torchvision.
        colours: those of the bands that are red, green and blue; empty: none.

    Raises:
        DataError: if a file is unsafe, holds less than :data:`MINIMUM_SHARE` of the encoder's tensors, or its first
            layer does not fit the bands.
    """
    encoder: Any = model.encoder
    late = isinstance(encoder, LateFusion)
    parts = list(encoder.encoders) if late else [encoder]
    ends = pairwise(accumulate(encoder.bands if late else [len(bands)], initial=0))
    of_parts = [bands[start:end] for start, end in ends]
    for source in sources:
        _load(parts[source.encoder], of_parts[source.encoder], source, colours)


def _load(encoder: nn.Module, bands: Sequence[str], source: Pretrained, colours: Sequence[str]) -> None:
    content, own = read_parameters(Path(source.file)), encoder.state_dict()
    given = {_bare(name): tensor for name, tensor in content.get("parameters", content).items()}
    found = {name: given[_bare(name)] for name in own if _bare(name) in given}
    stem = next(name for name, tensor in own.items() if tensor.ndim == 4)
    taken = {name: tensor for name, tensor in found.items() if tensor.shape == own[name].shape or name == stem}
    if stem in taken and (taken[stem].ndim != 4 or taken[stem][:, 0].shape != own[stem][:, 0].shape):
        del taken[stem]
    wanted = [name for name in own if not name.endswith("num_batches_tracked")]  # older files have no such counts
    lacking = [name for name in wanted if name not in taken]
    if len(lacking) > (1 - MINIMUM_SHARE) * len(wanted):
        raise DataError(
            f"{source.file}: holds {len(wanted) - len(lacking)} of the encoder's {len(wanted)} tensors by name and "
            f"shape, not {', '.join(lacking[:3])}, ...; its own names are {', '.join(list(given)[:3])}, ... Expected a "
            "state dict of the same encoder: change encoder, or the file"
        )
    if stem in taken:
        try:
            taken[stem] = fit_bands(taken[stem], bands, source.bands or _bands_of(content), colours)
        except ValueError as error:
            raise DataError(f"{source.file}: {error}") from None
    with torch.no_grad():
        for name, tensor in taken.items():
            own[name].copy_(tensor)
    without = f", not {', '.join(lacking)}" if lacking else ""
    log.info("encoder of %d bands: %d tensors from %s%s", len(bands), len(taken), Path(source.file).name, without)


def _bands_of(content: Mapping[str, Any]) -> Sequence[str]:
    """Return the bands that a checkpoint of CerraSeg names; none of another file."""
    if "blueprint" not in content:
        return ()
    blueprint = Blueprint.from_checkpoint(content["blueprint"])
    return blueprint.described.bands(blueprint.modality)


def _bare(name: str) -> str:
    """Strip the prefixes of wrappers from a name; timm writes ``stages_0`` for ``stages.0`` in its encoders."""
    while prefix := next((prefix for prefix in _PREFIXES if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    return re.sub(r"\.(\d+)", r"_\1", name)


def fit_bands(kernels: Tensor, bands: Sequence[str], of_file: Sequence[str], colours: Sequence[str]) -> Tensor:
    """Fit the kernels of a file's first layer (out, inputs, h, w) to the model's bands: (out, bands, h, w).

    Where the file's bands are known, each band takes its own kernels, and one that the file lacks starts at 0: the
    features are those of the file's encoder, its further bands being 0. Else three inputs are red, green and blue
    (:func:`adapt_bands`), and as many inputs as bands are these bands in their order.

    Args:
        of_file: names of the file's bands in its order; empty: unknown.
        colours: those of the bands that are red, green and blue; empty: none.

    Raises:
        ValueError: if the bands do not fit.
    """
    inputs, named = kernels.shape[1], [standard_name(band) for band in of_file]
    if not named:
        if inputs == 3:
            return adapt_bands(kernels, bands, colours)
        if inputs == len(bands):
            return kernels
        raise ValueError(
            f"its first layer takes {inputs} bands of unknown names, the model has {len(bands)} ({', '.join(bands)}); "
            "expected as many, or three colours: name them, pretrained: {file: ..., bands: [B01, ...]}"
        )
    lacking = [band for band in bands if standard_name(band) not in named]
    if len(named) != inputs or len(lacking) == len(bands):
        raise ValueError(
            f"its first layer takes {inputs} bands, named are {len(named)}: {', '.join(of_file)}; expected a name for "
            f"each, and some of the model's among them, {', '.join(bands)}: correct bands, or the file"
        )
    if lacking:
        log.info("the file lacks %s, whose kernels start at 0", ", ".join(lacking))
    padded = torch.cat([kernels, torch.zeros_like(kernels[:, :1])], 1)
    return padded[:, [named.index(name) if (name := standard_name(band)) in named else inputs for band in bands]]


def adapt_bands(kernels: Tensor, bands: Sequence[str], colours: Sequence[str]) -> Tensor:
    """Adapt the kernels of a first layer (out, inputs, h, w) to other bands: (out, bands, h, w).

    Of three inputs (red, green, blue), the bands of these ``colours`` take theirs; every other band takes the mean over
    the inputs. All are scaled by inputs / bands, the usual factor (timm's ``adapt_input_conv``): where all bands have
    the same value, the output is as before.
    """
    adapted = kernels.mean(1, keepdim=True).repeat(1, len(bands), 1, 1)
    if kernels.shape[1] == len(colours):
        for place, band in enumerate(bands):
            if band in colours:
                adapted[:, place] = kernels[:, colours.index(band)]
    return adapted * (kernels.shape[1] / len(bands))
