"""Proofs about emitted kernels that work row by row: harmonics, couplings, products, packing.

The source is run on arrays of several rows, channels, species and threads, of which a call does the rows start..stop.
One row and channel holds free variables, so that its results are identities between polynomials: with the closed
form, its derivatives, and equivariance under the generators of so(3). The others hold random rationals, and what a
call should leave alone or add to holds variables of its own. A second run has other sizes, and channels two at a time
as compiled code takes them. Source: docs/theory.md, section 7.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod
from typing import Any

import numpy as np
from flint import fmpq

from cartalg.symbolic.proofs import prove_generators
from cartalg.symbolic.rotation import generator
from cartalg_codegen.proofs.arrays import INDEX, LANE, REAL, Array, from_lanes, to_lanes
from cartalg_codegen.proofs.closed import Transforms, components, parities, rational, row_rule, zeros
from cartalg_codegen.proofs.dialect import NUMBA
from cartalg_codegen.proofs.exact import Sources, require_reached
from cartalg_codegen.proofs.identities import Space, Sparse, gradient, number, require, same, tangent
from cartalg_codegen.proofs.tensors import Torch
from cartalg_codegen.specs import KernelSpec


def random_rational(rng: random.Random) -> fmpq:
    """A rational that is not zero, one or minus one."""
    return fmpq(rng.choice((-1, 1)) * rng.randint(2, 40), rng.choice((1, 3, 5, 7)))


@dataclass(frozen=True)
class Sizes:
    """Of one run: rows start..stop of all rows are asked for, by one of several threads."""

    rows: int
    start: int
    stop: int
    channels: int
    species: tuple[int, ...]
    thread: int
    threads: int
    width: int = 0

    @property
    def kinds(self) -> int:
        """Number of species."""
        return max(self.species) + 1


#: Row 2 and channel 1 hold free variables; rows 1 and 3 are of one species, whose gradient they both add to. No size or
#: number is the same function of others in both, so that none can stand in another's place.
FREE = Sizes(5, 1, 4, 2, (1, 0, 1, 0, 1), thread=1, threads=4)
LANES = Sizes(7, 3, 5, 6, (0, 1, 0, 2, 1, 4, 0), thread=2, threads=4, width=2)
_ROW, _CHANNEL = 2, 1


class RowKernel:
    """One emitted row kernel and its rule."""

    def __init__(self, spec: KernelSpec, read: Callable[[str], str], path: str, backend: str) -> None:
        self.spec, self.rule = spec, (rule := row_rule(spec))
        self._read, self.path, self.backend = read, path, backend
        self.features = tuple(rule.inputs)
        self.space = Space()
        self.theta = {slot: self.space.variables(size) for slot, size in rule.sizes.items()}
        self.g = self.space.variables(components(rule.out))
        self.moves = {slot: self.space.variables(len(self.theta[slot])) for slot in self.features}
        self.t_g = self.space.variables(components(rule.out))
        self._random = random.Random(path)

    # what is true

    @cached_property
    def out(self) -> np.ndarray:
        """The closed form as polynomials."""
        return self.rule.form(self.theta)

    @cached_property
    def expected(self) -> dict[str, dict[str, np.ndarray]]:
        """Stage -> output -> polynomials, for one row and channel."""
        found = {"forward": {"out": self.out}}
        if self.backend != NUMBA:
            return found
        found["forward_tangent"] = {"out": tangent(self.out, self.theta, self.moves)}
        first = gradient(self.out, self.g, self.theta)
        second = {slot: tangent(values, self.theta, self.moves) for slot, values in first.items()}
        for suffix, slots in (("", self.features), ("_w", ("w", *self.features))):
            if "w" in self.theta or not suffix:
                found[f"backward{suffix}"] = {slot: first[slot] for slot in slots}
                found[f"backward_tangent{suffix}"] = {
                    slot: second[slot] + (gradient(self.out, self.t_g, {slot: self.theta[slot]})[slot] if suffix else 0)
                    for slot in slots
                }
        return found

    def reads(self, stage: str) -> list[str]:
        """Names of the arrays that a stage reads, in order."""
        moves = [f"t_{slot}" for slot in self.features] if "tangent" in stage else []
        moves += ["t_g"] if stage == "backward_tangent_w" else []
        return [*self.theta, *(["g"] if stage.startswith("backward") else []), *moves]

    def writes(self, stage: str) -> list[str]:
        """Slots whose gradient (or value: out) a stage sets, in order."""
        if stage.startswith("forward"):
            return ["out"]
        return [*self.features, *(["w"] if stage.endswith("_w") else [])]

    @property
    def variables(self) -> dict[str, np.ndarray]:
        """All variables of a row and channel by the name of their array."""
        moves = {f"t_{slot}": move for slot, move in self.moves.items()}
        return {**self.theta, "g": self.g, **moves, "t_g": self.t_g}

    # what the source says

    def prove(self) -> None:
        """Closed form, equivariance, parity, derivatives. Raises Disproved with what fails."""
        if self.backend == NUMBA:
            runs = [_Run(self, FREE, free=True), _Run(self, LANES, free=False)]
            for run in runs:
                run.loaded.require_functions(tuple(self.expected))
                for stage in self.expected:
                    run.check(stage)
            require_reached([run.sources for run in runs], self.path)
        else:
            self._prove_torch()
        self._equivariant()

    def _prove_torch(self) -> None:
        run = _Run(self, FREE, free=True)
        run.loaded.require_functions(("forward",))
        torch = Torch(run.sources.arithmetic)
        names = list(self.theta)
        arrays = {name: run.arrays[name] for name in names}
        index = [torch.tensor(np.array(FREE.species))] if "w" in self.theta else []
        out = run.loaded["forward"](*index, *(torch.tensor(a.copy()) for a in arrays.values())).values
        lanes = self.rule.lanes
        shape = (FREE.rows, components(self.rule.out), *((FREE.channels,) if lanes else ()))
        require(out.shape == shape, f"forward has a result of shape {list(out.shape)}, not {list(shape)}")
        for row in range(FREE.rows):
            for channel in range(FREE.channels if lanes else 1):
                values = run.values(row, channel)
                wanted = self.rule.form({name: values[name] for name in names})
                ours = out[row, :, channel] if lanes else out[row]
                require(same(ours, wanted), "forward is not the closed form")
        require_reached([run.sources], self.path)

    def _equivariant(self) -> None:
        """Turning the inputs by a generator of so(3) turns the outputs; every monomial has the parity of its output."""
        kinds, out = self.rule.inputs, self.out
        signs = {
            number(variable): sign
            for slot, kind in kinds.items()
            for variable, sign in zip(self.theta[slot], parities(kind), strict=True)
        }
        for value, parity in zip(out, parities(self.rule.out), strict=True):
            for monomial in Sparse.of(value).terms:
                require(prod(signs.get(v, 1) for v in monomial) == parity, "an output has a term of the wrong parity")
        for axis in range(3):
            moves = {slot: turn(kind, self.theta[slot], axis) for slot, kind in kinds.items()}
            turned = tangent(out, self.theta, moves)
            require(same(turned, turn(self.rule.out, out, axis)), f"not equivariant about axis {axis}")


class _Run:
    """The arrays of one run, and the source on them."""

    def __init__(self, kernel: RowKernel, sizes: Sizes, free: bool) -> None:
        self.kernel, self.sizes, self.free = kernel, sizes, free
        self.sources = Sources(kernel.backend, kernel._read, width=sizes.width)
        self.loaded = self.sources.load(kernel.path)
        rng, lanes = kernel._random, kernel.rule.lanes
        self.arrays: dict[str, np.ndarray] = {}
        for name, variables in kernel.variables.items():
            rows = sizes.kinds if name == "w" else sizes.rows
            shape = (rows, len(variables), *((sizes.channels,) if lanes else ()))
            array = np.empty(shape, dtype=object)
            for at in np.ndindex(shape):
                array[at] = random_rational(rng)
            if free:
                place = (sizes.species[_ROW] if name == "w" else _ROW, slice(None), *((_CHANNEL,) if lanes else ()))
                array[place] = variables
            self.arrays[name] = array

    def values(self, row: int, channel: int) -> dict[str, np.ndarray]:
        """What a row and channel reads, by the name of the array."""
        found = {}
        for name, array in self.arrays.items():
            n = self.sizes.species[row] if name == "w" else row
            found[name] = array[n, :, channel] if self.kernel.rule.lanes else array[n]
        return found

    def check(self, stage: str) -> None:
        """Raise Disproved unless a stage gives what it should, where it should."""
        kernel, sizes = self.kernel, self.sizes
        filled = Space()
        filled.count = kernel.space.count  # variables of their own
        lanes = kernel.rule.lanes
        before = {}
        for slot in kernel.writes(stage):
            size = components(kernel.rule.out) if slot == "out" else len(kernel.theta[slot])
            head = (sizes.threads, sizes.kinds) if slot == "w" else (sizes.rows,)
            before[slot] = filled.variables(*head, size, *((sizes.channels,) if lanes else ()))
        after = self._call(stage, before)
        wanted = {slot: array.copy() for slot, array in before.items()}
        for row, channel in self._places():
            for slot, values in self._expected(stage, row, channel).items():
                if slot == "w":
                    place = (sizes.thread, sizes.species[row], slice(None), channel)
                    wanted[slot][place] = wanted[slot][place] + values
                else:
                    wanted[slot][(row, slice(None), *((channel,) if lanes else ()))] = values
        for slot in before:
            name = stage if slot == "out" else f"{stage}, gradient to {slot},"
            for at in np.ndindex(before[slot].shape):
                if not Sparse.of(after[slot][at]) == Sparse.of(wanted[slot][at]):
                    raise self._wrong(name, slot, at, wanted[slot][at] is before[slot][at])

    def _wrong(self, name: str, slot: str, at: tuple[int, ...], untouched: bool) -> AssertionError:
        from cartalg_codegen.proofs.identities import Disproved

        sizes = self.sizes
        what = "is written, which another row, thread or species has" if untouched else "is not the closed form"
        if not untouched and name != "forward":
            what = "is not the derivative of forward"
        width = f", channels {sizes.width} at a time" if sizes.width else ""
        return Disproved(f"{name} {what} at {list(at)}, for rows {sizes.start}..{sizes.stop - 1}{width}")

    def _places(self) -> Iterator[tuple[int, int]]:
        for row in range(self.sizes.start, self.sizes.stop):
            for channel in range(self.sizes.channels if self.kernel.rule.lanes else 1):
                yield row, channel

    def _expected(self, stage: str, row: int, channel: int) -> dict[str, np.ndarray]:
        """Results of a stage for a row and channel: the polynomials, at its numbers."""
        expected = self.kernel.expected[stage]
        if self.free and row == _ROW and (channel == _CHANNEL or not self.kernel.rule.lanes):
            return expected
        values, variables = self.values(row, channel), self.kernel.variables
        at: dict[int, Any] = {}
        for name in self.kernel.reads(stage):
            at.update(zip(map(number, variables[name]), values[name], strict=True))
        found = {}
        for slot, polynomials in expected.items():
            numbers = zeros(len(polynomials))
            numbers[:] = [Sparse.of(p).at(at) for p in polynomials]
            found[slot] = numbers
        return found

    def _call(self, stage: str, before: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a stage on the arrays, and return its results."""
        sizes, width = self.sizes, self.sizes.width
        kind = LANE if self.kernel.rule.lanes else (LANE if width else REAL)

        def array(name: str, cells: np.ndarray, writable: bool) -> Array:
            if width and self.kernel.rule.lanes:
                cells = to_lanes(cells, width)
            elif width:  # lanes are rows
                cells = np.moveaxis(to_lanes(np.moveaxis(_padded(cells, width), 0, -1), width), -1, 0)
            return Array(name, cells, kind, writable, width)

        arguments = [array(name, self.arrays[name], False) for name in self.kernel.reads(stage)]
        results = {slot: array(f"{slot} of {stage}", cells, True) for slot, cells in before.items()}
        index = []
        if "w" in self.kernel.theta:
            index = [Array("species", np.array(sizes.species, dtype=object), INDEX, False)]
        start, stop = sizes.start, sizes.stop
        if width and not self.kernel.rule.lanes:
            start, stop = start // width, -(-stop // width)
        self.loaded[stage](start, stop, sizes.thread, *index, *arguments, *results.values())
        after = {}
        for slot, result in results.items():
            cells = result.cells
            if width and self.kernel.rule.lanes:
                cells = from_lanes(cells, width)
            elif width:
                cells = np.moveaxis(from_lanes(np.moveaxis(cells, 0, -1), width), -1, 0)[: sizes.rows]
                for row in (*range(sizes.start), *range(sizes.stop, sizes.rows)):
                    cells[row] = before[slot][row]  # lanes that are not asked for are not kept
            after[slot] = cells
        return after


