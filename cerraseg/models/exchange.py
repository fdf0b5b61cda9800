"""Models in the formats of others: ONNX, TorchScript and safetensors, written and, of ONNX, read.

An exported graph takes raw pixels, ``image`` (B, bands, H, W) float32, NaN where a band has no data, and holds
normalisation, calibration and hierarchy: ``probabilities`` (B, classes, H, W) float32, and ``classes`` (B, H, W) uint8,
the ids of the legend. What else a checkpoint knows travels as the metadata entry ``cerraseg``.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import id_table
from cerraseg.models import checkpoint, inference
from cerraseg.models.checkpoint import Blueprint, Segmenter

OPSET = 17
"""Version of ONNX's operators."""

METADATA = "cerraseg"
_OUTPUTS = ["probabilities", "classes"]
_FIXED = ("transnuseg",)  # models whose images have one size


class Exported(nn.Module):
    """A model with everything before and behind its network, for other programs.

    Args:
        scale: what the caller has divided the pixels by, and is undone.
        outputs: both, or the probabilities alone.
    """

    ids: Tensor

    def __init__(self, segmenter: Segmenter, scale: float = 1.0, both: bool = True) -> None:
        super().__init__()
        self.segmenter, self.factor, self.both = segmenter, scale, both
        classes = segmenter.blueprint.described.classes(segmenter.blueprint.level)
        self.register_buffer("ids", torch.from_numpy(id_table(classes)), persistent=False)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Compute probabilities (B, classes, H, W), and class ids (B, H, W), of raw pixels (B, bands, H, W)."""
        image = image * self.factor if self.factor != 1 else image
        shares = inference.probabilities(self.segmenter(image)[0])
        if not self.both:
            return shares
        positions, _ = inference.decide(shares, self.segmenter.ancestors)
        return shares, self.ids[positions.long()]


class OnnxModel(Segmenter):
    """An exported graph in onnxruntime, in place of a checkpoint's model: it normalises and calibrates itself."""

    def __init__(self, blueprint: Blueprint, file: Path, device: torch.device) -> None:
        super().__init__(blueprint)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        wanted = ["CUDAExecutionProvider"] * (device.type == "cuda") + ["CPUExecutionProvider"]
        providers = [one for one in wanted if one in onnxruntime.get_available_providers()]
        self.session = onnxruntime.InferenceSession(str(file), options, providers=providers)

    def _build(self, blueprint: Blueprint) -> nn.Module:
        return nn.Identity()

    def normalise(self, images: Tensor) -> Tensor:
        """Return the pixels as they are: the graph normalises them."""
        return images

    def logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the logarithms of the graph's probabilities."""
        (shares,) = self.session.run(_OUTPUTS[:1], {"image": images.contiguous().cpu().numpy()})
        return (torch.from_numpy(shares).to(images.device).clamp_min(1e-30).log(),)


def load_model(file: str | Path, device: torch.device) -> tuple[Segmenter, Blueprint, dict[str, Any]]:
    """Read a checkpoint, or an ONNX or safetensors file exported from one: model, blueprint, and how it was trained.

    Raises:
        DataError: if it is neither, or damaged.
    """
    read = _READERS.get(Path(file).suffix.lower())
    if read is None:
        segmenter, blueprint, training = checkpoint.load(file)
        return segmenter.to(device).to(memory_format=torch.channels_last), blueprint, training
    try:
        return read(Path(file), device)
    except Exception as error:  # readers of a damaged file may raise anything
        raise DataError(
            f"{file}: not a file that CerraSeg exported, or damaged ({type(error).__name__}); expected one of "
            "cerraseg export: export it again, or give the checkpoint"
        ) from None


def _read_onnx(file: Path, device: torch.device) -> tuple[Segmenter, Blueprint, dict[str, Any]]:
    import onnx

    known = json.loads({entry.key: entry.value for entry in onnx.load(str(file)).metadata_props}[METADATA])
    blueprint = Blueprint.from_checkpoint(known["blueprint"])
    return OnnxModel(blueprint, file, device).eval(), blueprint, known["training"]


