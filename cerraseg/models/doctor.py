"""What is installed on this machine."""

import os
import platform
import shutil
from pathlib import Path

from cerraseg.core.layout import SOURCE
from cerraseg.core.versions import commit, versions

_PROXIES = ("http_proxy", "https_proxy", "no_proxy")


def examine() -> dict[str, str]:
    """Return what a report of a fault should have: name → value, as text."""
    import rasterio
    import torch

    disk = shutil.disk_usage(Path.cwd())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    gpus += ["Apple"] * torch.backends.mps.is_available()
    found = {**versions(), "commit": commit(SOURCE).strip("`")}
    found |= {"GDAL": rasterio.__gdal_version__, "PROJ": rasterio.__proj_version__}
    found |= {"GPU": ", ".join(gpus) or "none", "CPU cores": str(os.cpu_count())}
    found |= {"memory": f"{memory / 2**30:.0f} GB", "disk free here": f"{disk.free / 2**30:.0f} GB"}
    for program in ("snakemake", "dvc", "sbatch", "git"):
        found[program] = shutil.which(program) or "not found"
    for name in _PROXIES:
        found[name] = "set" if os.environ.get(name) or os.environ.get(name.upper()) else "not set"
    return found | {"system": platform.platform()}