def _padded(cells: np.ndarray, width: int) -> np.ndarray:
    """Rows to a multiple of `width`, the last again."""
    more = -len(cells) % width
    return np.concatenate([cells, *[cells[-1:]] * more])


@cache
def _prove_generators(max_rank: int) -> None:
    """They are generators of rotations, of these ranks and no others; zeros commute with everything."""
    for rank in range(max_rank + 1):
        prove_generators(rank)


def turn(kind: Transforms, values: np.ndarray, axis: int) -> np.ndarray:
    """A generator of so(3) applied to a packed direct sum, or to every index of a Cartesian tensor."""
    _prove_generators(1 if isinstance(kind, int) else kind.lmax)
    if isinstance(kind, int):
        packed = [[rational(c) for c in row] for row in generator(1, axis)]  # in the order (y, z, x)
        spin = [[packed[r][c] for c in (2, 0, 1)] for r in (2, 0, 1)]
        tensor = values.reshape((3,) * kind)
        turned = zeros(*tensor.shape)
        for position in range(kind):
            moved = np.moveaxis(tensor, position, 0)
            rotated = zeros(*moved.shape)
            for r in range(3):
                for c in range(3):
                    if spin[r][c]:
                        rotated[r] = rotated[r] + moved[c] * spin[r][c]
            turned = turned + np.moveaxis(rotated, 0, position)
        return turned.reshape(-1)
    parts, start = [], 0
    for term in kind:
        rank = term.irrep.l
        for _ in range(term.mul):
            j = generator(rank, axis)
            block = values[start : start + 2 * rank + 1]
            rows = zeros(len(j))
            for r, row in enumerate(j):
                for c, value in enumerate(row):
                    if value:
                        rows[r] = rows[r] + block[c] * rational(value)
            parts.append(rows)
            start += 2 * rank + 1
    return np.concatenate(parts)
