"""The versions of CerraSeg, its libraries and its source tree."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

__version__ = "0.1.0"

PACKAGES = ("torch", "lightning", "segmentation-models-pytorch", "timm", "numpy", "rasterio")
"""Distributions whose versions can change results."""

_CODE = ("cerraseg", "workflow", "Snakefile", "requirements.txt")  # whose changes count as uncommitted


def versions() -> dict[str, str]:
    """Return the versions of CerraSeg, the :data:`PACKAGES`, Python and the platform."""
    machine = f"{platform.system()} {platform.machine()}"
    found = {name: _version(name) for name in PACKAGES}
    return {"cerraseg": __version__, **found, "Python": platform.python_version(), "platform": machine}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def commit(repository: Path) -> str:
    """Return the commit of ``repository``, "unknown" where it is not the top folder of a Git repository."""
    git = ["git", "--no-optional-locks", "-C", str(repository)]
    try:
        found = subprocess.run([*git, "rev-parse", "--show-prefix", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run([*git, "status", "--porcelain", "--", *_CODE], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    inside, commit = found.stdout.splitlines()
    return "unknown" if inside else f"`{commit}`{' with uncommitted changes' if changes.stdout else ''}"
