"""Pages in Chromium at desktop and phone width, without a problem on the console: fixtures of atlas and site."""

import os
import shutil
from html.parser import HTMLParser

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
#: Pictures that are not there.
BROKEN = "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
#: Nothing makes the page wider than the window.
FITS = "document.documentElement.scrollWidth <= innerWidth"


class Links(HTMLParser):
    """Where a page leads and what it loads, and the places in it."""

    def __init__(self, text):
        super().__init__()
        self.found, self.loaded, self.places = [], [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        here = [v for k, v in attrs if k in ("href", "src") and v and not v.startswith("data:")]
        self.found += here
        self.loaded += here if tag != "a" else []
        self.places |= {v for k, v in attrs if k in ("id", "name") and v}


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        if os.environ.get("CARTALG_BROWSER") == "required":
            pytest.fail("Chromium is required here, and not installed")
        pytest.skip("Chromium is not installed: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield found
        found.close()


@pytest.fixture(params=WIDTHS)
def page(browser, request):
    width, height = WIDTHS[request.param]
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.problems = []
    page.on("console", lambda m: page.problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: page.problems.append(str(e)))
    page.on("requestfailed", lambda r: page.problems.append(r.url))
    yield page
    assert page.problems == []
    context.close()
