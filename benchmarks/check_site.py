"""The built site in a browser: headless Chromium opens every page from disk, without a network, follows every link and
searches. `make docs-test` runs this and leaves pictures in out/site to be looked at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parent.parent
SITE, OUT = ROOT / "out" / "docs", ROOT / "out" / "site"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.glob("*/*.html") if "_static" not in path.parts)
SHOWN = ("docs/index", "docs/advise", "docs/commands", "docs/reference", "docs/coming-from", "notebooks/1_quick_start")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def test_every_page_opens_offline_and_every_link_leads_somewhere(browser: Browser) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: message.type == "error" and faults.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on("request", lambda asked: asked.url.startswith("http") and faults.append(f"{page.url} asks {asked.url}"))
    wanted: dict[Path, set[str]] = {}
    found: dict[Path, set[str]] = {}
    assert len(PAGES) > 20
    for name in ("README.html", "CHANGELOG.html", "CONTRIBUTING.html", "search.html", *PAGES):
        page.goto((SITE / name).as_uri())
        found[SITE / name] = set(page.eval_on_selector_all("[id]", "all => all.map(one => one.id)"))
        for link in page.eval_on_selector_all("a[href]", "all => all.map(one => one.href)"):
            parts = urlparse(link)
            if parts.scheme == "file":
                wanted.setdefault(Path(unquote(parts.path)), set()).add(unquote(parts.fragment))
    faults += [f"{path}: is not there" for path in wanted if not path.exists()]
    faults += [
        f"{path}: has no #{place}"
        for path, places in wanted.items()
        for place in places - found.get(path, places) - {""}
    ]
    assert faults == []


def test_the_first_file_leads_to_the_start_page(browser: Browser) -> None:
    page = browser.new_page()
    page.goto((SITE / "index.html").as_uri())
    page.wait_for_url("**/docs/index.html")


@pytest.mark.parametrize(
    ("words", "page_found"), [("pinned memory", "docs/pytorch"), ("smallest_capacity", "docs/api")]
)
def test_search_finds_pages_offline(browser: Browser, words: str, page_found: str) -> None:
    page = browser.new_context(offline=True).new_page()
    page.goto((SITE / "docs/index.html").as_uri())
    page.fill("input[name=q]", words)
    page.press("input[name=q]", "Enter")
    page.wait_for_selector("#search-results li a")
    links = page.eval_on_selector_all("#search-results li a", "all => all.map(one => one.href)")
    assert any(f"{page_found}.html" in link for link in links)
    OUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUT / f"search_{words.split(' ')[0]}.png")


@pytest.mark.parametrize("width", [1280, 420])
def test_pages_fit_their_window(browser: Browser, width: int) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": width, "height": 900})
    for name in SHOWN:
        page.goto((SITE / f"{name}.html").as_uri())
        page.screenshot(path=OUT / f"{name.replace('/', '_')}_{width}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
