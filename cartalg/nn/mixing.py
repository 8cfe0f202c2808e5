"""Mixing of channels and paths, irrep by irrep: matrix products by the `linear` kernel, with all their derivatives."""

from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from cartalg.nn.operations import give, summed
from cartalg.nn.values import Call, Make, Operation, Recorder, Slot, Target, Value, run
from cartalg.ops import KernelSet, bind
from cartalg.ops.autograd import thread_count
from cartalg.symbolic.irreps import Irreps
from cartalg_codegen.specs import LinearSpec


class Mixing:
    """Which blocks of a packed value are mixed into which blocks of the result.

    Attributes:
        names: Of the matrices: the irrep of each pair's output.
        idle: Rows of the input that go nowhere.
        lacking: Components of the result that are zero.

    Args:
        kernels: A kernel set with the `linear` kernel.
        inputs: The input's irreps; one of multiplicity n is n paths, its rows [component, path].
        outputs: The result's irreps, each once.
        channels: The result's channels.
        pairs: (term of the inputs, term of the outputs), the outputs all different; others are zero. By default, each
            output with the input of the same irrep.
    """

    def __init__(
        self,
        kernels: KernelSet,
        inputs: Irreps,
        outputs: Irreps,
        channels: int,
        pairs: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        self.kernels, self.inputs, self.outputs, self.channels = kernels, inputs, outputs, channels
        if pairs is None:
            places = {irrep: n for n, irrep in enumerate(inputs.irreps)}
            pairs = [(places[irrep], n) for n, irrep in enumerate(outputs.irreps) if irrep in places]
        self.pairs = tuple(pairs)
        self.names = tuple(str(outputs[n].irrep) for _, n in pairs)
        self.sizes = [term.dim for term in inputs]
        sources, reached = {n for n, _ in pairs}, {n for _, n in pairs}
        self.idle = [place for n, place in enumerate(inputs.slices) if n not in sources]
        self.lacking = [place for n, place in enumerate(outputs.slices) if n not in reached]


def mix(x: Value | Make, mixing: Mixing, weight: Make, plus: Value | Tensor | Make | None = None) -> Value:
    """Each output block as its input block times a matrix over paths and channels.

    Args:
        x: [atoms, rows, channels]; or [atoms, channels], which is one row of scalars and stays one.
        mixing: The blocks.
        weight: Makes the matrices of the pairs, one below the other: [sum of paths * channels, result's channels].
        plus: What is added, of the result's shape.
    Returns:
        [atoms, components, channels].
    """
    return run(Mix(mixing), x, weight) if plus is None else run(Mix(mixing), x, weight, plus)


class Mix(Operation):
    """Inputs: x, weight, and what is added if anything is."""

    def __init__(self, mixing: Mixing) -> None:
        self.mixing = mixing

    def eager(self, *inputs: Tensor) -> Tensor:
        x, weight, mixing = inputs[0], inputs[1], self.mixing
        if x.ndim == 2:
            return torch.addmm(inputs[2], x, weight) if len(inputs) > 2 else x @ weight
        # split, not slices: the gradient of a slice is a full tensor of zeros
        parts = x.split(mixing.sizes, 1)
        matrices = weight.split([mixing.inputs[source].mul * x.shape[2] for source, _ in mixing.pairs])
        found: dict[int, Tensor] = {}
        for (source, goal), matrix in zip(mixing.pairs, matrices, strict=True):
            paths, irrep = mixing.inputs[source]
            rows = parts[source]
            found[goal] = (rows if paths == 1 else rows.reshape(x.shape[0], irrep.dim, paths * x.shape[2])) @ matrix
        blocks = [
            found[n] if n in found else x.new_zeros(x.shape[0], irrep.dim, mixing.channels)
            for n, irrep in enumerate(mixing.outputs.irreps)
        ]
        out = torch.cat(blocks, 1) if len(blocks) > 1 else blocks[0]
        return out + inputs[2] if len(inputs) > 2 else out

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        rows = [self.mixing.outputs.dim] if len(inputs[0].shape) > 2 else []
        return (int(inputs[0].shape[0]), *rows, self.mixing.channels), inputs[0].dtype

    def hosts(self, *inputs: Tensor | Slot) -> dict[int, int]:
        return {2: 0} if len(inputs) > 2 and tuple(inputs[2].shape) == self.shape(*inputs)[0] else {}

    def reads(self, wanted: Sequence[bool]) -> Iterable[int]:
        return [1 - n for n in (0, 1) if wanted[n]]

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        if len(inputs) > 2 and inputs[2].data_ptr() != out.data_ptr():
            yield partial(out.copy_, inputs[2])
        yield from self._mixed(plan, inputs[0], inputs[1], out, len(inputs) > 2)

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        if len(inputs) > 2 and targets[2] is not None:
            if targets[2].tensor.shape == g.shape:
                yield from give(g, targets[2])
            else:  # a bias
                yield partial(_summed, g, targets[2])
        if targets[1] is not None:
            yield from self._weight_gradient(plan, [(inputs[0], g)], targets[1])
        target = targets[0]
        if target is not None:
            if not target.add:
                for place in self.mixing.idle:
                    yield target.tensor[:, place].zero_
            layout = plan.once((self.mixing, "back"), partial(_backward_layout, self.mixing))
            yield self._bind(plan, "back", layout, g, self._turned(plan, inputs[1]), target)

    def tangent(
        self, plan: Recorder, out: Tensor, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]
    ) -> Iterable[Call]:
        plus = moves[2] if len(moves) > 2 else None
        if plus is not None and plus.data_ptr() != out.data_ptr():
            yield partial(out.copy_, plus)
        if moves[0] is not None:
            yield from self._mixed(plan, moves[0], inputs[1], out, plus is not None)

    def second(
        self,
        plan: Recorder,
        slope: Tensor,
        g: Tensor,
        inputs: Sequence[Tensor],
        moves: Sequence[Tensor | None],
        targets: Sequence[Target | None],
    ) -> Iterable[Call]:
        of_weight, others = targets[1], [None if n == 1 else target for n, target in enumerate(targets)]
        yield from self.backward(plan, g, inputs, others)
        if of_weight is not None:
            pairs = [(inputs[0], g)] + ([] if moves[0] is None else [(moves[0], slope)])
            yield from self._weight_gradient(plan, pairs, of_weight)

    def _mixed(self, plan: Recorder, x: Tensor, weight: Tensor, out: Tensor, add: bool) -> Iterable[Call]:
        if not add:
            for place in self.mixing.lacking:
                yield out[:, place].zero_
        channels = x.shape[-1]
        layout = plan.once((self.mixing, channels), partial(_forward_layout, self.mixing, channels))
        yield self._bind(plan, "forward", layout, x, weight, Target(out, add))

    def _turned(self, plan: Recorder, weight: Tensor) -> Tensor:
        """The weight as the gradient's mixing takes it: each path's matrix turned."""
        mixing = self.mixing

        def make() -> tuple[Tensor, list[Tensor], list[Tensor]]:
            width, channels = weight.shape[1], weight.shape[0] // sum(mixing.inputs[n].mul for n, _ in mixing.pairs)
            parts = list(weight.split(channels))  # of pairs, one path after the other
            turned = weight.new_empty(width * len(parts), channels)
            return turned, list(turned.split(width)), [part.t() for part in parts]

        return plan.copied((mixing, "turned"), make)

    def _weight_gradient(
        self, plan: Recorder, pairs: Sequence[tuple[Tensor, Tensor]], target: Target
    ) -> Iterable[Call]:
        """The sum of products of an input and a gradient to the result, for each pair of them."""
        parts, before, after = summed(target, thread_count(len(pairs[0][0])))
        yield from before
        for x, g in pairs:
            layout = plan.once((self.mixing, x.shape[-1]), partial(_forward_layout, self.mixing, x.shape[-1]))
            yield self._bind(plan, "backward_weight", layout, x, parts, Target(g, False))
        yield from after

    def _bind(self, plan: Recorder, what: str, layout: Tensor, x: Tensor, weight: Tensor, target: Target) -> Call:
        """A call of the `linear` kernel; `x` and the target may be rows of larger tensors."""
        (x, x_start), (out, out_start) = _whole(x), _whole(target.tensor)
        channels = target.tensor.shape[-1]
        rows, first = out.shape[1] // channels, out_start // channels

        def placed() -> Tensor:
            moved = layout + layout.new_tensor([0, x_start, 0, 0, 0, first, rows, 0])
            moved[:, -1] |= int(target.add)
            return moved

        layout = plan.once((self.mixing, what, channels, x_start, first, rows, target.add), placed)
        out = out.view(len(out), rows, channels)
        learns = what == "backward_weight"
        tensors = {"x": x, "d_weight" if learns else "weight": weight, "g" if learns else "out": out}
        stage = what if learns else "forward"
        return bind(self.mixing.kernels, LinearSpec(), stage, {"layout": layout}, tensors, thread_count(len(x)))


