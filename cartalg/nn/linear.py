"""Linear maps over channels, one for each irrep: they mix channels and never touch components."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from cartalg.nn.operations import give
from cartalg.nn.values import Call, Operation, Recorder, Slot, Target, Value, run
from cartalg.ops import KernelSet, bind
from cartalg.ops.autograd import thread_count
from cartalg.symbolic.irreps import Irreps
from cartalg_codegen.specs import LinearSpec

#: Gives the matrix of each pair of a mixing, [multiplicity * channels, channels]: the same until parameters change.
Matrices = Callable[[], Sequence[Tensor]]


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


def mix(x: Value, mixing: Mixing, matrices: Matrices, plus: Value | Tensor | None = None) -> Value:
    """Each output block as its input block times a matrix over paths and channels.

    Args:
        x: [atoms, rows, channels]; or [atoms, channels], which is one row of scalars and stays one.
        mixing: The blocks.
        matrices: Makes the matrix of each pair.
        plus: What is added, of the result's shape.
    Returns:
        [atoms, components, channels].
    """
    operation = _Mix(mixing, matrices)
    return run(operation, x) if plus is None else run(operation, x, plus)


class ChannelLinear(nn.Module):
    """Mix the channels of each irrep with a matrix of its own; unit-variance weights, scaled by 1/sqrt(fan-in).

    Args:
        kernels: A kernel set.
        irreps: Irreps of the packed input; each appears once.
        channels_in, channels_out: Channels.
        outputs: Irreps to return, in this order; those missing from the input are zero.
    """

    def __init__(
        self, kernels: KernelSet, irreps: Irreps, channels_in: int, channels_out: int, outputs: Irreps
    ) -> None:
        super().__init__()
        self.mixing = Mixing(kernels, irreps, outputs, channels_out)
        self.weight = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(channels_in, channels_out)) for name in self.mixing.names}
        )
        self.scale = 1 / math.sqrt(channels_in)

    def matrices(self) -> list[Tensor]:
        """Scaled weights."""
        return [self.scale * self.weight[name] for name in self.mixing.names]

    def forward(self, x: Value, plus: Value | None = None) -> Value:
        """x [atoms, components, channels_in] -> [atoms, output components, channels_out], `plus` added."""
        return mix(x, self.mixing, self.matrices, plus)


class PathLinear(nn.Module):
    """Mix paths and channels of a convolution's separate outputs.

    Args:
        kernels: A kernel set.
        paths: Irreps that the convolution reaches, each with its number of paths, in its order.
        channels_in, channels_out: Channels.
        outputs: Irreps to return; those the convolution does not reach are zero.
        scale: Factor of the result.
    """

    def __init__(
        self, kernels: KernelSet, paths: Irreps, channels_in: int, channels_out: int, outputs: Irreps, scale: float
    ) -> None:
        super().__init__()
        self.mixing = Mixing(kernels, paths, outputs, channels_out)
        fans = [(str(irrep), mul * channels_in) for mul, irrep in paths]
        self.weight = nn.ParameterDict({name: nn.Parameter(torch.randn(fan, channels_out)) for name, fan in fans})
        self.scales = {name: scale / math.sqrt(fan) for name, fan in fans}

    def matrices(self) -> list[Tensor]:
        """Scaled weights of the irreps that are returned."""
        return [self.scales[name] * self.weight[name] for name in self.mixing.names]

    def forward(self, x: Value) -> Value:
        """x [atoms, rows, channels_in] -> [atoms, components, channels_out]."""
        return mix(x, self.mixing, self.matrices)


def _prepare(mixing: Mixing, matrices: Sequence[Tensor]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Weights and layout as the `linear` kernel takes them, for a mixing and for its gradient.

    Layouts are lines of (size, x_at, x_step, depth, w_at, out_at, out_rows, add), as in the kernel's description, with
    no number yet for out_rows.
    """
    forward, back, weights, turned, reached = [], [], [], [], set[int]()
    at = back_at = 0
    for (source, goal), matrix in zip(mixing.pairs, matrices, strict=True):
        paths, irrep = mixing.inputs[source]
        x_row, out_row = mixing.inputs.slices[source].start, mixing.outputs.slices[goal].start
        depth, width = matrix.shape
        channels = depth // paths
        forward.append([irrep.dim, x_row * channels, depth, depth, at, out_row, 0, 0])
        weights.append(matrix)
        at += depth
        # the gradient to each of several paths is a mixing of its own, for their rows lie apart
        size = irrep.dim if paths == 1 else 1
        for path in range(paths):
            for row in range(0, irrep.dim, size):
                line = [size, (out_row + row) * width, width, width, back_at, x_row + row * paths + path]
                back.append([*line, 0, int(source in reached)])
            turned.append(matrix[path * channels : (path + 1) * channels].T)
            back_at += width
        reached.add(source)
    layouts = [torch.tensor(lines, dtype=torch.int64).reshape(-1, 8) for lines in (forward, back)]
    return (torch.cat(weights).contiguous(), layouts[0]), (torch.cat(turned).contiguous(), layouts[1])


