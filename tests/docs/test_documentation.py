"""The documentation site: built strictly, links followed, looked at in a real browser at desktop and phone width."""

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from browsing import BROKEN, FITS, Links

ROOT = Path(__file__).parent.parent.parent
#: One page of each kind.
KINDS = (
    "index",
    "start/inspect",
    "guides/from_e3nn",
    "training",
    "tutorial",
    "concepts/2_couplings",
    "theory",
    "theory/03_couplings",
    "gallery/index",
    "gallery/coupling_sparsity",
    "reference/index",
    "reference/cartalg.ops",
    "reference/commands",
    "results",
    "benchmarks",
    "SECURITY",
    "atlas",
)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Built once, whatever the number of test processes. No network: a proxy that is not there."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "documentation"
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            paths = os.pathsep.join(str(ROOT / p) for p in (".", "codegen", "generated"))
            proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
            done = subprocess.run(
                [sys.executable, ROOT / "docs" / "_site" / "build.py", "--out", folder, "--atlas-rank", "1"],
                env={**os.environ, **proxies, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "WARNING" not in done.stdout + done.stderr
    return folder


def test_every_link_leads_to_a_place_of_the_site(site):
    pages = {path: Links(path.read_text()) for path in site.rglob("*.html")}
    assert len(pages) > 100
    for path, links in pages.items():
        assert not [x for x in links.loaded if "//" in x], f"{path} needs the network"
        for link in links.found:
            target, _, anchor = re.sub(r"\?v=\w+", "", link).partition("#")
            if re.match(r"\w+:", target):
                continue
            file = (path.parent / target).resolve() if target else path
            assert file.is_file(), f"{path} links to {link}"
            assert not anchor or file.suffix != ".html" or anchor in pages[file].places, f"{path} links to {link}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:|@import", style.read_text()), style


def test_citations_of_equations_are_links(site):
    for number in (1, 22, 66):
        assert any(f'id="eq-{number}"' in p.read_text() for p in (site / "theory").glob("*.html"))
    assert "theory/06_reducible.html#eq-49" in (site / "reference" / "cartalg.ops.html").read_text()
    assert "01_polynomials.html#eq-2" in (site / "theory" / "02_basis.html").read_text()


def test_the_reference_has_every_public_object(site):
    import cartalg.ops
    import cartalg.symbolic
    import cartalg.testing

    text = "".join(p.read_text() for p in (site / "reference").glob("*.html"))
    for package in (cartalg.ops, cartalg.symbolic, cartalg.testing):
        for name in package.__all__:
            found = getattr(package, name)
            place = f"{found.__module__}.{name}" if hasattr(found, "__module__") else f".{name}"
            assert re.search(rf'id="[\w.]*{re.escape(place)}"', text), place
    assert "Raises" in text
    assert "Parameters" in text


@pytest.mark.parametrize("name", KINDS)
def test_pages_fit_their_width(site, page, name):
    page.goto((site / f"{name}.html").as_uri())
    assert page.evaluate(FITS)
    assert page.evaluate(BROKEN) == []
    assert page.locator("h1").first.is_visible()
    wide = "[...document.querySelectorAll('article table, article pre, article math[display=block]')]"
    inside = f"{wide}.every(e => {{ for (let p = e; p.tagName != 'ARTICLE'; p = p.parentElement) "
    inside += "if (getComputedStyle(p).overflowX == 'auto') return true; "
    inside += "return e.getBoundingClientRect().right <= innerWidth })"
    assert page.evaluate(inside), "a table, code or formula is cut off"


def test_mathematics(site, page):
    page.goto((site / "theory" / "03_couplings.html").as_uri() + "#eq-22")
    assert page.evaluate("document.fonts.ready.then(() => document.fonts.check('16px \"STIX Two Math\"'))")
    formula = page.locator("#eq-22 math")
    assert formula.bounding_box()["height"] > 30
    fraction = page.locator("#eq-22 mfrac").first.bounding_box()
    assert fraction["height"] > 1.5 * page.locator("#eq-22 mi").first.bounding_box()["height"]
    assert page.locator("#eq-22 .number").inner_text() == "(22)"
    assert page.locator("merror").count() == 0
    for path in (site / "theory").glob("*.html"):
        assert "\\frac" not in re.sub(r"<(pre|code).*?</\1>", "", path.read_text(), flags=re.DOTALL), path
        formulas = "".join(re.findall(r"<math.*?</math>", path.read_text(), re.DOTALL))
        assert "<mi>&" not in formulas.replace("<mi>&#", ""), f"{path}: columns that nothing aligns"
        assert set(re.findall(r'mathvariant="([\w-]+)"', formulas)) <= {"normal"}, "browsers know no other"


def test_navigation_and_search(site, page):
    page.goto((site / "index.html").as_uri())
    menu = page.locator("label.nav-overlay-icon:visible")
    if menu.count():  # a phone
        menu.first.click()
    page.locator(".sidebar-tree a", has_text="3. Couplings").or_(
        page.locator(".sidebar-tree a", has_text="Theory")
    ).first.click()
    page.wait_for_url("**/theory*.html")
    page.goto((site / "index.html").as_uri())
    if menu.count():
        menu.first.click()
    page.locator(".sidebar-search").fill("quaternion")
    page.locator(".sidebar-search").press("Enter")
    page.wait_for_url("**/search.html?q=quaternion*")
    page.locator("#search-results li a", has_text="Projector, basis, harmonics").first.click()
    page.wait_for_url("**/theory/02_basis.html*")


def test_the_atlas_is_inside(site, page):
    page.goto((site / "atlas.html").as_uri())
    page.get_by_role("link", name="Open the atlas").click()
    page.wait_for_url("**/atlas/index.html")
    assert page.get_by_label("Search the atlas").is_visible()


def test_nothing_of_the_users_is_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "_site" / "build.py", "--out", tmp_path], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "holds no site" in done.stderr
    assert (tmp_path / "thesis.tex").exists()
