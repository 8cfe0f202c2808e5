"""The API reference: each public object with its docstring, read from the sources without importing them (Griffe).

A docstring is Markdown of few forms: paragraphs, lists, indented code, `code`, `.. math::`. All else in it is text.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parent.parent.parent
#: Packages whose parts are pages, and how the reference's own page speaks of them.
PACKAGES = {
    "cartalg": (ROOT, "The library."),
    "cartalg_codegen": (ROOT / "codegen", "The generator: specifications, programs, lowering, backends, proofs."),
}
#: Described on pages of their own, or no interface of anyone's.
WITHOUT = {"cartalg.cli"}
SECTION = {"parameters": "param", "attributes": "ivar", "raises": "raises", "returns": "returns", "yields": "yields"}

logging.getLogger("griffe").setLevel(logging.ERROR)


def write(tree: Path) -> None:
    """A page for each part of a package, and one that lists them."""
    folder = tree / "reference"
    folder.mkdir(exist_ok=True)
    lines = ["# API reference\n", "What has a name without an underscore, from its docstring.\n"]
    names = []
    for package, (root, about) in PACKAGES.items():
        lines += [f"\n## {package}\n\n{about}\n\n| | |\n|---|---|"]
        for name, modules in parts(package, root / package).items():
            (folder / f"{name}.md").write_text("\n".join(page(name, modules)))
            lines.append(f"| [`{name}`]({name}.md) | {escaped(summary(modules[0]))} |")
            names.append(name)
    lines.append("\n```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n")
    (folder / "index.md").write_text("\n".join(lines))


def parts(package: str, folder: Path) -> dict[str, list[griffe.Module]]:
    """Modules and packages directly in a package, each with all modules under it, itself first."""
    found: dict[str, list[griffe.Module]] = {}
    for path in sorted(
        folder.rglob("*.py"), key=lambda p: (p.parent if p.name == "__init__.py" else p).with_suffix("").parts
    ):
        words = (package, *path.relative_to(folder).with_suffix("").parts)
        name = ".".join(words).removesuffix(".__init__")
        home = ".".join(words[:2])
        if home not in WITHOUT and not any(w.startswith("_") for w in name.split(".")):
            tree = griffe.visit(name, path, path.read_text(), docstring_parser=griffe.Parser.google)
            if home != f"{package}.__init__":
                found.setdefault(home, []).append(tree)
    return found


def page(name: str, modules: list[griffe.Module]) -> Iterator[str]:
    """A module, or a package with all modules in it."""
    yield f"# {name}\n"
    objects = {f"{found.name}.{member}" for found in modules for member in found.members}
    for number, found in enumerate(modules):
        if number:
            yield f"\n## {found.name.removeprefix(name + '.')}\n"
        yield from module(found, found.name in objects)


def module(found: griffe.Module, twice: bool) -> Iterator[str]:
    """What a module holds, in its own order. `twice`: an object of its package has its name."""
    yield f"```{{py:{'currentmodule' if twice else 'module'}}} {found.name}\n```\n"
    yield from text(found)
    elsewhere = [a for a in found.members.values() if a.is_alias and a.name in (found.exports or ())]
    if elsewhere:
        yield (
            "\nHere by these names: " + ", ".join(f"{{py:obj}}`{a.name} <{a.target_path}>`" for a in elsewhere) + ".\n"
        )
    for member in found.members.values():
        if not member.is_alias and not member.name.startswith("_"):
            if member.is_function:
                yield from function(member, "function", member.name)
            elif member.is_class:
                yield from class_(member)
            elif member.is_attribute and (about := remark(found, member)):
                yield f"\n``````{{py:data}} {member.name}\n\n{about}\n``````\n"


def remark(home: griffe.Module, member: griffe.Attribute) -> str:
    """What is said of a constant: the comment `#: ..` above it or behind it; none, nothing."""
    lines = home.filepath.read_text().split("\n")
    place, words = (member.lineno or 1) - 1, []
    if "#: " in lines[place]:
        return prose(lines[place].partition("#: ")[2])
    while lines[place - 1].startswith("#: "):
        place -= 1
        words.insert(0, lines[place].removeprefix("#: "))
    return prose(" ".join(words))


def class_(found: griffe.Class) -> Iterator[str]:
    """A class, its methods and properties."""
    parameters = signature(found.parameters, skip=1) if len(list(found.parameters)) else ""
    yield from directive("class", f"{found.name}{parameters}", found)
    for member in found.members.values():
        if member.is_alias or member.name.startswith("_") or not member.docstring:
            continue
        name = f"{found.name}.{member.name}"
        if member.is_function:
            kind = {"classmethod": "classmethod", "staticmethod": "staticmethod"}.get(
                next((x for x in ("classmethod", "staticmethod") if x in member.labels), ""), "method"
            )
            yield from function(member, kind, name)
        elif member.is_attribute:
            yield from directive("property" if "property" in member.labels else "attribute", name, member)


def function(found: griffe.Function, kind: str, name: str) -> Iterator[str]:
    """A function, with its types."""
    skip = kind in ("method", "classmethod")
    returns = f" -> {plain(found.returns)}" if found.returns is not None else ""
    yield from directive(kind, f"{name}{signature(found.parameters, skip)}{returns}", found)


def signature(parameters: griffe.Parameters, skip: int) -> str:
    """As it is written in Python."""
    words, star = [], False
    for parameter in list(parameters)[skip:]:
        kind = parameter.kind
        if kind is griffe.ParameterKind.keyword_only and not star:
            words.append("*")
            star = True
        mark = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(kind, "")
        star = star or mark == "*"
        word = mark + parameter.name
        if parameter.annotation is not None:
            word += f": {plain(parameter.annotation)}"
        if parameter.default is not None and not mark:
            word += f" = {plain(parameter.default)}"
        words.append(word)
    return f"({', '.join(words)})"


def plain(expression: object) -> str:
    """An annotation or a default on one line; long defaults are dots."""
    written = " ".join(str(expression).split())
    return written if len(written) < 200 else "..."


def directive(kind: str, head: str, found: griffe.Object) -> Iterator[str]:
    """An object of Sphinx's Python domain."""
    yield f"\n``````{{py:{kind}}} {head}\n"
    yield from text(found)
    yield "``````\n"


