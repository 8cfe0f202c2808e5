"""The backend-neutral statement list between mathematics and text.

A `Program` is straight-line code over Q: each statement sets one value to a polynomial in values set before. Values
belong to slots. A *lane* slot has one value per channel, the axis a backend vectorises over; a *uniform* slot has one
value for all channels, so as an output it is a sum over channels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple


class Ref(NamedTuple):
    """Component `index` of a slot, or of a named intermediate."""

    slot: str
    index: int  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self.slot}{self.index}"


class Term(NamedTuple):
    """coefficient * product of factors."""

    coefficient: Fraction
    factors: tuple[Ref, ...]


@dataclass(frozen=True)
class Assign:
    """target = sum of terms; each target is set once."""

    target: Ref
    terms: tuple[Term, ...]


class Where(StrEnum):
    """What a slot has a row for: where a kernel reads and writes it, whatever its loops are."""

    ROW = "row"  #: each row that the kernel works through
    SPECIES = "species"  #: each element; the row says which
    SENDER = "sender"  #: atom j of an edge i <- j
    RECEIVER = "receiver"  #: atom i of it
    EDGE = "edge"  #: the edge itself
    KNOT = "knot"  #: each knot of a radial table; the edge's length says which


@dataclass(frozen=True)
class Slot:
    """A named argument with `size` components; `lane` says whether it has a channel axis."""

    name: str
    size: int
    lane: bool = True
    where: Where = Where.ROW

    @property
    def base(self) -> str:
        """Name of the slot that a gradient ``d_x``, tangent ``t_x`` or ``t_d_x`` belongs to."""
        return self.name.removeprefix("t_").removeprefix("d_")

    def derived(self, prefix: str) -> "Slot":
        """The slot of a gradient (``"d_"``) or tangent (``"t_"``): the same numbers in the same place."""
        return replace(self, name=prefix + self.name)


@dataclass(frozen=True)
class Program:
    """Straight-line code with exact coefficients.

    Attributes:
        name: Function name in the emitted file.
        summary: One line for the emitted docstring.
        inputs, outputs: Argument slots. Every component of every output is set exactly once.
        body: Statements in the order of the mathematics.
        titles: What an intermediate is, by the name of its slot: a comment in the emitted file.
    """

    name: str
    summary: str
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    body: tuple[Assign, ...]
    titles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = {Ref(s.name, i) for s in self.inputs for i in range(s.size)}
        for statement in self.body:
            for term in statement.terms:
                missing = [f for f in term.factors if f not in known]
                if missing:
                    raise ValueError(f"{self.name}: {statement.target} uses {missing[0]} before it is set")
            if statement.target in known:
                raise ValueError(f"{self.name}: {statement.target} is set twice")
            known.add(statement.target)
        unset = [Ref(s.name, i) for s in self.outputs for i in range(s.size) if Ref(s.name, i) not in known]
        if unset:
            raise ValueError(f"{self.name}: output {unset[0]} is never set")

    @cached_property
    def read(self) -> frozenset[Ref]:
        """Everything that some statement uses."""
        return frozenset(factor for assign in self.body for term in assign.terms for factor in term.factors)

    @property
    def uniform(self) -> tuple[Assign, ...]:
        """Statements of intermediates that are the same for all channels, for they read uniform slots alone."""
        known = {Ref(s.name, i) for s in self.inputs if not s.lane for i in range(s.size)}
        outputs = {s.name for s in self.outputs}
        found = []
        for assign in self.body:
            if assign.target.slot not in outputs and all(f in known for t in assign.terms for f in t.factors):
                known.add(assign.target)
                found.append(assign)
        return tuple(found)

    @property
    def operations(self) -> int:
        """Multiplications and additions a call does per channel, in the grouped form that is printed."""
        return sum(count_operations(s.terms) for s in self.body)


def statement(target: Ref, terms: Iterable[tuple[Fraction | int, tuple[Ref, ...]]]) -> Assign:
    """Collect equal monomials, drop zeros, sort: the canonical statement."""
    collected: dict[tuple[Ref, ...], Fraction | int] = {}
    for coefficient, factors in terms:
        key = tuple(sorted(factors)) if len(factors) > 1 else factors
        collected[key] = collected[key] + coefficient if key in collected else coefficient
    return Assign(target, tuple(Term(Fraction(c), f) for f, c in sorted(collected.items()) if c))


def grouped(terms: tuple[Term, ...]) -> list[tuple[Fraction, list[tuple[int, tuple[Ref, ...]]]]]:
    """Terms by |coefficient|, so that each constant multiplies once: [(|c|, [(sign, factors)])]."""
    groups: dict[tuple[int, int], list[tuple[int, tuple[Ref, ...]]]] = {}  # fractions are slow to hash
    for (above, below), factors in ((c.as_integer_ratio(), factors) for c, factors in terms):
        groups.setdefault((abs(above), below), []).append((1 if above > 0 else -1, factors))
    return [(Fraction(*size), group) for size, group in groups.items()]


def count_operations(terms: tuple[Term, ...]) -> int:
    """Multiplications and additions of one statement as printed."""
    if not terms:
        return 0
    multiplications = sum(max(len(factors) - 1, 0) for _, factors in terms)
    ratios = (c.as_integer_ratio() for c, factors in terms if factors)
    constants = {(abs(above), below) for above, below in ratios} - {(1, 1)}
    return multiplications + len(constants) + len(terms) - 1


def live(body: Iterable[Assign], outputs: tuple[Slot, ...]) -> tuple[Assign, ...]:
    """Drop statements that no output depends on."""
    needed = {Ref(s.name, i) for s in outputs for i in range(s.size)}
    kept: list[Assign] = []
    for assign in reversed(list(body)):
        if assign.target in needed:
            needed.update(f for term in assign.terms for f in term.factors)
            kept.append(assign)
    return tuple(reversed(kept))


def degree(program: Program, slot: str) -> int:
    """Highest power in which the components of an input slot appear together in an output."""
    powers: dict[Ref, int] = {}
    for assign in program.body:
        terms = [sum(1 if f.slot == slot else powers.get(f, 0) for f in t.factors) for t in assign.terms]
        powers[assign.target] = max(terms, default=0)
    outputs = {s.name for s in program.outputs}
    return max((p for ref, p in powers.items() if ref.slot in outputs), default=0)


def propagate_zeros(body: Iterable[Assign], outputs: tuple[Slot, ...]) -> tuple[Assign, ...]:
    """Remove intermediates that are identically zero, and the terms that contain them."""
    output_names = {s.name for s in outputs}
    zero: set[Ref] = set()
    kept: list[Assign] = []
    for assign in body:
        terms = tuple(t for t in assign.terms if not any(f in zero for f in t.factors))
        if terms or assign.target.slot in output_names:
            kept.append(Assign(assign.target, terms))
        if not terms:
            zero.add(assign.target)
    return tuple(kept)


def vanishing(program: Program, zero: Iterable[Ref]) -> Program:
    """The program where these values are zero; what has become a copy of another value is replaced by it."""
    gone, outputs = set(zero), {s.name for s in program.outputs}
    same: dict[Ref, Ref] = {}
    kept: list[Assign] = []
    for assign in program.body:
        found = [
            (t.coefficient, tuple(same.get(f, f) for f in t.factors))
            for t in assign.terms
            if not any(f in gone for f in t.factors)
        ]
        new = statement(assign.target, found)
        output = assign.target.slot in outputs
        if not output and (not new.terms or assign.target in gone):
            gone.add(assign.target)
        elif not output and len(new.terms) == 1 and new.terms[0].coefficient == 1 and len(new.terms[0].factors) == 1:
            same[assign.target] = new.terms[0].factors[0]
        else:
            kept.append(new)
    return replace(program, body=live(kept, program.outputs))


def evaluate(program: Program, arguments: Mapping[str, list[Fraction]]) -> dict[str, list[Fraction]]:
    """Run a program over Q for one channel: the meaning that every backend is tested against.

    Raises:
        ValueError: If an argument is missing or has the wrong number of components.
    """
    values: dict[Ref, Fraction] = {}
    for slot in program.inputs:
        given = arguments.get(slot.name)
        if given is None or len(given) != slot.size:
            raise ValueError(f"{program.name}: argument {slot.name!r} needs {slot.size} components")
        values.update({Ref(slot.name, i): v for i, v in enumerate(given)})
    for assign in program.body:
        total = Fraction(0)
        for term in assign.terms:
            product = term.coefficient
            for factor in term.factors:
                product *= values[factor]
            total += product
        values[assign.target] = total
    return {s.name: [values[Ref(s.name, i)] for i in range(s.size)] for s in program.outputs}