class _Mix(Operation):
    def __init__(self, mixing: Mixing, matrices: Matrices) -> None:
        self.mixing, self.matrices = mixing, matrices

    def eager(self, *inputs: Tensor) -> Tensor:
        x, mixing, matrices = inputs[0], self.mixing, self.matrices()
        if x.ndim == 2:
            return torch.addmm(inputs[1], x, matrices[0]) if len(inputs) > 1 else x @ matrices[0]
        # split, not slices: the gradient of a slice is a full tensor of zeros
        parts = x.split(mixing.sizes, 1)
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
        return out + inputs[1] if len(inputs) > 1 else out

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        rows = [self.mixing.outputs.dim] if len(inputs[0].shape) > 2 else []
        return (inputs[0].shape[0], *rows, self.mixing.channels), inputs[0].dtype

    def hosts(self, *inputs: Tensor | Slot) -> dict[int, int]:
        return {1: 0} if len(inputs) > 1 else {}

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        if len(inputs) > 1 and inputs[1].data_ptr() != out.data_ptr():
            yield partial(out.copy_, inputs[1])
        elif len(inputs) == 1:
            for place in self.mixing.lacking:
                yield out[:, place].zero_
        yield self._bind(plan, False, inputs[0], Target(out, len(inputs) > 1))

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        if len(inputs) > 1:
            yield from give(g, targets[1])
        target = targets[0]
        if target is None:
            return
        if not target.add:
            for place in self.mixing.idle:
                yield target.tensor[:, place].zero_
        yield self._bind(plan, True, g, target)

    def _bind(self, plan: Recorder, back: bool, x: Tensor, target: Target) -> Call:
        """A call of the `linear` kernel; `x` and the target may be rows of larger tensors."""
        mixing = self.mixing
        (x, x_start), (out, out_start) = _whole(x), _whole(target.tensor)
        channels = target.tensor.shape[-1]
        rows, first = out.shape[1] // channels, out_start // channels

        def placed() -> tuple[Tensor, Tensor]:
            weight, layout = plan.once(mixing, lambda: _prepare(mixing, self.matrices()))[back]
            added = layout.new_tensor([0, x_start, 0, 0, 0, first, rows, 0])
            layout = layout + added
            layout[:, -1] |= int(target.add)
            return weight, layout

        weight, layout = plan.once((mixing, back, x_start, first, rows, target.add), placed)
        tensors = {"x": x, "weight": weight, "out": out.view(len(out), rows, channels)}
        return bind(mixing.kernels, LinearSpec(), "forward", {"layout": layout}, tensors, thread_count(len(x)))


def _whole(rows: Tensor) -> tuple[Tensor, int]:
    """The tensor [atoms, numbers] that a value [atoms, rows, channels] lies in, and where in an atom it starts."""
    if rows.is_contiguous():
        return rows.flatten(1), 0
    size = rows.stride(0)
    start = int(rows.storage_offset() % size)
    return rows.as_strided((len(rows), size), (size, 1), rows.storage_offset() - start), start
