"""Pages in a browser: headless Chromium opens them, moves the cursor, zooms and prints. `make page-test` runs this and
leaves pictures and PDFs in out/pages to be looked at."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from vdnnsim import Comparison, PolicyRun, calibration_page, compare, comparison_page, run_sweep, sweep_page
from vdnnsim.report.blocks import blocks_of
from vdnnsim_paper import reproduce

ROOT = Path(__file__).parent.parent
OUT = ROOT / "out" / "pages"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
WIDTHS = (1280, 480)
EVIL = "</script><script>alert('1')</script>"
LEFT, RIGHT = 70, 14
"""Beside the canvases' drawings, as template/painting.js has them."""


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    policies = ("baseline(p)", "vdnn-all(p)", "vdnn-dyn")
    found = compare("vgg16", batch=256, gpu="titan-x-maxwell", policies=policies)
    return replace(found, network=f"vgg16 {EVIL}", runs=tuple(map(renamed, found.runs)))


def renamed(run: PolicyRun) -> PolicyRun:
    """The run with names of layers and buffers that would be HTML."""
    kernels = tuple(kernel._replace(layer=f"{kernel.layer}{EVIL}") for kernel in run.timeline.kernels)
    memory = tuple(record._replace(buffer=f"{record.buffer}{EVIL}") for record in run.timeline.memory)
    return replace(run, timeline=replace(run.timeline, kernels=kernels, memory=memory))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.fail("found no Chromium, expected one: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=WIDTHS, ids=lambda width: f"{width} wide")
def page(browser: Browser, comparison: Comparison, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page of the comparison, at each width; whatever the browser complains of fails the test."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "compare.html"
    comparison_page(comparison, path, command=f"vdnnsim page {EVIL}")
    with opened(browser, path, request.param) as shown:
        shown.wait_for_selector(".views[data-ready]")
        yield shown


class opened:  # noqa: N801 - reads as a verb
    """A page in the browser."""

    def __init__(self, browser: Browser, path: Path, width: int) -> None:
        self.path = path
        self.told: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.told.append("a dialog"), dialog.dismiss()))
        self.page.on("request", lambda sent: sent.url.startswith(("file:", "data:")) or self.told.append(sent.url))

    def __enter__(self) -> Page:
        self.page.goto(self.path.as_uri())
        return self.page

    def __exit__(self, *_: object) -> None:
        self.page.close()
        assert self.told == []


def drawn(page: Page) -> int:
    return int(page.get_attribute(".views", "data-blocks") or -1)


def cursor_ns(page: Page) -> int:
    return int(page.get_attribute(".views", "data-cursor") or -1)


def choose(page: Page, number: int) -> None:
    page.locator(".policies label").nth(number).click()


def test_the_map_shows_every_block_of_every_policy(page: Page, comparison: Comparison) -> None:
    for number, run in enumerate(comparison.runs):
        choose(page, number)
        assert drawn(page) == len(blocks_of(run)) > 0


def test_the_page_is_no_wider_than_the_window(page: Page) -> None:
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=OUT / f"compare-{width}.png", full_page=True)


def test_the_cursor_moves_and_says_what_is_there(page: Page, comparison: Comparison) -> None:
    choose(page, 1)
    run = comparison.runs[1]
    map_ = page.locator('[data-part="map"]')
    box = map_.bounding_box()
    assert box is not None
    inner, end_ns = box["width"] - LEFT - RIGHT, run.timeline.iteration_time_ns
    for share in (0.1, 0.37, 0.8):
        map_.hover(position={"x": LEFT + share * inner, "y": 200})
        now_ns = cursor_ns(page)
        assert now_ns == pytest.approx(share * end_ns, abs=2 * end_ns / inner)
        running = [kernel for kernel in run.timeline.kernels if kernel.begin_ns <= now_ns < kernel.end_ns]
        said = page.locator('[data-part="compute"]').inner_text()
        assert (
            said.startswith(f"{running[0].layer} {running[0].pass_}") if running else said.startswith(("wait", "idle"))
        )
    page.locator(".panels").press("ArrowLeft")
    assert cursor_ns(page) < now_ns


def test_a_block_says_what_it_is(page: Page, comparison: Comparison) -> None:
    choose(page, 1)
    map_ = page.locator('[data-part="map"]')
    map_.hover(position={"x": LEFT + 60, "y": 341})  # the lowest addresses, where the weights lie
    said = page.locator('[data-part="tip"]').inner_text()
    first = next(block for block in blocks_of(comparison.runs[1]) if block.buffer.startswith("weights") and block.kept)
    assert first.memory_class in said
    assert EVIL in said
    assert " bytes) at 0x" in said
    assert "to the end" in said


def test_a_drag_zooms_both_ways_and_all_comes_back(page: Page) -> None:
    choose(page, 1)
    every = drawn(page)
    page.locator('[data-part="map"]').scroll_into_view_if_needed()
    box = page.locator('[data-part="map"]').bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + LEFT + 20, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + LEFT + 120, box["y"] + 250, steps=4)
    page.mouse.up()
    assert 0 < drawn(page) < every
    page.locator('[data-do="all"]').click()
    assert drawn(page) == every


def test_it_prints(browser: Browser, comparison: Comparison) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    comparison_page(comparison, OUT / "compare.html")
    with opened(browser, OUT / "compare.html", 1000) as page:
        page.wait_for_selector(".views[data-ready]")
        contents = page.pdf(path=OUT / "compare.pdf", prefer_css_page_size=True)
    assert contents.startswith(b"%PDF")
    assert 2 <= contents.count(b"/Type /Page\n") + contents.count(b"/Type /Page ") <= 8


def sweep_of_links(folder: Path) -> None:
    run_sweep(ROOT / "examples" / "sweep.toml", folder / "sweep", jobs=1)
    sweep_page(folder / "sweep", OUT / "sweep.html")


def calibration(_folder: Path) -> None:
    calibration_page(ROOT / "experiments" / "calibration" / "h200", OUT / "calibration.html")


def reproduction(folder: Path) -> None:
    reproduce(["11", "12", "14"], out=folder, bands=False)
    shutil.copy(folder / "report_fig11_fig12_fig14.html", OUT / "reproduction.html")


@pytest.mark.parametrize(
    ("make", "name"),
    [(sweep_of_links, "sweep"), (calibration, "calibration"), (reproduction, "reproduction")],
    ids=["sweep", "calibration", "reproduction"],
)
def test_other_pages_show_their_pictures_and_sort_their_tables(
    browser: Browser, make: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    make(tmp_path)
    for width in WIDTHS:
        with opened(browser, OUT / f"{name}.html", width) as page:
            assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
            heading = page.locator("th").first
            for order in ("ascending", "descending"):
                heading.click()
                assert heading.get_attribute("aria-sort") == order
            page.screenshot(path=OUT / f"{name}-{width}.png", full_page=True)
            page.pdf(path=OUT / f"{name}.pdf", prefer_css_page_size=True)
