"""Exact objects as text. One description of each object, one file for each format.

object (cartalg.symbolic) -> document (objects.py) -> text (formats/<name>.py)

A format is a module of `cartalg.render.formats` with a function ``write(document: Document) -> str``; its name is that
of the file, and nothing else lists it. None is imported here before it is asked for: the command line names the formats
in its help.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from cartalg.render import formats as _formats

if TYPE_CHECKING:
    from cartalg.render.document import Document


def formats() -> tuple[str, ...]:
    """Names of the formats, in order of the alphabet."""
    return tuple(sorted(module.name for module in iter_modules(_formats.__path__)))


def writer(form: str) -> "Callable[[Document], str]":
    """The function that writes a format.

    Raises:
        ValueError: If there is no such format.
    """
    if form not in formats():
        raise ValueError(f"format must be one of {', '.join(formats())}, got {form!r}")
    return import_module(f"{_formats.__name__}.{form}").write


def render(document: "Document", form: str = "unicode") -> str:
    """A document of `cartalg.render.objects` as text.

    Raises:
        ValueError: If there is no such format, or the object is too large for it.
    """
    return writer(form)(document)


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext cartalg.render``: notebooks show equations, documents and couplings as mathematics."""
    from cartalg.render.notebook import register

    register(shell.display_formatter.formatters)