def _read_safetensors(file: Path, device: torch.device) -> tuple[Segmenter, Blueprint, dict[str, Any]]:
    from safetensors import safe_open

    with safe_open(file, "pt") as content:
        known = json.loads(content.metadata()[METADATA])
        parameters = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - no mapping
    blueprint = Blueprint.from_checkpoint(known["blueprint"])
    segmenter = checkpoint.build_model(blueprint, parameters).eval()
    return segmenter.to(device).to(memory_format=torch.channels_last), blueprint, known["training"]


_READERS = {".onnx": _read_onnx, ".safetensors": _read_safetensors}


def export(model_file: Path, target: Path, kind: str, *, deepness: bool = False) -> None:
    """Write a checkpoint's model in another format.

    Args:
        kind: one of :data:`FORMATS`.
        deepness: of ONNX alone: add what the QGIS plugin Deepness reads, undo its division by 255, and give the
            probabilities as the only output, which it takes.

    Raises:
        DataError: if the checkpoint cannot be read.
    """
    segmenter, blueprint, training = checkpoint.load(model_file)
    known = json.dumps({"blueprint": vars(blueprint), "training": training}, default=float)
    with atomic_write(target) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: sizes that it takes for constants are
        FORMATS[kind](segmenter, part, {METADATA: known}, **({"deepness": True} if deepness else {}))


def _example(blueprint: Blueprint) -> Tensor:
    data = blueprint.described
    shape = (2, len(data.bands(blueprint.modality)), data.patch_size, data.patch_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _write_onnx(segmenter: Segmenter, path: Path, metadata: Mapping[str, str], deepness: bool = False) -> None:
    import onnx

    blueprint = segmenter.blueprint
    exported = Exported(segmenter, 255.0 if deepness else 1.0, both=not deepness).eval()
    outputs = _OUTPUTS[:1] if deepness else _OUTPUTS
    free = {0: "batch"} | ({} if blueprint.model in _FIXED else {2: "height", 3: "width"})
    axes = {"image": free, "probabilities": free, "classes": {0: "batch"} | {k - 1: v for k, v in free.items() if k}}
    torch.onnx.export(
        exported,
        (_example(blueprint),),
        str(path),
        dynamo=False,
        opset_version=OPSET,
        input_names=["image"],
        output_names=outputs,
        dynamic_axes={name: axes[name] for name in ("image", *outputs)},
    )
    model = onnx.load(str(path))
    model.producer_name = "CerraSeg"
    told = {**metadata, **(_deepness(blueprint) if deepness else {})}
    for key, value in told.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _deepness(blueprint: Blueprint) -> dict[str, str]:
    """Return what Deepness reads of a model, each value as JSON, which is how the plugin stores them."""
    data = blueprint.described
    grid = {"model_type": "Segmentor", "tiles_size": data.patch_size, "tiles_overlap": 50}
    names = {k: entry.name for k, entry in enumerate(data.classes(blueprint.level))}
    return {key: json.dumps(value) for key, value in (grid | {"class_names": names, "seg_thresh": 0.0}).items()}


def _write_torchscript(segmenter: Segmenter, path: Path, metadata: Mapping[str, str]) -> None:
    with torch.inference_mode():
        example = _example(segmenter.blueprint)
        traced = torch.jit.trace(Exported(segmenter).eval(), example, check_trace=False)  # type: ignore[no-untyped-call]
    with path.open("wb") as file:
        torch.jit.save(traced, file, _extra_files=dict(metadata))


def _write_safetensors(segmenter: Segmenter, path: Path, metadata: Mapping[str, str]) -> None:
    from safetensors.torch import save_file

    # Tensors that stand under several names, as of a model that shares parameters, are written once each.
    parameters = {name: value.clone().contiguous() for name, value in segmenter.net.state_dict().items()}
    save_file(parameters, path, dict(metadata))


FORMATS: dict[str, Callable[..., None]] = {
    "onnx": _write_onnx,
    "torchscript": _write_torchscript,
    "safetensors": _write_safetensors,
}
"""Name → function that writes the format."""
