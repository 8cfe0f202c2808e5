"""Kernels as vectorised Torch functions: any device, any order of autograd; the reference for the other backends.

Only `forward` is emitted: derivatives are autograd's.
"""

from cartalg_codegen.program import Program, Ref, Slot, Where
from cartalg_codegen.specs import (
    AlignedConvolutionSpec,
    AlignedMessageSpec,
    ConvolutionSpec,
    EdgeSpec,
    FrameSpec,
    KernelSpec,
    LinearSpec,
    MessageSpec,
    RowSpec,
)
from cartalg_codegen.specs.edge import SPLINES
from cartalg_codegen.text import expression, fill, literal, wrap


def modules(spec: KernelSpec) -> dict[str, str]:
    """The emitted file below its header; none where Torch has an operation of its own.

    Raises:
        TypeError: For a kind of kernel that has no Torch form yet.
    """
    match spec:
        case RowSpec():
            return {"": "import torch\n\n\n" + function(spec.programs[0])}
        case EdgeSpec():
            return {"": "import torch\n\n\n" + function(spec.programs[0])}
        case MessageSpec():
            return {"": "import torch\n\n\n" + function(spec.forward(interpolated=False))}
        case FrameSpec():
            return {"": "import torch\n\n\n" + function(spec.programs[0])}
        case AlignedMessageSpec():
            return {"": "import torch\n\n\n" + function(spec.of_weights)}
        case ConvolutionSpec():
            return {"": convolution(spec)}
        case AlignedConvolutionSpec():
            return {"": aligned(spec)}
        case LinearSpec():
            return {}  # a matrix product
    raise TypeError(f"{type(spec).__name__} has no form in Torch: give it one in backends/torch/printer.py")


def function(program: Program) -> str:
    """A function on tensors [..., component, channel] (uniform slots [..., component]) that returns its outputs.

    A slot of elements is [species, component, channel] and is looked up by the argument `species` [rows].
    """
    lanes = any(s.lane for s in (*program.inputs, *program.outputs))
    of_species = [s for s in program.inputs if s.where is Where.SPECIES]
    parameters = (["species"] if of_species else []) + [s.name for s in program.inputs]
    lines = [f"def {program.name}({', '.join(parameters)}):", f'    """{program.summary}"""']
    for slot in program.inputs:
        source = slot.name
        if slot in of_species:
            source = f"{slot.name}_rows"
            lines.append(f"    {source} = {slot.name}[species]")
        index = "[..., {i}, :]" if slot.lane else ("[..., {i}, None]" if lanes else "[..., {i}]")
        used = [i for i in range(slot.size) if Ref(slot.name, i) in program.read]
        lines += fill([f"{slot.name}{i} = {source}{index.format(i=i)}" for i in used], "    ")
    zero, title = _zero(program), ""
    for assign in program.body:
        if (new := program.titles.get(assign.target.slot, "")) != title:
            title = new
            lines += [f"    # {title}"] if title else []
        text = expression(assign.terms, lambda value: literal(value) if value else zero)
        if assign.terms and not any(t.factors for t in assign.terms):
            text = f"{text} + {zero}"
        lines += wrap(f"    {assign.target} = {text}")
    results = [f"torch.stack(({_names(s)},), {-2 if s.lane else -1})" for s in program.outputs]
    return "\n".join([*lines, f"    return {', '.join(results)}"]) + "\n"


def _names(slot: Slot) -> str:
    return ", ".join(f"{slot.name}{i}" for i in range(slot.size))


def _zero(program: Program) -> str:
    """An expression with the shape of one component, equal to zero."""
    slot = next((s for s in program.inputs if s.lane), program.inputs[0])
    used = next((f for a in program.body for t in a.terms for f in t.factors if f.slot == slot.name), None)
    if used is not None:
        return f"0 * {used}"
    return f"0 * {slot.name}[..., 0, :]" if slot.lane else f"0 * {slot.name}[..., 0]"


def convolution(spec: ConvolutionSpec) -> str:
    """All edges at once: gather from senders, messages path by path, sum at receivers."""
    edge, messages = spec.shared.name, dict.fromkeys(p.message for p in spec.paths)
    lines = ["import torch", "", f"from ..edge.{edge} import edge"]
    lines += [f"from ..message.{m.name} import forward as {m.name}" for m in messages]
    calls = []
    for path in spec.paths:
        m, stop = path.message, path.out_offset + (path.out.dim - 1) * path.out_stride + 1
        y = f"y[:, {m.l2**2}:{(m.l2 + 1) ** 2}]"
        x, w = f"x[:, {path.left_offset}:{path.left_offset + path.left.dim}]", f"w[:, {path.index}:{path.index + 1}]"
        into = f"rows[{path.out_offset}:{stop}:{path.out_stride}]"
        calls += [f"    # {path}", f"    {into} = {m.name}({x}, {y}, {w}).unbind(1)"]
    body = DRIVERS.format(calls="\n".join(calls), rows=spec.outputs.dim, splines=SPLINES)
    return "\n".join(lines) + "\n" + body


