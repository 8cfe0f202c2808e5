"""A program for any number of atoms and edges, from runs on a few: every size and offset is linear in these numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from cartalg.export.operators import NotExported
from cartalg.export.steps import Kernel, Loop, View
from cartalg.export.trace import INPUTS, Sizes, Trace, trace
from cartalg.inference import Network

#: (constant, for each atom, for each atom or ghost, for each edge).
Linear = tuple[int, ...]
#: Sizes that coefficients follow from, the first and the others by one more of each; and one to check them.
FIRST, CHECK = Sizes(5, 8, 17), Sizes(9, 15, 23)
#: Bytes that arrays are aligned to.
ALIGN = 64
#: Where blocks are compared in size.
USUAL = Sizes(1000, 1500, 40_000)


class Place(NamedTuple):
    """Numbers in memory: block, bytes from its start, strides of a loop's axes, type. Block -1: the number itself."""

    block: int
    offset: Linear
    strides: tuple[int, ...] = ()
    dtype: torch.dtype = torch.int64


@dataclass(frozen=True)
class Call:
    """A step of a program: a loop with the sizes of its axes, or the number of a kernel with its words."""

    section: str
    code: str
    places: list[Place]
    shape: list[Linear]
    numbers: tuple[float, ...] = ()
    kernel: Kernel | None = None


@dataclass(frozen=True)
class Program:
    """What an artefact holds.

    Attributes:
        calls: In order.
        constants: The content of block 0.
        blocks: Bytes of the further blocks; first those of the inputs.
        outputs: Place of each result.
    """

    calls: list[Call]
    constants: bytes
    blocks: list[Linear]
    outputs: dict[str, Place]


def program(network: Network) -> Program:
    """The program of a network.

    Raises:
        NotExported: If something of it has no equal without Torch, or does not grow as the numbers of atoms and edges.
    """
    sizes = [FIRST, *(FIRST._replace(**{name: getattr(FIRST, name) + 1}) for name in Sizes._fields), CHECK]
    traces = [trace(network, s) for s in sizes]
    return _Merge(traces, sizes).program()


