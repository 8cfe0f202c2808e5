"""The documentation as a site, offline: `make docs`, or `python docs/_site/build.py --out site`.

docs/ and pages of the root, API reference, gallery, examples -> one tree of Markdown -> Sphinx -> HTML, the atlas in it

Links that lead out of docs/ become links to pages, or to copies of the files. A warning is an error.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

import commands  # noqa: E402
import examples  # noqa: E402
import gallery  # noqa: E402
import notebook  # noqa: E402
import reference  # noqa: E402

#: Pages of the repository's root that are pages of the site.
OF_THE_ROOT = ("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
#: What the site's menu shows, in this order; `*` stands for pages that no line names.
MENU = {
    "Start": ["start/inspect", "start/networks", "start/simulate", "tutorial"],
    "Guides": [
        "guides/*",
        "training",
        "simulate",
        "lammps",
        "engines",
        "export",
        "mace",
        "testing",
        "*",
        "examples/index",
    ],
    "Concepts": ["concepts/*"],
    "Theory": ["theory", "theory/*"],
    "Reference": ["atlas", "gallery/index", "reference/commands", "reference/index"],
    "Project": [
        "results",
        "benchmarks",
        "reliability",
        "extending",
        "decisions",
        "SECURITY",
        "CONTRIBUTING",
        "CHANGELOG",
    ],
}


def main() -> int:
    """Build, and say where the site is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder of the site: new, or a site")
    parser.add_argument("--atlas-rank", type=int, default=2, help="highest rank of the atlas in it")
    arguments = parser.parse_args()
    return build(arguments.out, arguments.atlas_rank)


def build(out: Path, atlas_rank: int) -> int:
    """Write the site to `out`; returns Sphinx's exit status, 0 without any warning.

    Raises:
        FileExistsError: If the folder holds something else.
    """
    if out.exists() and any(out.iterdir()) and not (out / "searchindex.js").exists():
        raise FileExistsError(f"{out} is not empty and holds no site; choose an empty folder")
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        assemble(tree)
        status = sphinx(
            ["-q", "-W", "--keep-going", "-E", "-c", str(HERE), "-d", f"{folder}/cache", str(tree), str(out)]
        )
    shutil.rmtree(out / ".doctrees", ignore_errors=True)
    atlas(out / "atlas", atlas_rank)
    return status


def assemble(tree: Path) -> None:
    """The sources of the site in one folder, all of them Markdown."""
    shutil.copytree(
        ROOT / "docs",
        tree,
        ignore=shutil.ignore_patterns("_site", "pictures", "__pycache__", "*.py", "*.ipynb", "README.md"),
    )
    for name in OF_THE_ROOT:
        shutil.copy(ROOT / name, tree / name)
    examples.write(tree)
    gallery.write(tree)
    reference.write(tree)
    commands.write(tree)
    notebook.write(tree)
    for page in sorted(tree.rglob("*.md")):
        original = ROOT / page.name if page.name in OF_THE_ROOT else ROOT / "docs" / page.relative_to(tree)
        if original.exists():
            page.write_text(linked(page.read_text(), page, original.parent, tree))
    home = tree / "index.md"
    home.write_text(home.read_text() + "".join(menu(tree)))


def linked(text: str, page: Path, folder: Path, tree: Path) -> str:
    """Links of a page as they are in the tree. `folder` is where the page lies in the repository."""

    def link(match: re.Match[str]) -> str:
        target, hash_, anchor = match[2].partition("#")
        path = (folder / target).resolve()
        if not target or "//" in target or not path.exists():
            return match[0]  # Sphinx complains of what is missing
        inside = path.relative_to(ROOT)
        place = tree / (inside.relative_to("docs") if inside.parts[0] == "docs" else inside)
        if place.name == "README.md":
            place = place.with_name("index.md")
        if path == ROOT / "docs" / "tutorial.ipynb":
            place = tree / "tutorial.md"
        if path == ROOT / "docs" / "examples":
            place = tree / "examples" / "index.md"
        if place.suffix != ".md" and not place.exists():  # a file to download
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
        up = Path(*[".."] * len(page.parent.relative_to(tree).parts))
        return f"{match[1]}{(up / place.relative_to(tree)).as_posix()}{hash_}{anchor})"

    return re.sub(r"(\]\()([^)\s]+)\)", link, text)


def menu(tree: Path) -> list[str]:
    """Hidden tables of contents, one for each heading of the menu."""
    pages = {p.relative_to(tree).with_suffix("").as_posix() for p in tree.rglob("*.md")} - {"index"}
    named = {n for names in MENU.values() for n in names}
    rest = sorted(p for p in pages - named if "/" not in p)
    lists: list[str] = []
    for heading, names in MENU.items():
        found = [
            place
            for name in names
            for place in (
                rest if name == "*" else sorted(p for p in pages if Path(p).match(name)) if "*" in name else [name]
            )
        ]
        lists.append(f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n" + "\n".join(found) + "\n```\n")
    return lists


def atlas(folder: Path, max_rank: int) -> None:
    """The atlas, with the proofs of rules; those of kernels are `cartalg prove`'s."""
    from cartalg.atlas.site import build as write
    from cartalg_codegen import emit
    from cartalg_codegen.proofs.report import report
    from cartalg_codegen.sets import Set

    with tempfile.TemporaryDirectory() as kernels:
        emit.write(emit.render(Set(max_rank, only=("harmonics_l1",))), Path(kernels) / "set")
        write(max_rank, folder, report(max_rank, Path(kernels) / "set", processes=1))


if __name__ == "__main__":
    raise SystemExit(main())
