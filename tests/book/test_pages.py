"""Every page in a real browser that can reach nothing but this machine."""

import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, sync_playwright

BROWSERS = ("chromium", "google-chrome", "chromium-browser")
WIDTHS = {"desktop": 1280, "phone": 390}

# Text that a reader would see, without code and without what MathJax has drawn.
PROSE = """() => {
    const copy = document.querySelector("article").cloneNode(true);
    copy.querySelectorAll("pre, code, mjx-container, script, style").forEach(e => e.remove());
    return copy.textContent;
}"""
UNDRAWN = """() => [...document.querySelectorAll(".math")]
    .filter(e => !e.querySelector("mjx-container")).map(e => e.textContent)"""
# An unknown macro is no error to MathJax: it is printed in red.
WRONG = """() => [...document.querySelectorAll("mjx-merror, mjx-mtext[style*=red]")]
    .map(e => e.closest("mjx-container").textContent)"""
BROKEN_IMAGES = """() => [...document.images]
    .filter(e => !(e.complete && e.naturalWidth > 0 && e.alt.trim())).map(e => e.outerHTML)"""
TOO_WIDE = """() => {
    const page = document.scrollingElement;
    if (page.scrollWidth <= innerWidth + 1) return [];
    return [...document.querySelectorAll("article *")]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .slice(0, 5).map(e => e.outerHTML.slice(0, 200));
}"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(html: Path) -> Iterator[str]:
    handler = partial(QuietHandler, directory=html)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        reason = "no Chromium found; on Debian: apt-get install chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


class Visit:
    """A page, with everything that it tried to load from elsewhere or complained about."""

    def __init__(self, browser: Browser, site: str, width: int) -> None:
        self.site = site
        self.outside: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.route("**/*", self.only_this_site)
        self.page.on("console", self.listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def only_this_site(self, route: Route) -> None:
        if route.request.url.startswith(self.site):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def listen(self, message) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")

    def open(self, path: str) -> Page:
        answer = self.page.goto(f"{self.site}/{path}", wait_until="load")
        assert answer and answer.ok, path
        if self.page.query_selector(".math"):
            self.page.wait_for_function("() => window.MathJax?.startup?.promise")
            self.page.evaluate("() => MathJax.startup.promise")
        self.page.wait_for_load_state("networkidle")
        return self.page


@pytest.fixture(params=WIDTHS.values(), ids=WIDTHS.keys(), scope="module")
def visit(request: pytest.FixtureRequest, browser: Browser, site: str) -> Iterator[Visit]:
    visit = Visit(browser, site, request.param)
    yield visit
    visit.page.close()


def critical_faults(page: Page) -> list[tuple[str, list[str]]]:
    """What keeps someone from reading the page, by axe-core's rules."""
    slow = {"color-contrast": {"enabled": False}}  # never critical, and most of the time
    options = {"resultTypes": ["violations"], "preload": False, "rules": slow}
    violations = Axe().run(page, options=options).response["violations"]
    critical = [violation for violation in violations if violation["impact"] == "critical"]
    return [(v["id"], [node["html"] for node in v["nodes"]]) for v in critical]


def test_page(visit: Visit, page_name: str) -> None:
    visit.outside.clear()
    visit.complaints.clear()
    page = visit.open(f"{page_name}.html")
    assert page.evaluate(UNDRAWN) == []
    assert page.evaluate(WRONG) == []
    prose = page.evaluate(PROSE)
    for raw in ("$", "\\(", "\\[", "{math}", "{eq}", "{ref}", "{numref}", "{glue:", "{cite"):
        assert raw not in prose
    assert page.evaluate(BROKEN_IMAGES) == []
    assert page.evaluate(TOO_WIDE) == []
    assert visit.outside == []
    assert visit.complaints == []
    assert critical_faults(page) == []


def test_the_index_leads_to_the_first_page(visit: Visit) -> None:
    visit.page.goto(f"{visit.site}/index.html", wait_until="commit")
    visit.page.wait_for_url("**/chapters/intro.html")


def test_search_finds_a_word_of_the_book(visit: Visit) -> None:
    page = visit.open("search.html?q=diffusion")
    page.wait_for_selector("#search-results ul.search li a")
    assert visit.outside == []
