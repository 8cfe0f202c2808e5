"""The documentation is true: the tutorial runs, and every equation that is cited exists."""

import re
import shlex
from pathlib import Path

import nbformat
import pytest
import typer
from nbclient import NotebookClient

from cartalg.architecture import ModelConfig
from cartalg.cli import app
from cartalg.ops import KernelSet
from cartalg.train.config import DataConfig, TrainingConfig, load_config

ROOT = Path(__file__).parent.parent


@pytest.mark.filterwarnings("ignore")  # the notebook machinery's own
def test_the_tutorial_runs():
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    assert all(cell.outputs or "import" in cell.source for cell in notebook.cells if cell.cell_type == "code")


def cited(pattern):
    """What the sources cite of docs/theory.md, with the file that does."""
    for root in ("cartalg", "codegen", "generated"):
        for path in (ROOT / root).rglob("*.py"):
            for match in re.findall(pattern, re.sub(r"\n# +", " ", path.read_text())):
                yield path, match


def theory():
    """The chapters, one after the other."""
    return "\n".join(path.read_text() for path in sorted((ROOT / "docs" / "theory").glob("*.md")))


def test_the_table_of_chapters():
    """Each chapter with the equations that it has; each equation that the notation cites exists; no symbol twice."""
    front = (ROOT / "docs" / "theory.md").read_text()
    rows = re.findall(r"^\| \[(\d+)\. (.*?)\]\((theory/.*?)\) \| ?([\d-]*) ?\|", front, re.MULTILINE)
    chapters = sorted((ROOT / "docs" / "theory").glob("*.md"))
    assert [ROOT / "docs" / file for _, _, file, _ in rows] == chapters
    for number, title, file, equations in rows:
        text = (ROOT / "docs" / file).read_text()
        assert text.startswith(f"# {number}. {title}\n")
        tags = re.findall(r"\\tag\{(\d+)\}", text)
        assert equations == (f"{tags[0]}-{tags[-1]}" if tags else "")
    symbols = re.findall(r"^\| (\$.*?)(?:, [a-z].*?)? \| .* \| (?:eqs?\. |chapter ).* \|$", front, re.MULTILINE)
    letters = [letter.strip() for cell in symbols for letter in re.split(r",(?![^(]*\))", cell.replace("$", ""))]
    assert len(letters) > 80
    assert [x for x in letters if letters.count(x) > 1] == []


def test_every_cited_equation_exists():
    text = theory()
    tags = [int(n) for n in re.findall(r"\\tag\{(\d+)\}", text)]
    known = set(tags)
    assert tags == list(range(1, max(known) + 1)), "equations are numbered in the order in which they stand"
    for own in re.findall(r"\beqs?\. ([\d, -]+)", text):
        assert {int(n) for n in re.findall(r"\d+", own)} <= known, f"the page cites equation {own} of itself"
    found = set()
    for path, numbers in cited(r"docs/theory\.md, eqs?\. ([\d, -]+)"):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", numbers):
            wanted = set(range(int(first), int(last or first) + 1))
            assert wanted <= known, f"{path} cites equation {numbers}"
            found |= wanted
    assert len(found) > 20


def test_every_cited_section_exists():
    sections = set(re.findall(r"^# (\d+)\.", theory(), re.MULTILINE))
    found = list(cited(r"docs/theory\.md,\s+section (\d+)"))
    assert found
    for path, section in found:
        assert section in sections, f"{path} cites section {section}"


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "examples").rglob("*.yaml")), ids=lambda p: p.name)
def test_every_example_is_a_valid_run(path):
    """Its keys exist, the shipped kernels serve it, and it says how it is started."""
    config = load_config(path)
    kernels, specs = KernelSet(), [spec for pair in config.model.kernel_specs() for spec in pair]
    assert len(specs) == 2 * config.model.layers
    assert [kernels.get(spec) for spec in specs] == specs
    assert str(path.relative_to(ROOT)) in path.read_text()


def keys_of(section):
    """Rows of the table of a section's keys: name, default, meaning."""
    for name, field in section.model_fields.items():
        default = "" if field.is_required() else "none" if field.default is None else field.default
        shown = f"`{default}`" if default != "" and default != () else ""
        yield f"| `{name}` | {shown} | {(field.description or '').replace('|', 'or')} |"


@pytest.mark.parametrize("section", [DataConfig, ModelConfig, TrainingConfig])
def test_every_key_is_in_the_documents(section):
    text = (ROOT / "docs" / "training.md").read_text()
    assert [row for row in keys_of(section) if row not in text] == []


def commands():
    """Command lines of the documents, docstrings and examples, without prompts and remarks."""
    places = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.yaml")]
    places += [*(ROOT / "cartalg").rglob("*.py"), *(ROOT / "Makefile",)]
    for path in sorted(places):
        text = re.sub(r"\\\n\s*", " ", path.read_text())
        found = re.findall(r"^(?: {4}|#? ?)(?:\$ )?cartalg ([a-z].*)$", text, re.MULTILINE)
        found += re.findall(r"`(?:.*-m )?cartalg ([a-z][^`]*)`", text) + re.findall(r"\$\(BIN\)/cartalg (.*)", text)
        for line in dict.fromkeys(found):
            words = re.sub(r"\bR\b", "4", line.split("  #")[0].split(" | ")[0].strip())
            if ".." not in words.split() and "{" not in words:
                yield pytest.param(words, id=f"{path.name}: {words}")


COMMANDS = list(commands())


def test_commands_are_found():
    assert len(COMMANDS) > 30
    assert {"README.md", "Makefile", "CONTRIBUTING.md"} - {p.id.split(":")[0] for p in COMMANDS} == {"CONTRIBUTING.md"}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_in_the_documents_can_be_typed(line):
    """It is parsed, not run: the command and its options exist, and have the values they need."""
    words, command, context = shlex.split(line), typer.main.get_command(app), None
    while isinstance(command, typer.core.TyperGroup):
        context = command.make_context("cartalg", [], parent=context, resilient_parsing=True)
        if not words:
            return
        _, command, words = command.resolve_command(context, words)
    if words:
        command.make_context(command.name, words, parent=context)
