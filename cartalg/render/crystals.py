"""Property tensors of crystals, described for every format."""

from fractions import Fraction
from typing import Any

import sympy as sp

from cartalg.physics.point_groups import CRYSTAL_CLASSES, CURIE_GROUPS, point_group
from cartalg.physics.properties import Doubled, PropertyTensor, property_tensor
from cartalg.render.document import Document, Table
from cartalg.symbolic.notation import Equation, Exact, Rows, Symbol

_DOUBLED = {
    "none": "Voigt's 1..6 are 11, 22, 33, 23, 13, 12; entries are components of the tensor",
    "last": "Voigt's 1..6 are 11, 22, 33, 23, 13, 12; entries are twice the component for a shear in the last pair",
    "all": "Voigt's 1..6 are 11, 22, 33, 23, 13, 12; entries are twice the component for each shear",
}


def describe_property(
    formula: str,
    group: str,
    axial: bool = False,
    time_odd: bool = False,
    letter: str = "T",
    doubled: Doubled = "none",
) -> Document:
    """A property tensor in a crystal as a matrix; arguments are those of `property_tensor` and its `matrix`.

    Raises:
        ValueError: If formula or symbol are bad, or nothing can be doubled.
    """
    found = property_tensor(formula, group, axial, time_odd)
    matrix = found.matrix(letter, doubled)
    rows = tuple(tuple(Exact(v) for v in matrix.row(n)) for n in range(matrix.rows))
    names = [letter + "".join(map(str, label)) for label in sorted(map(found.label, found.independent))]
    system = f"{found.group} ({found.group.schoenflies}, {found.group.system})"
    return Document(
        "property",
        f"{_kind(found)} {formula} in {system}: {_count(len(names))}",
        (
            Equation((Symbol(letter), Rows(rows))),
            ", ".join(names) or "the tensor vanishes",
            *((_DOUBLED[doubled],) if found.contracted else ()),
            "axes x, y, z as in Nye 1957: the axis of monoclinic crystals is y, a of trigonal and hexagonal ones x",
        ),
        {
            "formula": formula,
            "group": found.group.symbol,
            "axial": axial,
            "time_odd": time_odd,
            "independent": [list(i) for i in found.independent],
            "components": [[list(i), _combination(c)] for i, c in sorted(found.components.items())],
            "indices": "components count axes x, y, z from 0",
        },
        lambda: matrix,
    )


def describe_constants(formula: str, axial: bool = False) -> Document:
    """How many independent constants a property tensor has in every class. Raises ValueError for a bad formula."""
    counts = {
        name: len(property_tensor(formula, name, axial).independent) for name in (*CRYSTAL_CLASSES, *CURIE_GROUPS)
    }
    rows = tuple((name, point_group(name).schoenflies, point_group(name).system, str(n)) for name, n in counts.items())
    return Document(
        "constants",
        f"Independent constants of {'axial' if axial else 'polar'} tensors {formula} in every class",
        (Table("", ("class", "Schoenflies", "system", "constants"), rows),),
        {"formula": formula, "axial": axial, "constants": counts},
        lambda: sp.Matrix(list(counts.values())),
    )


def _kind(found: PropertyTensor) -> str:
    words = [*(["time-odd"] if found.time_odd else []), "axial" if found.axial else "polar", "tensors"]
    return " ".join(words).capitalize()


def _count(number: int) -> str:
    return {0: "no constant", 1: "1 constant"}.get(number, f"{number} constants")


def _combination(values: dict[Any, Fraction]) -> list[Any]:
    return [[list(index), str(c)] for index, c in values.items()]
