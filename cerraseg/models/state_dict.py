"""Read files of parameters without running code: only tensors and plain values are unpickled."""

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
    """Read a CerraSeg checkpoint as it is, or the tensors of a state dict by name, out of what is wrapped around it.

    Raises:
        DataError: if the file holds neither, could run code, or a tensor is not made of plain finite numbers.
    """
    content = _content(file)
    if isinstance(content, dict) and {"blueprint", "parameters"} <= content.keys():
        _check_state(file, content["parameters"])
        return content
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    return {name.removeprefix("module."): tensor for name, tensor in _check_state(file, content).items()}


def _content(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        _check_uncompressed(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise DataError(
            f"{file}: holds more than parameters, which could run code when it is read; expected a state dict. Where "
            "you trust the file, load it with the code that made it and write torch.save(model.state_dict(), ...)"
        ) from None
    except DataError:
        raise
    except Exception as error:  # readers of a damaged file may raise anything
        raise DataError(
            f"{file}: not a checkpoint ({error or type(error).__name__}); fetch or write it again"
        ) from None


def _check_uncompressed(file: Path) -> None:
    """Refuse a compressed archive, which torch never writes and which may hold far more than its bytes."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise DataError(
                    f"{file}: a compressed archive; expected one as torch.save writes it: unpack or fetch it again"
                )


def _check_state(file: Path, state: Any) -> Mapping[str, Tensor]:
    whole = isinstance(state, dict) and state
    if not whole or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        raise DataError(
            f"{file}: not a state dict; expected names with their tensors, as model.state_dict() gives them"
        )
    for name, tensor in state.items():
        if not _is_dense(tensor) or not torch.isfinite(tensor.float()).all():
            raise DataError(
                f"{file}: its tensor {name} is sparse, quantised, complex, without content or holds NaN or infinite "
                "values; expected plain finite numbers: fetch or write the file again"
            )
    return state


def _is_dense(tensor: Tensor) -> bool:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()  # no number stands for many
