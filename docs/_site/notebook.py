"""The tutorial as a page, with the outputs that it holds; a test runs it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parent.parent / "tutorial.ipynb"


def write(tree: Path) -> None:
    """tutorial.md."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    (tree / "tutorial.md").write_text("\n\n".join(piece for cell in cells for piece in pieces(cell)) + "\n")


def pieces(cell: dict[str, Any]) -> Iterator[str]:
    """Text, code and outputs of a cell as Markdown."""
    source = "".join(cell["source"])
    yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "text/latex" in data:
            formula = "".join(data["text/latex"]).strip().replace("$", "").replace("\\displaystyle", "").strip()
            yield f"$$ {formula} $$"
        else:
            yield "```text\n" + "".join(output.get("text") or data["text/plain"]).rstrip() + "\n```"
