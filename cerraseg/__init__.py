"""CerraSeg: land-use and land-cover maps from Sentinel-1/2 patches, reproducibly.

What stands in ``__all__`` is the public interface. It is loaded when it is first used, so that ``import cerraseg``
takes no time; ``__init__.pyi`` has the types. Names of modules are not part of the interface.
"""

import importlib
from typing import Any

from cerraseg.core.environment import sanitise
from cerraseg.core.versions import __version__ as __version__

_PUBLIC = {
    "load": "mapping.model",
    "Model": "mapping.model",
    "Prediction": "mapping.model",
    "MMDataset": "training.loaders",
    "MSIDataset": "training.loaders",
    "SARDataset": "training.loaders",
    "Patches": "training.loaders",
    "DiceLoss": "training.losses",
}
"""Name → module of the package that has it. No import statement: each step would depend on all of them."""

__all__ = ["DiceLoss", "MMDataset", "MSIDataset", "Model", "Patches", "Prediction", "SARDataset", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cerraseg' has no attribute {name!r}; it has {', '.join(_PUBLIC)}")
    return getattr(importlib.import_module(f"cerraseg.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sanitise()