def summary(found: griffe.Object) -> str:
    """The first line of a docstring."""
    return found.docstring.value.strip().partition("\n")[0] if found.docstring else ""


def text(found: griffe.Object) -> Iterator[str]:
    """A docstring as Markdown."""
    if not found.docstring:
        return
    spaced = re.sub(r"\n+(?=(?:Args|Attributes|Returns|Yields|Raises|Source): ?)", "\n\n", found.docstring.value)
    for section in griffe.Docstring(spaced, parent=found, parser=griffe.Parser.google).parsed:
        kind = section.kind.value
        if kind == "text":
            yield prose(section.value) + "\n"
        elif kind in SECTION:
            for item in section.value:
                name = getattr(item, "name", "") if kind in ("parameters", "attributes") else ""
                name += f" {item.annotation}" if name.endswith(",") else ""  # "sender, receiver: .."
                name = plain(item.annotation) if kind == "raises" else name
                body = " ".join(prose(item.description).split("\n"))
                yield f":{SECTION[kind]}{' ' + name if name else ''}: {body}"
            yield ""
        elif kind == "admonition":
            yield f"*{escaped(section.title or section.value.kind.title())}:* {prose(section.value.contents)}\n"
        else:
            yield f"```text\n{section.value}\n```\n"


def prose(value: str) -> str:
    """Paragraphs, lists and indented code; `.. math::` becomes a displayed formula."""
    lines, mathematics = [], False
    for line in value.split("\n"):
        if match := re.match(r"\s*\.\. math::\s*(.*)", line):
            lines += ["", f"$$ {match[1]}"]
            mathematics = True
        elif mathematics and line.strip():
            lines.append(line.strip())
        else:
            if mathematics:
                lines += ["$$", ""]
                mathematics = False
            lines.append(line if line.startswith("    ") else marked(line))
    return "\n".join([*lines, "$$"] if mathematics else lines)


def marked(line: str) -> str:
    """A line of text, perhaps an item of a list."""
    match = re.match(r"(\s*)([*-] )(.*)", line)
    return match[1] + match[2] + escaped(match[3]) if match else escaped(line)


def escaped(line: str) -> str:
    """Nothing in it is markup but `code`."""
    pieces = re.split(r"(``[^`]+``|`[^`]+`)", line)
    return "".join(
        p if p.startswith("`") and len(p) > 1 else re.sub(r"([\\`*_{}\[\]<>#$|~^:])", r"\\\1", p) for p in pieces
    )
