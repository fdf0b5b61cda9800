"""The overview page in a real browser: offline, linked panels, keys, hover, selects, colours, and both widths."""

import base64
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import rasterio
from overview_run import L1, L2, SIMULATED, class_map, raster, results, scored
from rasterio.warp import transform
from scenes import CERRADATA

from cerraseg.report.overview.basemap import HOST, TILES
from cerraseg.report.overview.maps import View, find_views
from cerraseg.report.overview.page import write_overview

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.ci, pytest.mark.skipif(not CHROMIUM, reason="there is no program chromium")]

WIDTHS = {1440: 900, 390: 844}
PANELS = ("image", "prediction", "truth", "difference", "confidence")
SCENE = "north</script><b>"
PIXEL = base64.b64decode(  # a PNG
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MIDDLE = 6e5 + 300, 8e6 - 200


class Opened:
    """The page in a tab, with what the tab asked for and complained about."""

    def __init__(self, tab: Any, file: Path) -> None:
        self.tab, self.requests, self.complaints, self.allowed = tab, [], [], "data:"
        tab.set_default_timeout(20000)
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("console", lambda line: line.type in ("error", "warning") and self.complaints.append(line.text))
        tab.goto(file.as_uri())
        tab.wait_for_selector("html[data-ready=yes]")
        for panel in PANELS[2:] if tab.viewport_size["width"] < 800 else ():  # a phone opens with two panels
            tab.click(f"[data-panel={panel}]")
        tab.wait_for_function("Bokeh.documents.at(-1).get_model_by_name('map-prediction').inner_width > 0")

    def model(self, name: str, what: str) -> Any:
        """A value of a Bokeh model of the page, ``what`` written in JavaScript with the model as ``m``."""
        return self.tab.evaluate(f"(m => {what})(Bokeh.documents.at(-1).get_model_by_name({name!r}))")

    def ranges(self) -> list[float]:
        """Left, right, bottom and top, which are those of every panel."""
        what = "[m.x_range.start, m.x_range.end, m.y_range.start, m.y_range.end]"
        first, *others = [self.model(f"map-{name}", what) for name in PANELS]
        assert all(panel == first for panel in others)
        return first

    def place(self, panel: str, x: float, y: float) -> tuple[float, float]:
        """Where a point of the ground lies on the screen, in pixels from the window's upper left corner."""
        self.tab.locator(f"#chart-map-{panel}").scroll_into_view_if_needed()
        script = """([name, x, y]) => {
            const view = Bokeh.index.find_one_by_id(Bokeh.documents.at(-1).get_model_by_name(`map-${name}`).id);
            const box = view.el.getBoundingClientRect(), frame = view.frame;
            return [box.left + frame.x_scale.compute(x), box.top + frame.y_scale.compute(y)];
        }"""
        return tuple(self.tab.evaluate(script, [panel, x, y]))

    def hover(self, panel: str, x: float, y: float) -> str:
        """The tooltip's text at a point of the ground."""
        left, top = self.place(panel, x, y)
        self.tab.mouse.move(left - 3, top - 3)
        self.tab.mouse.move(left, top)
        tooltip = self.tab.locator(".bk-tooltip-content").filter(visible=True)
        tooltip.wait_for()
        return re.sub(r"\s+", " ", tooltip.inner_text()).replace("−", "-")

    def choose(self, select: str, value: str) -> None:
        self.tab.select_option(select, value)
        self.tab.wait_for_timeout(400)

    def show(self, view: str) -> None:
        """Show a map by its place among all."""
        if view != "0":
            self.choose("#scenario-choice", L2)
            self.choose("#view", view)

    def text(self, selector: str) -> str:
        return self.tab.locator(selector).inner_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two scenarios, with a mosaic of each in metres and a scene in degrees."""
    folder = results(tmp_path_factory.mktemp("browser"))
    degrees: dict[str, Any] = {"crs": "EPSG:4326", "pixel": 1e-4}
    files = {name: raster(folder / f"{name}.tif", class_map(14, seed), **degrees) for seed, name in enumerate("ct")}
    views = [*find_views(folder, {L1: "l1", L2: "l2"}), View(SCENE, L2, "l2", files["c"], files["c"], truth=files["t"])]
    write_overview(
        folder / "overview.html",
        title="A run",
        source=SIMULATED,
        dataset=CERRADATA,
        benchmark=folder / "benchmark.csv",
        scenarios=scored(folder),
        views=views,
        facts={"Configuration": "results: results\nsource: simulate\n", "Patches": {"train": 43, "test": 6}},
    )
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, run: Path) -> Iterator[Callable[[int], Opened]]:
    """A function that opens the page at a width; at the end, only the file was asked for and nobody complained."""
    pages: list[Opened] = []

    def at(width: int = 1440) -> Opened:
        tab = browser.new_page(viewport={"width": width, "height": WIDTHS[width]})
        pages.append(Opened(tab, run / "overview.html"))
        return pages[-1]

    yield at
    for page in pages:
        loaded = [url for url in page.requests if not url.startswith(("data:", page.allowed))]
        assert loaded == [(run / "overview.html").as_uri()]
        assert page.complaints == []
        page.tab.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_the_window(opened, width):
    page = opened(width)
    assert page.tab.evaluate("document.documentElement.scrollWidth") == width
    legend = page.tab.locator("#legend")
    for panel in ("image", "confidence"):  # the legend stays in view
        page.tab.locator(f"#panel-{panel}").scroll_into_view_if_needed()
        box = legend.bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= WIDTHS[width]
    assert page.tab.locator("#failed").is_hidden()
    columns = {round(page.tab.locator(f"#panel-{name}").bounding_box()["x"]) for name in PANELS}
    assert len(columns) == (2 if width > 800 else 1)
    assert len({tuple(page.model(f"map-{name}", "[m.inner_width, m.inner_height]")) for name in PANELS}) == 1
    for chart in page.tab.locator("[id^=chart-]").filter(visible=True).all():
        box = chart.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["width"] > 250


def test_tables_fit_or_show_that_they_go_on(opened):
    wide, narrow = opened(), opened(390)
    fits = "[...document.querySelectorAll('.scroll')].map((box) => box.scrollWidth <= box.clientWidth + 2)"
    marked = "[...document.querySelectorAll('.scroll')].map((box) => !box.classList.contains('more'))"
    assert all(wide.tab.evaluate(fits)) and all(wide.tab.evaluate(marked))
    assert not all(narrow.tab.evaluate(fits)) and narrow.tab.evaluate(fits) == narrow.tab.evaluate(marked)
    narrow.tab.evaluate("document.querySelector('.scroll').scrollLeft = 1e6")
    narrow.tab.wait_for_timeout(200)
    assert narrow.tab.evaluate(marked)[0]


@pytest.mark.parametrize(("view", "stretch"), [("0", 1), ("2", np.cos(np.radians(6.002)))])
def test_the_map_fills_its_frame_with_square_pixels(opened, view, stretch):
    page = opened()
    page.show(view)
    left, right, bottom, top = page.ranges()
    width, height = page.model("map-truth", "[m.inner_width, m.inner_height]")
    assert (right - left) * stretch / width == pytest.approx((top - bottom) / height)
    assert view != "0" or (left <= 6e5 and right >= 6e5 + 600 and bottom <= 8e6 - 400 and top >= 8e6)


def test_panels_move_together_by_mouse_and_keys(opened):
    page = opened()
    start = page.ranges()
    x, y = page.place("truth", *MIDDLE)
    page.tab.mouse.move(x, y)
    page.tab.mouse.down()
    page.tab.mouse.move(x + 60, y + 30, steps=4)
    page.tab.mouse.up()
    dragged = page.ranges()
    metres = (start[1] - start[0]) / page.model("map-truth", "m.inner_width")
    assert dragged[0] == pytest.approx(start[0] - 60 * metres, abs=metres)
    assert dragged[2] == pytest.approx(start[2] + 30 * metres, abs=metres)
    page.tab.mouse.move(*page.place("prediction", *MIDDLE))
    top = page.tab.evaluate("scrollY")
    page.tab.mouse.wheel(0, 50)
    page.tab.wait_for_timeout(300)
    assert page.tab.evaluate("scrollY") == top + 50 and page.ranges() == dragged  # the wheel alone scrolls the page
    page.tab.keyboard.down("Control")
    page.tab.mouse.wheel(0, -240)
    page.tab.keyboard.up("Control")
    page.tab.wait_for_timeout(300)
    zoomed = page.ranges()
    assert zoomed[1] - zoomed[0] < 0.9 * (dragged[1] - dragged[0])
    page.tab.focus("#viewer")
    page.tab.keyboard.press("0")
    assert page.ranges() == pytest.approx(start)
    width, height = start[1] - start[0], start[3] - start[2]
    page.tab.keyboard.press("ArrowRight")
    page.tab.keyboard.press("ArrowUp")
    moved = page.ranges()
    assert (moved[0], moved[2]) == pytest.approx((start[0] + 0.1 * width, start[2] + 0.1 * height))
    for press in (lambda: page.tab.keyboard.press("+"), lambda: page.tab.click("#zoom-in")):
        page.tab.focus("#viewer")
        page.tab.keyboard.press("0")
        press()
        assert page.ranges()[1] - page.ranges()[0] == pytest.approx(0.8 * width)


def test_every_control_is_reached_by_tab(opened):
    page = opened()
    reached = []
    for _ in range(60):
        page.tab.keyboard.press("Tab")
        reached.append(page.tab.evaluate("document.activeElement.id || document.activeElement.className"))
    wanted = ["skip", "scenario-choice", "theme", "zoom-in", "zoom-out", "whole", "viewer", "score"]
    assert [name for name in reached if name in wanted][: len(wanted)] == wanted


@pytest.mark.parametrize(
    ("view", "level", "truth", "prediction", "panels"),
    [
        ("0", "l1", "truth/l1/truth_epsg32722.tif", f"scenarios/{L1}/mosaic/prediction_epsg32722.tif", PANELS),
        ("2", "l2", "t.tif", "c.tif", PANELS[1:]),
    ],
)
def test_hover_names_the_classes_of_the_file(opened, run, view, level, truth, prediction, panels):
    page = opened()
    page.show(view)
    assert page.tab.locator("#panel-image").is_visible() == ("image" in panels)
    for panel, (row, column) in product(panels, ((15, 25), (5, 5))):
        with rasterio.open(run / truth) as true, rasterio.open(run / prediction) as predicted:
            x, y = true.xy(row, column)
            values = true.read(1)[row, column], predicted.read(1)[row, column]
        names = ["no data" if value == 255 else CERRADATA.classes(level)[value].name for value in values]
        text = page.hover(panel, x, y)
        assert f"true: {names[0]} predicted: {names[1]} confidence:" in text
        east = float(re.search(r"(?:easting|longitude) [^:]+: ([-0-9.,]+)", text)[1].replace(",", ""))
        assert east == pytest.approx(x, abs=5 if view == "0" else 5e-5)


def test_the_difference_is_that_of_the_files(opened):
    page = opened()
    truth, prediction = class_map(7, 9), class_map(7, 0)
    wanted = np.where((truth == 255) | (prediction == 255), 255, truth != prediction)
    shown = np.flipud(np.array(page.model("map-source", "Array.from(m.data.difference[0])")).reshape(wanted.shape))
    assert np.array_equal(shown, wanted)
    share = 100 * (wanted == 1).sum() / (wanted != 255).sum()
    assert f"({share:.1f} %)" in page.text("#agreement")


def test_choosing_a_scenario_swaps_everything(opened):
    page = opened()
    assert page.tab.locator("#scenario-choice").input_value() == L1  # the best
    assert page.tab.locator("#history").is_visible() and page.model("loss-selected", "m.location") == 2
    assert page.tab.locator("#confusion-table td").count() == 49
    assert "1.5 [1.2, 1.9]" in page.text("#areas-table")
    assert page.tab.locator("tr.chosen").first.get_attribute("data-row") == L1
    page.tab.click(f"#benchmark-table [data-scenario={L2}]")
    page.tab.wait_for_timeout(400)
    assert page.tab.locator("#scenario-choice").input_value() == L2 and L2 in page.text("#scenario-heading")
    for name in ("#history", "#areas-table", "#panel-truth", "[data-panel=truth]"):
        assert page.tab.locator(name).is_hidden()
    assert page.tab.locator("#confusion-table td").count() == 196
    assert "Deforestation 2022" in page.text("#class-table") and "Deforestation 2022" in page.text("#confusion-table")
    assert page.tab.locator("#view").input_value() == "1"  # the maps follow
    assert page.model("class-colours", "m.palette.length") == 14
    page.tab.click("#zoom-in")
    zoomed = page.ranges()
    page.choose("#scenario-choice", L1)
    assert page.ranges() == pytest.approx(zoomed)  # the same ground


def test_scores_and_classes_are_chosen_and_names_are_text(opened):
    page = opened()
    width = f"[data-row={L1}] .bar i"
    macro = page.tab.locator(width).first.get_attribute("style")
    page.choose("#score", "kappa")
    assert page.tab.locator(width).first.get_attribute("style") != macro
    assert page.tab.locator(f"#benchmark-table [data-row={L1}] .whisker").count() == 0
    assert page.text("#benchmark-score") == "Kappa (%)"
    for faded in (["26", "ff", *["26"] * 5], ["ff"] * 7):
        page.tab.locator("#classes button").nth(1).click()
        assert [colour[-2:] for colour in page.model("class-colours", "m.palette")] == faded
    page.show("2")
    assert page.tab.locator("b").count() == 0
    assert page.tab.locator("#view option").nth(1).inner_text() == SCENE


def test_names_of_files_lead_to_them(opened, run):
    page = opened()
    found = [link.get_attribute("href") for link in page.tab.locator("#files a, #scenario-files a").all()]
    assert f"./scenarios/{L1}/mosaic/prediction_epsg32722.tif" in found and f"./scores/{L1}/metrics.json" in found
    assert all((run / unquote(link)).is_file() for link in found)


def test_the_basemap_is_loaded_only_when_asked_for(opened):
    page = opened()
    asked: list[str] = []
    page.allowed = HOST

    def answer(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(body=PIXEL, content_type="image/png")

    page.tab.route(f"{HOST}/**", answer)
    page.choose("#score", "kappa")
    assert not asked
    page.tab.click("[data-panel=basemap]")
    page.tab.wait_for_timeout(800)
    longitude, latitude = (values[0] for values in transform("EPSG:32722", "EPSG:4326", *([value] for value in MIDDLE)))
    column = int(2**14 * (180 + longitude) / 360)
    row = int(2**14 * (0.5 - np.arctanh(np.sin(np.radians(latitude))) / (2 * np.pi)))
    assert TILES.format(z=14, y=row, x=column) in asked
    tiles = page.model("basemap-source", "m.data")
    covered = [abs(MIDDLE[0] - x) <= w / 2 for x, w in zip(tiles["x"], tiles["w"], strict=True)]
    assert any(covered) and tiles["w"][0] == pytest.approx(2446 * np.cos(np.radians(latitude)), rel=0.02)
    assert page.tab.locator("#panel-basemap .note").is_visible()


# Of every text: its contrast with what lies behind it, as WCAG 2.2 defines it, where that is one colour.
CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const over = (colour, below) => {
        canvas.fillStyle = below; canvas.fillRect(0, 0, 1, 1);
        canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return `rgb(${[...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)})`;
    };
    const luminance = (colour) => colour.match(/\\d+/g).map((value) => value / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, k) => sum + value * [0.2126, 0.7152, 0.0722][k], 0);
    const behind = (tag) => tag ? over(getComputedStyle(tag).backgroundColor, behind(tag.parentElement)) : "white";
    const low = [];
    for (const tag of document.querySelectorAll("body *")) {
        const text = [...tag.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
        if (!text.length || !tag.checkVisibility() || tag.closest("script, noscript, [id^=chart-], option")) continue;
        const below = behind(tag), ink = over(getComputedStyle(tag).color, below);
        const [dark, light] = [luminance(below), luminance(ink)].sort((a, b) => a - b);
        if ((light + 0.05) / (dark + 0.05) < 4.5) low.push(`${text[0].data}: ${ink} on ${below}`);
    }
    return low;
}"""

NAMELESS = """() => {
    const named = (tag) => tag.ariaLabel || tag.labels?.length || (!tag.role && tag.textContent.trim());
    const all = document.querySelectorAll("button, a, select, input, svg, [role=img], [role=region], [role=group]");
    return [...all].filter((tag) => tag.checkVisibility() && !named(tag)).map((tag) => tag.outerHTML.slice(0, 90));
}"""


@pytest.mark.parametrize("width", WIDTHS)
def test_texts_have_contrast_and_controls_names_in_light_and_dark(opened, width):
    page = opened(width)
    pages = []
    for pressed in ("false", "true", "false"):
        assert page.tab.locator("#theme").get_attribute("aria-pressed") == pressed
        assert page.tab.evaluate(CONTRAST) == [] and page.tab.evaluate(NAMELESS) == []
        pages.append(page.tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.tab.click("#theme")
    assert pages[0] == pages[2] != pages[1]
