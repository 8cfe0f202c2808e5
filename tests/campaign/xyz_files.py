"""Extended XYZ as it could come: files made from a description, spoilt by rule, and a strict reader to compare with."""

import math
import re
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from outcomes import ELEMENTS

#: Words that a file may hold in the wrong place.
WORDS = (
    "nan", "inf", "-inf", "1e999", "-1", "0", "1", "3", "99999999", "1e-320", "0x10", "1_0", "1.0.0", "1,5", "T", "F",
    "H", "Xx", "X", "D", '"', "'", "=", "{", "}", "[", "[[", "\\", "#", ":", "\t", "\n", "\n\n", "\r", "\x00", "\x0c",
    "\x1b[31m",
    "\u2028", "\u00e9", "\ufeff", "energy=", "energy=nan", 'energy="1 2"', "energy=T", "energy=[1,2]", "energy=-1e400",
    "REF_energy=5", 'forces="0 0 0"', 'Lattice="1 0 0 0 1 0 0 0 1"', 'Lattice=""', 'Lattice="0 0 0 0 0 0 0 0 0"',
    'Lattice="5 0 0 0 5 0"', 'pbc="T T"', 'pbc="T T T"', "pbc=T", "pbc=maybe", "Properties=species:S:1:pos:R:3",
    "Properties=pos:R:3:species:S:1", "Properties=species:S:1:pos:R:2", "Properties=", "Properties=species:S:1:pos:R:x",
    "config_type=IsolatedAtom", 'stress="1 2 3"', "stress=1", "free_energy=1", "charge=1", "magmom=1", "unique_id=1",
)  # fmt: skip


@dataclass
class Written:
    """One frame as it was meant."""

    symbols: list[str]
    positions: np.ndarray
    lattice: np.ndarray | None
    pbc: tuple[bool, bool, bool]
    energy: float | None
    forces: np.ndarray | None
    energy_key: str = "REF_energy"
    forces_key: str = "REF_forces"
    extra: list[str] = field(default_factory=list)

    def text(self):
        """As extended XYZ."""
        columns = "species:S:1:pos:R:3" + (f":{self.forces_key}:R:3" if self.forces is not None else "")
        words = [f"Properties={columns}", *self.extra]
        if self.lattice is not None:
            words.append('Lattice="' + " ".join(repr(float(v)) for v in self.lattice.ravel()) + '"')
        words.append('pbc="' + " ".join("T" if p else "F" for p in self.pbc) + '"')
        if self.energy is not None:
            words.append(f"{self.energy_key}={self.energy!r}")
        rows = [[s, *map(repr, map(float, p))] for s, p in zip(self.symbols, self.positions, strict=True)]
        if self.forces is not None:
            rows = [[*row, *map(repr, map(float, f))] for row, f in zip(rows, self.forces, strict=True)]
        return "\n".join([str(len(self.symbols)), " ".join(words), *map(" ".join, rows)]) + "\n"


CELLS = (
    None,
    np.eye(3) * 6,
    np.eye(3) * 2.1,  # smaller than the cutoff
    np.array([[6.0, 0, 0], [0, 0, 6], [0, 6, 0]]),  # left-handed
    np.array([[5.0, 0, 0], [17, 5, 0], [-23, 31, 5]]),  # skewed
    np.array([[6.0, 0, 0], [12, 0, 0], [0, 0, 6]]),  # singular
    np.zeros((3, 3)),
)
label = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x, 6))


@st.composite
def frames(draw):
    """A frame that may be right, or wrong as a whole."""
    rarely = st.integers(0, 14).map(lambda n: n == 14)
    count = 0 if draw(rarely) else draw(st.integers(1, 5))
    known = [*ELEMENTS, "Cu"] if draw(rarely) else ELEMENTS
    symbols = draw(st.lists(st.sampled_from(known), min_size=count, max_size=count))
    grid = np.array([[0.0, 0, 0], [1.1, 0, 0], [0, 1.3, 0], [0, 0, 1.2], [1.0, 1.1, 1.2]])[:count]
    moves = draw(st.lists(st.floats(-0.2, 0.2), min_size=3 * count, max_size=3 * count))
    positions = grid + np.array(moves).reshape(-1, 3)
    if count and draw(rarely):
        positions[-1] = draw(st.sampled_from([positions[0], [1e6, 0, 0], [-7.0, 14, 3]]))
    wild = draw(rarely)
    lattice = draw(st.sampled_from(CELLS if wild else CELLS[1:5]))
    pbc = tuple(draw(st.lists(st.booleans(), min_size=3, max_size=3)))
    energy = None if draw(rarely) else draw(label)
    of_atoms = draw(st.lists(label, min_size=3 * count, max_size=3 * count))
    forces = np.array(of_atoms).reshape(-1, 3) if draw(st.booleans()) else None
    keys = [("REF_energy", "REF_forces"), ("energy", "forces"), ("dft_energy", "dft_forces")]
    keys = draw(st.sampled_from(keys if wild else keys[:2]))
    extra = draw(
        st.lists(st.sampled_from(['name="a b"', "step=3", "flag=T", 'v="1 2 3"', "lone", "e\u00e9=1"]), max_size=2)
    )
    return Written(symbols, positions, lattice, pbc, energy, forces, *keys, extra)