class _Merge:
    def __init__(self, traces: Sequence[Trace], sizes: Sequence[Sizes]) -> None:
        self.traces, self.sizes, self.first = traces, sizes, traces[0]
        for other in traces[1:]:
            same = [_kind(a) == _kind(b) for a, b in zip(self.first.steps, other.steps, strict=False)]
            if not all(same) or len(self.first.steps) != len(other.steps) or other.outputs != self.first.outputs:
                raise NotExported("a computation that depends on the number of atoms or edges")

    def linear(self, values: Sequence[int]) -> Linear:
        """The coefficients of a number that was seen at all sizes."""
        base, *further, check = values
        slopes = [value - base for value in further]
        found = (base - sum(s * n for s, n in zip(slopes, FIRST, strict=True)), *slopes)
        if _at(found, CHECK) != check:
            raise NotExported("an array that does not grow as the number of atoms and edges")
        return found

    def program(self) -> Program:
        every = self.first.storages.tensors
        size = {n: self.linear([t.storages.whole(n).nbytes for t in self.traces]) for n in range(len(every))}
        same = self._copies(size)
        steps = [*self._ones(size), *((n, step) for n, step in enumerate(self.first.steps) if n not in same)]
        homes, constants, blocks = self._homes(steps, size, dict(same.values()))
        calls = []
        for n, step in steps:
            views, numbers = zip(*((_views(t, n, step), _sizes(t, n, step)) for t in self.traces), strict=True)
            places = [
                Place(
                    homes[v[0].storage][0], _plus(self.linear([w.offset for w in v]), homes[v[0].storage][1])
                )._replace(strides=self._fixed([w.strides for w in v]), dtype=v[0].dtype)
                for v in zip(*views, strict=True)
            ]
            shape = [self.linear(values) for values in zip(*numbers, strict=True)]
            if isinstance(step, Loop):
                if all(any(s) for s in shape):
                    calls.append(Call(step.section, step.code, places, shape, step.numbers))
            else:
                rest, own = iter(places), iter(shape)
                words = [next(rest) if isinstance(w, View) else Place(-1, next(own)) for w in step.words]
                calls.append(Call(step.section, "kernel", words, [], kernel=step))
        outputs = {}
        for name, number in self.first.outputs.items():
            block, start = homes[number]
            outputs[name] = Place(block, start, dtype=every[number].dtype)
        return Program(calls, constants, blocks, outputs)

    def _fixed(self, strides: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        if any(s != strides[0] for s in strides):
            raise NotExported("an array whose rows grow with the number of atoms or edges")
        return strides[0]

    def _ones(self, size: dict[int, Linear]) -> list[tuple[int, Loop]]:
        """Constants whose size is not constant: they hold one number, and are filled with it."""
        found: list[tuple[int, Loop]] = []
        for number in sorted(self._read()):
            if number in self.first.written or number in self.first.inputs.values() or not any(size[number][1:]):
                continue
            values = self.first.storages.whole(number)
            if len(values) and bool((values != values[0]).any()):
                raise NotExported("numbers of each atom that do not depend on its element")
            view = View(number, 0, (1,), values.dtype)
            found.append((-1 - number, Loop("setup", "fill", (len(values),), (view,), (float(values[0]),))))
        return found

    def _copies(self, size: dict[int, Linear]) -> dict[int, tuple[int, int]]:
        """Steps that do nothing but write a constant to memory of its own: (that memory, the constant)."""
        found, first = {}, self.first
        for n, step in enumerate(first.steps):
            if not isinstance(step, Loop) or (step.code, step.numbers, len(step.shape)) != ("affine", (1.0, 0.0), 1):
                continue
            out, source = step.views
            constant = source.storage not in first.written and source.storage not in first.inputs.values()
            whole = step.shape[0] * out.dtype.itemsize
            alike = out._replace(storage=source.storage) == source and (out.offset, out.strides) == (0, (1,))
            fixed = all(size[v.storage] == (whole, *[0] * len(Sizes._fields)) for v in step.views)
            if constant and alike and fixed and first.written[out.storage] == 1:
                found[n] = out.storage, source.storage
        return found

    def _read(self) -> set[int]:
        return {view.storage for n, step in enumerate(self.first.steps) for view in _views(self.first, n, step)}

    def _homes(
        self, steps: Sequence[tuple[int, Loop | Kernel]], size: dict[int, Linear], same: dict[int, int]
    ) -> tuple[dict[int, tuple[int, Linear]], bytes, list[Linear]]:
        """Block and offset of each storage, the constants, and the sizes of the blocks.

        Args:
            steps: With their places in the first run.
            size: Bytes of each storage.
            same: Storages that hold what others hold, which are constants.
        """
        begin, end = dict[int, int](), dict[int, int]()
        for n, (_, step) in enumerate(steps):
            for view in step.views if isinstance(step, Loop) else (w for w in step.words if isinstance(w, View)):
                begin.setdefault(view.storage, n)
                end[view.storage] = n
        for number in self.first.outputs.values():
            end[number] = len(steps)
        homes: dict[int, tuple[int, Linear]] = {}
        none = (0,) * len(size[0])
        blocks = [none] * len(INPUTS)
        for n, name in enumerate(INPUTS):
            homes[self.first.inputs[name]] = n + 1, none
        content, known = bytearray(), dict[bytes, int]()
        taken: list[tuple[int, int]] = []
        free: list[int] = []
        for number, start in sorted(begin.items(), key=lambda pair: pair[1]):
            if number in homes:
                continue
            source = same.get(number, number)
            if source not in self.first.written and not any(size[number][1:]):
                homes[number] = 0, (_kept(self.first.storages.whole(source), content, known), *none[1:])
                continue
            free += [block for until, block in taken if until < start]
            taken = [pair for pair in taken if pair[0] >= start]
            block = _fitting(free, blocks, size[number])
            blocks[block - 1] = tuple(map(max, blocks[block - 1], size[number]))
            homes[number] = block, none
            taken.append((end[number], block))
        return homes, bytes(content), blocks


def _fitting(free: list[int], blocks: list[Linear], size: Linear) -> int:
    """The number of a block, from 1: the free one that is nearest in size, up to twice, or a new one."""
    wanted = _at(size, USUAL)
    near = [(abs(math.log2((_at(blocks[b - 1], USUAL) + 1) / (wanted + 1))), b) for b in free]
    distance, best = min(near, default=(math.inf, 0))
    if distance <= 1:
        free.remove(best)
        return best
    blocks.append(size)
    return len(blocks)


def _kept(values: Tensor, content: bytearray, known: dict[bytes, int]) -> int:
    """Where a constant is; equal ones are kept once."""
    found = values.numpy().tobytes()
    if found not in known:
        content += bytes(-len(content) % ALIGN)
        known[found] = len(content)
        content += found
    return known[found]


def _at(linear: Linear, sizes: Sizes) -> int:
    return linear[0] + sum(c * n for c, n in zip(linear[1:], sizes, strict=True))


def _plus(a: Linear, b: Linear) -> Linear:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _kind(step: Loop | Kernel) -> object:
    """All of a step that is not a number of atoms or edges."""
    if isinstance(step, Kernel):
        return step.section, step.job, step.group, [w.storage if isinstance(w, View) else None for w in step.words]
    return replace(step, shape=(len(step.shape),), views=tuple(v._replace(offset=0, strides=()) for v in step.views))


def _views(of: Trace, n: int, step: Loop | Kernel) -> list[View]:
    """The memory that a step touches, in the run that is asked for; negative numbers are of constants filled anew."""
    own = of.steps[n] if n >= 0 else step
    return [*own.views] if isinstance(own, Loop) else [w for w in own.words if isinstance(w, View)]


def _sizes(of: Trace, n: int, step: Loop | Kernel) -> list[int]:
    """The numbers of a step."""
    if n < 0:
        return [len(of.storages.whole(-1 - n))]
    own = of.steps[n]
    return [*own.shape] if isinstance(own, Loop) else [w for w in own.words if not isinstance(w, View)]
