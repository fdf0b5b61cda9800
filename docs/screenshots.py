"""Photograph the demo's overview page: python docs/screenshots.py results/overview.html docs/images"""

import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTHS = {1440: 900, 390: 844}
"""Width of the window → its height, in pixels."""


def main() -> None:
    """Write pictures of the page in a wide and a narrow window, in light and dark colours."""
    page_file, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    program = shutil.which("chromium")
    if not program:
        sys.exit("chromium is not installed; the page's pictures stay as they are")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for width, height in WIDTHS.items():
            for scheme, ending in (("light", ""), ("dark", "-dark")):
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                page.goto(page_file.as_uri())
                page.wait_for_selector("html[data-ready=yes]")
                page.wait_for_timeout(1500)
                photograph(page, folder / f"overview-{width}{ending}.png", whole=width > height and not ending)
        browser.close()


def photograph(page: Any, path: Path, *, whole: bool) -> None:
    """Write a picture of the page, of its first screen unless ``whole``, with 256 colours."""
    if whole:
        page.evaluate("document.querySelector('header').style.position = 'static'")  # else it lies over the page
    page.screenshot(path=path, full_page=whole)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main()
