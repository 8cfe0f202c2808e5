"""The lists of faults fit the files that they change. That each fault is caught is for `make mutants` to say."""

import ast
from collections import Counter

import pytest
from faults import AREAS, ROOT, Stale, load
from operators import draw

pytestmark = pytest.mark.campaign


@pytest.mark.parametrize("area", AREAS)
def test_every_listed_fault_fits_its_file(area):
    faults = list(load(area))
    assert len(faults) >= 25
    assert max(Counter((f.file, f.what) for f in faults).values()) == 1
    stale = []
    for fault in faults:
        path = ROOT / fault.file
        try:
            fault.text(path.read_text() if path.is_file() else None)
        except Stale as error:
            stale.append(str(error))
    assert stale == []


def test_faults_made_by_rule_are_the_same_for_a_seed_and_are_python():
    faults = draw(40, seed=5)
    assert faults == draw(40, seed=5) != draw(40, seed=6)
    assert len({fault.file for fault in faults}) > 15
    for fault in faults:
        text = fault.text((ROOT / fault.file).read_text())
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(fault.old))


def test_a_fault_that_does_not_fit_is_named():
    fault = next(load("emitted"))
    with pytest.raises(Stale, match="does not hold"):
        fault.text("another text")
