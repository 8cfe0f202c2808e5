"""Pages that promise it run as they stand: their files are written, their commands and their Python run, in order."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cartalg.train.config import load_config

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(p for folder in ("start", "concepts", "theory", "guides") for p in (DOCS / folder).glob("*.md"))
BLOCK = re.compile(r"^```(python|sh|yaml|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def command(line):
    """Run a line of a shell block, which is a command of the library."""
    assert line.startswith("cartalg "), line
    paths = os.pathsep.join(str(ROOT / p) for p in (".", "codegen", "generated"))
    done = subprocess.run(
        [sys.executable, "-m", *line.split()],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def squeezed(text):
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_page_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, names = path.read_text(), {"__name__": "page"}
    printed = []
    torch.manual_seed(0)
    for kind, block in BLOCK.findall(text):
        if kind == "sh":
            printed += [command(line) for line in block.strip().split("\n")]
        elif kind == "yaml":
            if match := re.match(r"# (\S+\.yaml)\n", block):
                Path(match[1]).write_text(block)
                load_config(Path(match[1]))
        elif kind == "text":  # what a page says that a command prints
            assert [line for line in block.split("\n") if squeezed(line) not in squeezed("".join(printed))] == []
        elif ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, names, path.name, str(path), 0)
            test.globs = names
            runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
            runner.run(test, clear_globs=False)
            assert runner.summarize(verbose=False).failed == 0
        else:
            exec(compile(block, str(path), "exec"), names)


def test_three_ways_in():
    assert {p.stem for p in PAGES if p.parent.name == "start"} == {"inspect", "networks", "simulate"}
    for path in PAGES:
        assert BLOCK.search(path.read_text()) or path.parent.name != "start", f"{path} has nothing to run"
