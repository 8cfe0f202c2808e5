"""The documentation is true: the tutorial runs, and every equation that is cited exists."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from cartalg.ops import KernelSet
from cartalg.train.config import load_config

ROOT = Path(__file__).parent.parent


@pytest.mark.filterwarnings("ignore")  # the notebook machinery's own
def test_the_tutorial_runs():
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    assert all(cell.outputs or "import" in cell.source for cell in notebook.cells if cell.cell_type == "code")


def test_every_cited_equation_exists():
    text = (ROOT / "docs" / "theory.md").read_text()
    known = {int(n) for n in re.findall(r"\\tag\{(\d+)\}", text)}
    assert known == set(range(1, max(known) + 1))
    sections = {int(n) for n in re.findall(r"^## (\d+)\.", text, re.MULTILINE)}
    for root in ("cartalg", "codegen", "generated"):
        for path in (ROOT / root).rglob("*.py"):
            source = re.sub(r"\n# +", " ", path.read_text())
            for cited in re.findall(r"docs/theory\.md, eqs?\. ([\d, -]+)", source):
                for first, last in re.findall(r"(\d+)(?:-(\d+))?", cited):
                    wanted = set(range(int(first), int(last or first) + 1))
                    assert wanted <= known, f"{path} cites equation {cited}"
            for section in re.findall(r"docs/theory\.md,\s+section (\d+)", source):
                assert int(section) in sections, f"{path} cites section {section}"


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "examples").rglob("*.yaml")), ids=lambda p: p.name)
def test_every_example_is_a_valid_run(path):
    """Its keys exist, the shipped kernels serve it, and it says how it is started."""
    config = load_config(path)
    for name in {n for pair in config.model.kernel_names() for n in pair}:
        KernelSet().facts(name)
    assert str(path.relative_to(ROOT)) in path.read_text()
