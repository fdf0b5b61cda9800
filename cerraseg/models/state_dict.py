"""Read files of parameters: nothing but tensors and plain values is ever unpickled, and no more than the file holds."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from cerraseg.core.errors import DataError

_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_parameters(file: Path) -> dict[str, Any]:
    """A CerraSeg checkpoint as it is, or the tensors of a state dict by name, out of what is wrapped around it.

    Raises:
        DataError: if the file is unsafe or holds neither, or a tensor is not what a model can be filled with.
    """
    content = _content(file)
    if isinstance(content, dict) and {"blueprint", "parameters"} <= content.keys():
        if not _is_state(content["parameters"]):
            raise DataError(f"{file}: not a checkpoint that CerraSeg wrote; fetch or write the file again")
        _check(file, content["parameters"])
        return content
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not _is_state(content):
        raise DataError(
            f"{file}: not a state dict; expected names with their tensors, as model.state_dict() gives them"
        )
    _check(file, content)
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def _content(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        _check_stored(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise DataError(
            f"{file}: holds more than parameters, which could run code when it is read; expected a state dict. Where "
            "you trust the file, load it with the code that made it and write torch.save(model.state_dict(), ...)"
        ) from None
    except DataError:
        raise
    except Exception as error:  # a damaged file makes the readers trip over anything
        raise DataError(
            f"{file}: not a checkpoint ({error or type(error).__name__}); fetch or write it again"
        ) from None


def _check_stored(file: Path) -> None:
    """torch packs nothing: an archive that does holds far more than its bytes."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise DataError(
                    f"{file}: a packed archive; expected one as torch.save writes it: unpack or fetch it again"
                )


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def _check(file: Path, state: Mapping[str, Tensor]) -> None:
    for name, tensor in state.items():
        if fault := _fault(tensor):
            raise DataError(f"{file}: its tensor {name} {fault}; fetch or write the file again")


def _fault(tensor: Tensor) -> str:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
        return "is sparse, quantised, complex or without content; expected plain numbers"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"of shape {tuple(tensor.shape)} repeats fewer numbers; expected each one in the file"
    if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
        return "holds NaN or infinite values; expected the parameters of a training that went well"
    return ""
