"""Read files of parameters: nothing but tensors and plain values is ever unpickled."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cerraseg.errors import DataError

_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read(file: Path) -> dict[str, Any]:
    """A CerraSeg checkpoint as it is, or the tensors of a state dict by name, out of what is wrapped around it.

    Raises:
        DataError: if the file is unsafe or holds neither.
    """
    content = _content(file)
    if isinstance(content, dict) and {"blueprint", "parameters"} <= content.keys():
        return content
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(
            f"{file}: not a state dict; expected names with their tensors, as model.state_dict() gives them"
        )
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def _content(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise DataError(
            f"{file}: holds more than parameters, which could run code when it is read; expected a state dict. Where "
            "you trust the file, load it with the code that made it and write torch.save(model.state_dict(), ...)"
        ) from None
    except (OSError, RuntimeError, EOFError, SafetensorError) as error:
        raise DataError(f"{file}: not a checkpoint ({error}); fetch or write the file again") from None