def aligned(spec: AlignedConvolutionSpec) -> str:
    """All edges at once: gather from senders, turn, weigh, turn back, sum at receivers."""
    lines = ["import torch", "", f"from ..frame.{spec.shared.name} import edge"]
    lines += [f"from ..{spec.message.kind}.{spec.message.name} import forward as message"]
    return "\n".join(lines) + "\n" + ALIGNED.format(splines=SPLINES) + LENGTHS


ALIGNED = '''

def forward(step, intervals, block, sender, receiver, x, vectors, table, out):
    """out[i] plus the sum over edges i <- j of G W(r) G x[j]; x and out are [atom, component, channel]."""
    s, turn, knot = geometry(step, vectors, intervals)
    knot = knot + block * (intervals + 3)
    w = sum(s[:, p, None, None] * table[knot + p] for p in range({splines}))
    return out.index_add(0, receiver, message(x.index_select(0, sender), turn, w))


def apply(sender, receiver, x, vectors, w, out):
    """`forward` with the radial weights of each edge given, w [edges, weights, channels]."""
    some, v, length = lengths(vectors)
    turn = frames(v, length, torch.zeros_like(length), 1)[1]
    return out.index_add(0, receiver, message(x.index_select(0, sender), turn, some[:, :, None] * w))


def frames(v, length, below, per_knot):
    """Splines and frames of edges; those that point to -z have the side -1."""
    side = torch.where(v[:, 2:] < 0, -torch.ones_like(length), torch.ones_like(length))
    return edge(v, 1 / length, below, torch.full_like(length, per_knot), side, 1 / (1 + side * v[:, 2:] / length))


def geometry(step, vectors, intervals):
    """Splines and frame of each edge, and the knot below; splines are 0 beyond the table and without a length."""
    some, v, length = lengths(vectors)
    below = (length.detach() / step).floor().clamp(max=intervals)
    inside = some * (below < intervals).to(vectors.dtype)
    s, turn = frames(v, length, below, 1 / step)
    return inside * s, turn, below[:, 0].clamp(max=max(intervals - 1, 0)).to(torch.int64)
'''


LENGTHS = '''

def lengths(vectors):
    """Which edges have a length; vectors with a length in the place of those that have none, and all lengths."""
    some = (vectors * vectors).sum(1, True) > 0
    v = torch.where(some, vectors, torch.ones_like(vectors))
    return some.to(vectors.dtype), v, torch.sqrt((v * v).sum(1, True))
'''


DRIVERS = '''

def forward(step, intervals, block, sender, receiver, x, vectors, table, out):
    """out[i] plus the sum over edges i <- j and paths of w(r) C y x[j]; x and out are [atom, component, channel]."""
    s, y, knot = geometry(step, vectors, intervals)
    knot = knot + block * (intervals + 3)
    w = sum(s[:, p, None, None] * table[knot + p] for p in range({splines}))
    return messages(sender, receiver, x, y, w, out)


def apply(sender, receiver, x, vectors, w, out):
    """`forward` with the radial weights of each edge given, w [edges, paths, channels]."""
    some, v, length = lengths(vectors)
    _, y = edge(v, 1 / length, torch.zeros_like(length), torch.ones_like(length))
    return messages(sender, receiver, x, y, some[:, :, None] * w, out)


def lengths(vectors):
    """Which edges have a length; vectors with a length in the place of those that have none, and all lengths."""
    some = (vectors * vectors).sum(1, True) > 0
    v = torch.where(some, vectors, torch.ones_like(vectors))
    return some.to(vectors.dtype), v, torch.sqrt((v * v).sum(1, True))


def geometry(step, vectors, intervals):
    """Splines and harmonics of each edge, and the knot below; splines are 0 beyond the table and without a length."""
    some, v, length = lengths(vectors)
    below = (length.detach() / step).floor().clamp(max=intervals)
    inside = some * (below < intervals).to(vectors.dtype)
    s, y = edge(v, 1 / length, below, torch.full_like(length, 1 / step))
    return inside * s, y, below[:, 0].clamp(max=max(intervals - 1, 0)).to(torch.int64)


def messages(sender, receiver, x, y, w, out):
    """Every path of every edge, summed at its receiver."""
    x = x.index_select(0, sender)
    rows = [None] * {rows}
{calls}
    return out.index_add(0, receiver, torch.stack(rows, 1))
'''
