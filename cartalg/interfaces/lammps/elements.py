"""Which element each LAMMPS atom type is: said by the user or by the types' labels, and checked."""

from collections.abc import Sequence
from typing import Any

from ase.data import atomic_masses, atomic_numbers

#: Relative difference of masses that are taken for the same.
ALIKE = 0.01


def elements_of_types(lammps: Any, elements: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Chemical symbol of each type, 1 first.

    Args:
        lammps: A `lammps.lammps` with a box.
        elements: As given by the user; None to take the types' labels.
        known: Elements of the potential.
    Raises:
        ValueError: If the number is not that of the types, or an element is not known.
    """
    types = int(lammps.extract_setting("ntypes"))
    found = list(elements) if elements is not None else _labelled(lammps, types, known)
    if len(found) != types:
        raise ValueError(f"there are {types} atom types, but {len(found)} elements: {' '.join(found) or 'none'}")
    if unknown := sorted({e for e in found if e not in known}):
        raise ValueError(f"the model knows {', '.join(known)}, but not {', '.join(unknown)}")
    return tuple(found)


def _labelled(lammps: Any, types: int, known: Sequence[str]) -> list[str]:
    """Elements by labels."""

    def number(formula: str) -> int:
        lammps.command(f"variable cartalg_label equal {formula}")
        value = int(lammps.extract_variable("cartalg_label"))
        lammps.command("variable cartalg_label delete")
        return value

    try:
        found = {number(f"label2type(atom,{e})"): e for e in known if number(f"is_typelabel(atom,{e})")}
    except Exception as error:  # the class of all that LAMMPS raises
        if "labelmap" not in str(error):
            raise
        found = {}
    if lacking := [str(n) for n in range(1, types + 1) if n not in found]:
        raise ValueError(
            f"no element is given for atom type {', '.join(lacking)}, and its label is none that the model knows "
            f"({', '.join(known)}): name the element of each type"
        )
    return [found[n] for n in range(1, types + 1)]


def check_masses(lammps: Any, elements: Sequence[str], known: Sequence[str]) -> None:
    """Raise ValueError if a type has the mass of another element: types in another order are no error else.

    Args:
        lammps: A `lammps.lammps` with masses of types, or of atoms, which are not looked at.
        elements: Of each type.
        known: Elements of the potential.
    """
    masses = lammps.extract_atom("mass")
    if not masses:
        return
    for n, symbol in enumerate(elements, 1):
        alike = [e for e in known if abs(masses[n] / atomic_masses[atomic_numbers[e]] - 1) < ALIKE]
        if alike and symbol not in alike:
            raise ValueError(f"atom type {n} has the mass of {alike[0]}, {masses[n]:g}, but is given as {symbol}")
