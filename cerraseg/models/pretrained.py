"""Load parameters that were trained elsewhere, on other bands too, into a custom model's encoder."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cerraseg.core.errors import DataError
from cerraseg.core.logs import log
from cerraseg.models.smp import LateFusion
from cerraseg.models.state_dict import read_parameters

MINIMUM_SHARE = 0.9
"""Share of an encoder's tensors that a file must hold."""

_PREFIXES = ("module.", "net.", "encoder.", "model.")


def load_encoder(model: nn.Module, bands: Sequence[str], file: Path, colours: Sequence[str]) -> None:
    """Load the encoder's parameters from a file; of late fusion, those of each encoder.

    Args:
        model: of :func:`cerraseg.models.smp.build_smp`, changed in place. What the file lacks stays as it is.
        bands: names of the model's bands. The first layer is adapted to them by :func:`adapt_bands`.
        file: a CerraSeg checkpoint, or a state dict of segmentation-models-pytorch (encoder or whole model), timm or
            torchvision.
        colours: those of the bands that are red, green and blue; empty: none.

    Raises:
        DataError: if the file is unsafe or holds less than :data:`MINIMUM_SHARE` of the encoder's tensors.
    """
    content = read_parameters(file)
    given = {_bare(name): tensor for name, tensor in content.get("parameters", content).items()}
    encoder: Any = model.encoder
    parts = zip(encoder.encoders, encoder.bands, strict=True) if isinstance(encoder, LateFusion) else [(encoder, None)]
    left = iter(bands)
    for part, count in parts:
        own, its_bands = part.state_dict(), list(islice(left, count))
        taken = {}
        for name, tensor in own.items():
            fitted = _fitted(tensor, given.get(_bare(name)), its_bands, colours, own_file="blueprint" in content)
            if fitted is not None:
                taken[name] = fitted
        wanted = [name for name in own if not name.endswith("num_batches_tracked")]  # older files have no such counts
        lacking = [name for name in wanted if name not in taken]
        if len(lacking) > (1 - MINIMUM_SHARE) * len(wanted):
            raise DataError(
                f"{file}: holds {len(wanted) - len(lacking)} of the encoder's {len(wanted)} tensors by name and shape, "
                f"not {', '.join(lacking[:3])}, ...; its own names are {', '.join(list(given)[:3])}, ... Expected a "
                "state dict of the same encoder: change encoder, or the file"
            )
        with torch.no_grad():
            for name, tensor in taken.items():
                own[name].copy_(tensor)
        without = f", not {', '.join(lacking)}" if lacking else ""
        log.info("encoder of %d bands: %d tensors from %s%s", len(its_bands), len(taken), file.name, without)


def _bare(name: str) -> str:
    """Strip the prefixes of wrappers from a name; timm writes ``stages_0`` for ``stages.0`` in its encoders."""
    while prefix := next((prefix for prefix in _PREFIXES if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    return re.sub(r"\.(\d+)", r"_\1", name)


def _fitted(
    own: Tensor, found: Tensor | None, bands: Sequence[str], colours: Sequence[str], own_file: bool
) -> Tensor | None:
    """Return the file's tensor in the shape of the encoder's, adapted to the bands if need be; None if it differs.

    Three bands are adapted, too, unless the file is CerraSeg's own: its red, green and blue may stand for others.
    """
    if found is None:
        return None
    first = own.ndim == found.ndim == 4 and own.shape[1] == len(bands)
    of_colours = first and len(bands) == found.shape[1] == 3 and not own_file
    if found.shape == own.shape and not of_colours:
        return found
    alike = first and (own.shape[0], *own.shape[2:]) == (found.shape[0], *found.shape[2:])
    return adapt_bands(found, bands, colours) if alike else None


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
