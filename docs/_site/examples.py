"""A page with every file of docs/examples as it stands."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LANGUAGES = {".yaml": "yaml", ".py": "python", ".xml": "xml"}


def write(tree: Path) -> None:
    """Configurations first, then scripts; each with its name as a heading."""
    lines = ["# Examples\n", "Files of `docs/examples`, which the tests read or run as they stand.\n"]
    folder = ROOT / "docs" / "examples"
    for path in sorted(folder.rglob("*.*"), key=lambda p: (p.suffix != ".yaml", p)):
        if path.suffix in LANGUAGES:
            lines += [
                f"## {path.relative_to(folder)}\n",
                f"```{LANGUAGES[path.suffix]}",
                path.read_text().rstrip(),
                "```\n",
            ]
    (tree / "examples" / "index.md").write_text("\n".join(lines))
