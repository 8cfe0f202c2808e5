"""What a kernel is: the one description that emission, loading, proofs, operators and the model read.

A specification is a few ranks; everything else follows from the exact rules and is derived when it is asked for.
Numbers that are slow to derive are kept in the manifest of a kernel set, from which `KernelSpec.from_json` takes
them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from math import prod
from typing import Any, ClassVar, Literal, Self

from cartalg.symbolic.irreps import Irreps
from cartalg_codegen.derive import derivatives
from cartalg_codegen.program import Program, Where

#: feature and geometry: differentiable twice; parameter: summed over rows, differentiable; out: the result.
Role = Literal["feature", "geometry", "parameter", "out"]
#: How the components of an argument transform: packed irreps, a Cartesian tensor of some rank (row-major), or not at
#: all.
Transforms = Irreps | int | None


@dataclass(frozen=True)
class Argument:
    """An array that a kernel reads or writes: [rows, components, channels], without channels if it has no lanes.

    `flat`: emitted functions that loop take it as [rows x components, channels] (``rows``), or as [rows, components x
    channels] (``columns``).
    """

    name: str
    role: Role
    where: Where = Where.ROW
    lanes: bool = True
    flat: Literal["", "rows", "columns"] = ""

    def shape(self, shape: Sequence[int], width: int = 1) -> list[int]:
        """The shape that an emitted function takes it in, of a tensor's, with `width` channels a lane."""
        *before, components, channels = [*shape[:-1], shape[-1] // width if self.lanes else shape[-1]]
        if self.flat == "columns":
            return [prod(before), components * channels]
        if self.flat == "rows" and len(before) == 1:
            return [before[0] * components, channels]
        return [*before, components, channels]


@dataclass(frozen=True)
class Stage:
    """One emitted function: a kernel, or one of its derivatives.

    Attributes:
        name: Of the function.
        reads: Arrays it reads, by their names in the emitted file.
        writes: Arrays it sets, or adds to if the argument is a parameter.
        index: Arrays and numbers without a gradient that come first.
        over: The array of the index that counts the rows; without one they are those of the first array read.
        vectors: Vector registers that a lane fills. With two, what all channels share is read half as often; where
            many numbers are summed at once they would no longer fit.
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    index: tuple[str, ...] = ()
    over: str = ""
    vectors: int = 1

    @property
    def signature(self) -> tuple[str, ...]:
        """Arguments after start, stop and thread, in order."""
        return (*self.index, *self.reads, *self.writes)

    def rows(self, index: Mapping[str, Any], first: Any) -> int:
        """Rows that are shared out to threads, of arrays by name and the first array that is read."""
        return int(index[self.over].shape[0]) - 1 if self.over else int(first.shape[0])


def _d(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"d_{name}" for name in names)


def base(name: str) -> str:
    """The argument that an array belongs to: ``t_d_x`` has the layout of x, a cotangent g that of the output."""
    name = name.removeprefix("t_").removeprefix("d_")
    return "out" if name == "g" else name


@dataclass(frozen=True)
class KernelSpec(ABC):
    """One kernel. Equal specifications give the same files, to the byte."""

    kind: ClassVar[str]
    arguments: ClassVar[tuple[Argument, ...]]
    #: Arguments without a gradient, and their types in the schema of an operator.
    index: ClassVar[Mapping[str, str]] = {}
    #: Attributes that the manifest keeps, for they are slow to derive.
    kept: ClassVar[tuple[str, ...]] = ()
    #: Called by other kernels alone, which import its functions.
    part: ClassVar[bool] = False
    #: Where the rule stands.
    source: ClassVar[str]

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the emitted file; says all that the specification holds."""

    @classmethod
    @abstractmethod
    def parse(cls, name: str) -> Self | None:
        """The specification that a name stands for, None if it is not of this kind. Raises ValueError for bad ranks."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """Highest rank of any tensor in it: the rank of the kernel sets that it belongs to."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """The rule in one line, with its equation."""

    @property
    def formula(self) -> str:
        """The closed form in index notation, if a line can hold it."""
        return ""

    @property
    @abstractmethod
    def layout(self) -> str:
        """Shapes of the arrays."""

    @classmethod
    def argument(cls, name: str) -> Argument:
        """The argument that an array of an emitted function belongs to."""
        return next(a for a in cls.arguments if a.name == base(name))

    @classmethod
    def named(cls, *roles: Role) -> tuple[str, ...]:
        """Arguments of these roles, in order."""
        return tuple(a.name for role in roles for a in cls.arguments if a.role == role)

    @classmethod
    def parameter(cls) -> str | None:
        """The parameter, if the kernel has one."""
        return next(iter(cls.named("parameter")), None)

    @classmethod
    @cache
    def roles(cls, stage: str) -> dict[str, Argument]:
        """The argument that each array of a stage belongs to, in order."""
        about = cls.stages()[stage]
        return {name: cls.argument(name) for name in (*about.reads, *about.writes)}

    @classmethod
    @cache
    def stages(cls) -> dict[str, Stage]:
        """The functions of an emitted file, by name."""
        moving, parameter = cls.named("feature", "geometry"), cls.parameter()
        slots, plain = (*moving, *((parameter,) if parameter else ())), {"forward": ("out",), "backward": _d(moving)}
        if parameter:
            plain[f"backward_{parameter}"] = _d((*cls.named("feature"), parameter))
        found = {}
        for name, writes in plain.items():
            reads = slots if name == "forward" else (*slots, "g")
            tangent = name.replace("ward", "ward_tangent", 1)
            # the gradient to a parameter is the last that is asked for: with the move of g it is the whole of it
            along = (*moving, "g") if parameter and name.endswith(f"_{parameter}") else moving
            found[name] = cls._stage(name, reads, writes)
            found[tangent] = cls._stage(tangent, (*reads, *(f"t_{m}" for m in along)), tuple(f"t_{w}" for w in writes))
        return found

    @classmethod
    def _stage(cls, name: str, reads: tuple[str, ...], writes: tuple[str, ...]) -> Stage:
        return Stage(name, reads, writes, index=tuple(cls.index))

    @property
    def parts(self) -> tuple["KernelSpec", ...]:
        """Kernels whose functions its file imports."""
        return ()

    @abstractmethod
    def transforms(self, argument: str) -> Transforms:
        """How an argument transforms under O(3)."""

    @cached_property
    def components(self) -> Mapping[str, int]:
        """Components of each argument."""
        return {a.name: self._components(a.name) for a in self.arguments}

    def _components(self, argument: str) -> int:
        how = self.transforms(argument)
        if how is None:
            raise ValueError(f"{self.name}: the components of {argument} follow from no representation")
        return 3**how if isinstance(how, int) else how.dim

    @abstractmethod
    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        """The output of one row and channel from the rules alone, in any exact ring; no program is involved."""

    def to_json(self) -> dict[str, Any]:
        """What a manifest says of the kernel: its ranks and the numbers that are slow to derive."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"kind": self.kind, **values, **{name: self._encode(name) for name in self.kept}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The specification of a manifest. Raises KeyError or ValueError where it is none."""
        spec = cls(**{f.name: data[f.name] for f in fields(cls)})
        for name in cls.kept:
            spec.__dict__[name] = cls._decode(name, data[name])
        return spec

    def _encode(self, name: str) -> Any:
        """A kept attribute as JSON."""
        return getattr(self, name)

    @classmethod
    def _decode(cls, name: str, value: Any) -> Any:
        """A kept attribute from JSON."""
        return value


class RowSpec(KernelSpec):
    """A kernel that does row by row what its program says."""

    @abstractmethod
    def forward(self) -> Program:
        """The program of one row, whose slots are the kernel's arguments."""

    @cached_property
    def programs(self) -> tuple[Program, ...]:
        """The programs of all stages."""
        return derivatives(self.forward(), self.named("feature", "geometry"), self.parameter())
