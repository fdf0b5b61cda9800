"""Photograph the demo's overview page: python docs/screenshots.py results/overview.html docs/images"""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

VIEW = "fullres-concat-nw-l1-tuned-666 · unseen"
WIDTHS = {1440: 1000, 390: 844}
"""Width of the window → its height, in pixels."""


def main() -> None:
    """Write a picture of the whole page in a wide window, and of its maps in a narrow one."""
    page_file, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    program = shutil.which("chromium")
    if not program:
        sys.exit("chromium is not installed; the page's pictures stay as they are")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for width, height in WIDTHS.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(page_file.as_uri())
            page.get_by_label("Map", exact=True).select_option(label=VIEW)
            page.wait_for_timeout(3000)
            page.evaluate("document.querySelector('header').style.position = 'static'")  # else it lies over the maps
            path = folder / f"overview-{width}.png"
            if width > height:
                page.screenshot(path=path, full_page=True)
            else:
                page.locator("#maps").screenshot(path=path)
            with Image.open(path) as picture:
                small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
            small.save(path, optimize=True)


if __name__ == "__main__":
    main()
