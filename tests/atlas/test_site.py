"""The atlas, also in a real browser at desktop and phone width."""

import re

import pytest

from browsing import BROKEN, FITS, Links
from cartalg.atlas.pictures import sparsity, surface
from cartalg.atlas.site import build
from cartalg.symbolic import coupling
from cartalg_codegen import emit
from cartalg_codegen.proofs.report import report
from cartalg_codegen.sets import Set


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    kernels, folder = tmp_path_factory.mktemp("set") / "kernels", tmp_path_factory.mktemp("atlas") / "site"
    names = ("coupling_1_1_1", "harmonics_l1", "pack_ij_ji")
    emit.write(emit.render(Set(2, only=names)), kernels)
    build(2, folder, report(2, kernels, processes=1))
    return folder


def test_every_link_leads_to_a_file_of_the_site(site):
    pages = list(site.glob("*.html"))
    assert len(pages) == 3 + 15 + 8 + 3  # ranks, couplings, tensors, index, general, proofs
    anchors = set(re.findall(r'id="(\w+)"', (site / "index.html").read_text()))
    for page in pages:
        links = Links(page.read_text()).found
        assert len(links) > 3, page.name
        for link in links:
            assert "//" not in link, f"{page.name} needs the network for {link}"
            file, _, anchor = link.partition("#")
            assert (site / file).is_file(), f"{page.name} links to {link}"
            assert not anchor or anchor in anchors


def test_a_page_holds_formula_table_kernel_and_proofs(site):
    text = (site / "coupling-2-1-2.html").read_text()
    assert text.count("<math") > 30
    assert "def" in text
    assert "identities of polynomials" in (site / "coupling-1-1-1.html").read_text()
    rule = coupling(2, 1, 2)
    assert f"{len(rule.entries)} of 75 are nonzero" in text
    assert text.count('class="plus"') + text.count('class="minus"') == len(rule.entries)
    assert "\\frac" not in text


def test_nothing_of_the_users_is_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(FileExistsError, match="holds no atlas"):
        build(1, tmp_path, [])
    with pytest.raises(ValueError, match="max_rank"):
        build(0, tmp_path / "new", [])


def test_pictures():
    assert surface(2, -1).startswith(b"\x89PNG")
    assert "<svg" in sparsity(coupling(1, 1, 2))


def test_pages_fit_their_width_and_show_mathematics(site, page):
    for name in ("index", "rank-2", "coupling-2-1-2", "tensor-ijkl_jikl_klij", "general", "proofs"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate(FITS), name
        if name != "index":
            assert page.locator("h1").is_visible()
        if name in ("rank-2", "coupling-2-1-2", "general"):
            box = page.locator(".formula math").first.bounding_box()
            assert box["width"] > 60
            assert box["height"] > 15
            fraction = page.locator("mfrac").first.bounding_box()  # laid out as a fraction: higher than a line of text
            assert fraction["height"] > page.locator("math mi").first.bounding_box()["height"]
        assert page.evaluate(BROKEN) == []


def test_navigation_and_search(site, page):
    page.goto((site / "index.html").as_uri())
    page.locator(".grid a", has_text="2").first.click()
    page.wait_for_url("**/coupling-0-2-2.html")  # a click returns before the next page and its script are there
    page.locator("a[rel=next]").click()
    page.wait_for_url("**/coupling-1-0-1.html")
    assert page.locator("h1").inner_text().startswith("Coupling (1, 0) → 1")
    page.get_by_role("link", name="cartalg atlas").click()
    page.wait_for_url("**/index.html")
    search = page.get_by_label("Search the atlas")
    search.fill("2 1 2")
    assert page.locator("#results a").all_inner_texts() == ["Coupling (2, 1) → 2"]
    search.press("Enter")
    page.wait_for_url("**/coupling-2-1-2.html")
    page.get_by_label("Search the atlas").fill("elastic")
    page.locator("#results a").first.click()
    page.wait_for_url("**/tensor-ijkl_jikl_klij.html")
    page.get_by_label("Search the atlas").fill("no such thing")
    assert "nothing found" in page.locator("#results").inner_text()
    page.get_by_label("Search the atlas").press("Escape")
    assert page.locator("#results").is_hidden()
