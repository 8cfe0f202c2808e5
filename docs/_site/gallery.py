"""The gallery: each script of docs/gallery is run, and its text, code, output and figure are a page.

A script's docstring is the page's title and text; a line `# group: NAME` before it says under which heading it stands.
It writes one figure, NAME.svg or NAME.png, to the current folder.
"""

import ast
import contextlib
import io
import os
import re
import runpy
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = HERE.parent / "gallery"
GROUPS = ("Algebra", "Physics", "Kernels", "Potential")


@dataclass(frozen=True)
class Result:
    """What a script says of itself, and what came of it."""

    name: str
    title: str
    text: str
    group: str
    code: str
    output: str
    figure: Path


def scripts() -> list[Path]:
    """All of them, in order of their names."""
    return sorted(SCRIPTS.glob("[!_]*.py"))


def run(path: Path, folder: Path) -> Result:
    """Run a script in a folder.

    Raises:
        ValueError: If it has no docstring, or does not write its one figure.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    source = path.read_text()
    tree = ast.parse(source)
    docstring = ast.get_docstring(tree)
    if not docstring:
        raise ValueError(f"{path}: no docstring, which is the page's title and text")
    title, _, text = docstring.partition("\n")
    group = re.search(r"^# group: (.*)$", source, re.MULTILINE)
    code = "\n".join(source.split("\n")[tree.body[0].end_lineno :]).strip() + "\n"
    before, printed = set(folder.iterdir()), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(printed),
        pyplot.style.context(str(HERE / "gallery.mplstyle")),
    ):
        runpy.run_path(os.fspath(path), run_name="__main__")
    pyplot.close("all")
    made = set(folder.iterdir()) - before
    if [p.stem for p in made] != [path.stem]:
        raise ValueError(f"{path}: writes {sorted(p.name for p in made)}, not one figure {path.stem}.svg or .png")
    return Result(
        path.stem, title.rstrip("."), text.strip(), group[1] if group else GROUPS[0], code, printed.getvalue(), *made
    )


def write(tree: Path) -> None:
    """A page for each script, and one with all figures."""
    folder = tree / "gallery"
    folder.mkdir(exist_ok=True)
    results = [run(path, folder) for path in scripts()]
    for found in results:
        output = f"\n```text\n{found.output.rstrip()}\n```\n" if found.output.strip() else ""
        (folder / f"{found.name}.md").write_text(
            f"# {found.title}\n\n{found.text}\n\n![{found.title}]({found.figure.name})\n{output}\n"
            f"```python\n{found.code}```\n\n`docs/gallery/{found.name}.py`\n"
        )
    lines = [
        "# Gallery\n",
        "Short scripts, each with what it draws. Every one of them is run when this site is built.\n",
    ]
    for group in [g for g in GROUPS if any(r.group == g for r in results)]:
        lines += [f"\n## {group}\n", "::::{container} cards"]
        for found in (r for r in results if r.group == group):
            page = f"{found.name}.md"
            picture = f"[![{found.title}]({found.figure.name})]({page})"
            lines.append(f":::{{container}} card\n{picture}\n\n[{found.title}]({page})\n:::")
        lines.append("::::")
    lines.append("\n```{toctree}\n:hidden:\n\n" + "\n".join(r.name for r in results) + "\n```\n")
    (folder / "index.md").write_text("\n".join(lines))