def _summed(g: Tensor, target: Target) -> None:
    target.tensor.add_(g.sum(0)) if target.add else torch.sum(g, 0, out=target.tensor)


def _forward_layout(mixing: Mixing, channels: int) -> Tensor:
    """Lines of (size, x_at, x_step, depth, w_at, out_at, out_rows, add), as the `linear` kernel describes them.

    There is no number yet for out_rows.
    """
    lines, at = [], 0
    for source, goal in mixing.pairs:
        paths, irrep = mixing.inputs[source]
        x_row, out_row, depth = mixing.inputs.slices[source].start, mixing.outputs.slices[goal].start, paths * channels
        lines.append([irrep.dim, x_row * channels, depth, depth, at, out_row, 0, 0])
        at += depth
    return torch.tensor(lines, dtype=torch.int64).reshape(-1, 8)


def _backward_layout(mixing: Mixing) -> Tensor:
    """The same for the gradient; one path is mixed after the other, for their rows lie apart."""
    lines, at, reached, width = [], 0, set[int](), mixing.channels
    for source, goal in mixing.pairs:
        paths, irrep = mixing.inputs[source]
        x_row, out_row = mixing.inputs.slices[source].start, mixing.outputs.slices[goal].start
        size = irrep.dim if paths == 1 else 1
        for path in range(paths):
            for row in range(0, irrep.dim, size):
                line = [size, (out_row + row) * width, width, width, at, x_row + row * paths + path]
                lines.append([*line, 0, int(source in reached)])
            at += width
        reached.add(source)
    return torch.tensor(lines, dtype=torch.int64).reshape(-1, 8)


def _whole(rows: Tensor) -> tuple[Tensor, int]:
    """The tensor [atoms, numbers] that a value [atoms, rows, channels] lies in, and where in an atom it starts."""
    if rows.is_contiguous():
        return rows.flatten(1), 0
    size = rows.stride(0)
    start = int(rows.storage_offset() % size)
    return rows.as_strided((len(rows), size), (size, 1), rows.storage_offset() - start), start
