"""The run of docs/your-data.md, on the simulated region: its files and its commands, in the page's order."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import region_rasters
from project import REPOSITORY, TINY, Project, made_once

PAGE = REPOSITORY / "docs/your-data.md"
SCENARIO = "unet-concat-nw-crops-tuned-1"
RESULTS = "results-my-region"
_BLOCK = re.compile(r"(?:^`([^`]+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> Iterator[tuple[str, str, str]]:
    """Name of the file (or nothing), language and text of each block of the page."""
    yield from _BLOCK.findall(PAGE.read_text())


class RegionRun(Project):
    """A copy of the project in which the page was followed."""

    def follow(self) -> None:
        """Write each file and give each command of the page; keep what the commands print."""
        (self.folder / ".venv").symlink_to(REPOSITORY / ".venv")
        region_rasters.write_region(self.folder / "my-region/data")
        printed = []
        for name, language, text in blocks():
            if name:
                (self.folder / name).write_text(text)
            elif language == "console":
                for command in text.splitlines():
                    printed.append([command, self.call(command.split())])
        (self.folder / "printed.json").write_text(json.dumps(printed))

    @property
    def printed(self) -> list[tuple[str, str]]:
        """Each command of the page, and what it printed."""
        return json.loads((self.folder / "printed.json").read_text())

    @property
    def truth(self) -> Path:
        """The raster of the region's classes, which the run does not know."""
        return self.folder / "my-region/data/truth.tif"


def followed(folder: Path) -> RegionRun:
    """A finished run of the page."""
    return RegionRun.at(made_once(folder, lambda making: RegionRun(making, TINY).follow()))