@st.composite
def spoilt(draw, text):
    """A text with up to three changes."""
    for _ in range(draw(st.integers(0, 3))):
        text = draw(st.sampled_from(MUTATORS))(draw, text)
    return text


def _at(draw, text):
    return draw(st.integers(0, max(len(text) - 1, 0)))


def flip(draw, text):
    """Another character in a place."""
    at = _at(draw, text)
    return text[:at] + draw(st.characters(codec="utf-8")) + text[at + 1 :]


def drop(draw, text):
    """A stretch is gone."""
    at = _at(draw, text)
    return text[:at] + text[at + draw(st.integers(1, 20)) :]


def cut(draw, text):
    """The end is gone."""
    return text[: _at(draw, text)]


def insert(draw, text):
    """A word where none belongs."""
    at = _at(draw, text)
    return text[:at] + draw(st.sampled_from(WORDS)) + text[at:]


def replace_word(draw, text):
    """Another word in a word's place."""
    spans = [m.span() for m in re.finditer(r"\S+", text)]
    if not spans:
        return text
    start, stop = draw(st.sampled_from(spans))
    return text[:start] + draw(st.sampled_from(WORDS)) + text[stop:]


def line_twice(draw, text):
    """A line is there twice."""
    lines = text.splitlines(keepends=True)
    at = draw(st.integers(0, max(len(lines) - 1, 0)))
    return "".join(lines[: at + 1] + lines[at:])


def line_gone(draw, text):
    """A line is gone."""
    lines = text.splitlines(keepends=True)
    at = draw(st.integers(0, max(len(lines) - 1, 0)))
    return "".join(lines[:at] + lines[at + 1 :])


def lines_swapped(draw, text):
    """Two lines change places."""
    lines = text.splitlines(keepends=True)
    if len(lines) > 1:
        a, b = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        lines[a], lines[b] = lines[b], lines[a]
    return "".join(lines)


def other_ends(draw, text):
    """Line ends of other systems."""
    return text.replace("\n", draw(st.sampled_from(["\r\n", "\r", "\n\n", " \n"])))


MUTATORS = (flip, drop, cut, insert, replace_word, line_twice, line_gone, lines_swapped, other_ends)


class Malformed(ValueError):
    """What the strict reader cannot take."""


def strict(text):
    """Frames of a text by the letter of the format: (symbols, positions, info, columns). Raises Malformed.

    Written for this campaign alone, from the format's description, so as not to repeat ASE's mistakes.
    """
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    at, found = 0, []
    while at < len(lines):
        if not re.fullmatch(r"\s*\d+\s*", lines[at], re.ASCII):
            raise Malformed(f"line {at + 1}: no number of atoms")
        count = int(lines[at])
        if at + 2 + count > len(lines):
            raise Malformed("truncated")
        info = dict(_pairs(lines[at + 1]))
        columns = info.pop("Properties", "species:S:1:pos:R:3").split(":")
        rows = [line.split() for line in lines[at + 2 : at + 2 + count]]
        found.append((*_columns(columns, rows), info))
        at += 2 + count
    return found


def _pairs(line):
    for match in re.finditer(r'("[^"]*"|[^\s="]+)\s*=\s*("[^"]*"|[^\s"]+)|\S+', line):
        if match[1]:
            yield match[1].strip('"'), match[2].strip('"')


def _columns(columns, rows):
    if len(columns) % 3:
        raise Malformed("Properties")
    arrays, start = {}, 0
    for name, kind, width in zip(*(columns[n::3] for n in range(3)), strict=True):
        if not width.isdigit():
            raise Malformed("Properties")
        cells = [row[start : start + int(width)] for row in rows]
        if any(len(cell) != int(width) for cell in cells):
            raise Malformed("too few columns")
        try:
            arrays[name] = [[float(c) for c in cell] for cell in cells] if kind == "R" else cells
        except ValueError:
            raise Malformed("no number") from None
        start += int(width)
    if any(len(row) != start for row in rows):
        raise Malformed("columns without a name")
    if "species" not in arrays or "pos" not in arrays:
        raise Malformed("no species or no positions")
    return [c[0] for c in arrays.pop("species")], np.array(arrays.pop("pos")).reshape(-1, 3), arrays


def number(text):
    """A finite number that a word stands for, or None."""
    try:
        return value if math.isfinite(value := float(text)) else None
    except ValueError:
        return None
