"""Sphinx extension: mathematics as MathML, made when the site is built, its font with it; equations as places.

`\tag{N}` makes a displayed formula the place eq-N; `eq. N` in the chapters of the theory, and `theory.md, eq. N`
everywhere, are links to it.
"""

import re
from io import BytesIO
from pathlib import Path
from typing import Any
from unicodedata import lookup

from docutils import nodes
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

TAG = re.compile(r"\\tag\{(\d+)\}")
BAR = '<mo stretchy="true">&#x000AF;</mo>'
CITED = re.compile(r"\b(?P<word>eqs?\.|section) (?P<numbers>\d+(?:(?:, | and |-| to )\d+)*)")


class Places(SphinxTransform):
    """Numbered formulas get an identifier, and chapters their numbers."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Note where the equations of this page are."""
        places = vars(self.env).setdefault("cartalg_places", {})
        for block in self.document.findall(nodes.math_block):
            for number in TAG.findall(block.astext()):
                places["eq", int(number)] = (self.env.docname, f"eq-{number}")
        if match := re.match(r"theory/(\d+)", self.env.docname):
            places["section", int(match[1])] = (self.env.docname, "")


class Citations(SphinxPostTransform):
    """`eq. 12` is a link."""

    default_priority = 10

    def run(self, **kwargs: Any) -> None:
        """Replace the numbers of citations in this page's text."""
        inside = self.env.docname.startswith("theory/") or self.env.docname == "theory"
        for text in list(self.document.findall(nodes.Text)):
            ancestors = (nodes.literal, nodes.literal_block, nodes.reference, nodes.math, nodes.math_block, nodes.title)
            parent, node = text.parent, text.parent
            while node is not None and not isinstance(node, ancestors):
                node = node.parent
            if node is None and (new := self.linked(text.astext(), inside)):
                parent.replace(text, new)

    def linked(self, text: str, inside: bool) -> list[nodes.Node]:
        """The text in pieces, or nothing if no place of the theory is cited."""
        pieces: list[nodes.Node] = []
        end = 0
        for match in CITED.finditer(text):
            if not inside and not re.search(r"theory\.md,\s+$", text[: match.start()]):
                continue
            kind = "section" if match["word"] == "section" else "eq"
            for number in re.finditer(r"\d+", match["numbers"]):
                place = vars(self.env)["cartalg_places"].get((kind, int(number[0])))
                if place:
                    start = match.start("numbers") + number.start()
                    pieces.append(nodes.Text(text[end:start]))
                    uri = self.app.builder.get_relative_uri(self.env.docname, place[0])
                    uri += f"#{place[1]}" if place[1] else ""
                    pieces.append(nodes.reference("", number[0], internal=True, refuri=uri))
                    end = start + len(number[0])
        return [*pieces, nodes.Text(text[end:])] if pieces else []


def mathml(latex: str, display: str = "inline") -> str:
    """A formula as browsers want it: alphabets as characters, columns aligned by style, bars over all that is under."""
    formula = convert(latex.replace("{aligned}", "{align*}"), display=display)
    formula = re.sub(r'<mi mathvariant="([a-z-]+)">([A-Za-z])</mi>', letter, formula)
    formula = re.sub(r'columnalign="(\w+)"', r'style="text-align: \1"', formula)
    return formula.replace('<mo accent="true">&#x02015;</mo>', BAR)


def letter(match: re.Match[str]) -> str:
    """A letter of another alphabet: browsers no longer know the attribute that asks for it."""
    if match[1] == "normal":
        return match[0]
    style = {"bold": "BOLD ", "sans-serif": "SANS-SERIF ", "script": "SCRIPT "}[match[1]]
    case = "CAPITAL " if match[2].isupper() else "SMALL "
    try:
        found = lookup(f"MATHEMATICAL {style}{case}{match[2].upper()}")
    except KeyError:  # some script capitals are older than the alphabet
        found = lookup(f"{style}{case}{match[2].upper()}")
    return f"<mi>{found}</mi>"


def inline(translator: Any, node: nodes.math) -> None:
    """A formula in a line of text."""
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def displayed(translator: Any, node: nodes.math_block) -> None:
    """A formula by itself, which scrolls if it is wider than the page, with its number beside it."""
    latex = node.astext()
    tags = TAG.findall(latex)
    place = f' id="eq-{tags[0]}"' if tags else ""
    number = f'<a class="number" href="#eq-{tags[0]}">({tags[0]})</a>' if tags else ""
    formula = mathml(TAG.sub("", latex), "block")
    translator.body.append(f'<div class="formula"{place}><div class="scroll">{formula}</div>{number}</div>\n')
    raise nodes.SkipNode


def font(app: Sphinx, error: Exception | None) -> None:
    """STIX Two Math (SIL Open Font Licence), as ziamath brings it, with the characters of formulas."""
    if error:
        return
    from ziamath import fonts

    source = TTFont(Path(fonts.__file__).parent / "STIXTwoMath-Regular.ttf")
    options = Options(layout_features=["*"], flavor="woff", name_IDs=["*"])
    subsetter = Subsetter(options)
    ranges = [(0x20, 0x17F), (0x2B0, 0x3FF), (0x2000, 0x23FF), (0x27C0, 0x2AFF), (0x1D400, 0x1D7FF)]
    subsetter.populate(unicodes=[c for first, last in ranges for c in range(first, last + 1)])
    subsetter.subset(source)
    source.flavor = "woff"
    content = BytesIO()
    source.save(content)
    (Path(app.outdir) / "_static" / "STIXTwoMath.woff").write_bytes(content.getvalue())


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of it."""
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    app.add_transform(Places)
    app.add_post_transform(Citations)
    app.connect("build-finished", font)
    return {"parallel_read_safe": False}
