"""Photograph the first page of the site in four ways: python docs/site_pictures.py site docs/images"""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WINDOWS = {1440: 1000, 390: 844}
"""Width of the window → its height, in pixels."""


def main() -> None:
    """Write a picture of each window and colour scheme."""
    site, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    program = shutil.which("chromium")
    if not program:
        sys.exit("chromium is not installed; the site's pictures stay as they are")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for width, height in WINDOWS.items():
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                page.goto((site / "index.html").as_uri())
                path = folder / f"site-{width}-{scheme}.png"
                page.screenshot(path=path)
                with Image.open(path) as picture:
                    small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
                small.save(path, optimize=True)


if __name__ == "__main__":
    main()
