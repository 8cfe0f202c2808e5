"""Every command of `cartalg` with its options, from the command line itself."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer


def write(tree: Path) -> None:
    """One page."""
    from cartalg.cli import app

    lines = [
        "# Commands\n",
        "What `--help` says, on one page. A command that is given something wrong ends with 2 and says what.\n",
    ]
    (tree / "reference" / "commands.md").write_text(
        "\n".join([*lines, *command(typer.main.get_command(app), "cartalg")])
    )


def command(found: Any, name: str) -> Iterator[str]:
    """A command, then those below it."""
    yield f"\n## {name}\n" if " " in name else ""
    yield re.sub(r"\n(?!\n)\s*", "\n", (found.help or "").replace("\b", "").strip()) + "\n"
    rows = [row for parameter in found.params if (row := option(parameter))]
    if rows:
        yield "| | default | |\n|---|---|---|"
        yield from rows
        yield ""
    for key, inner in getattr(found, "commands", {}).items():
        if not inner.hidden:
            yield from command(inner, f"{name} {key}")


def option(parameter: Any) -> str:
    """A row of the table; none for what every command has."""
    if parameter.name == "help" or getattr(parameter, "hidden", False) or "completion" in (parameter.name or ""):
        return ""
    argument = parameter.param_type_name == "argument"
    shown = (parameter.name or "").upper() if argument else ", ".join((*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    value = (
        "" if default is None or default == () or callable(default) or "Sentinel" in repr(default) else f"`{default}`"
    )
    text = " ".join((getattr(parameter, "help", "") or "").split()).replace("|", "\\|")
    return f"| `{shown}` | {value} | {text} |"
