"""The fused edge convolution as Numba code: loops over atoms, edges and channels around derived programs.

Every function goes through the edges of one atom a few at a time. First it does what all channels share: length,
splines, harmonics, coupling matrices, with edges side by side. Then it takes path after path and channel after channel,
the edges in the innermost loop: what belongs to the atom stays in registers, and no per-edge array is ever written.

Forward functions run over receivers (CSR rows) and backward functions over senders (the transposed CSR), so each row
that is written belongs to one thread. Every function sets its results; none adds to what was there before.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cartalg_codegen.derive import gradient, tangent
from cartalg_codegen.forms import INVERSE_LENGTH, Convolution, ConvolutionPath, edge, size
from cartalg_codegen.numba_printer import DECORATOR, Constants, body_lines, chunk_function
from cartalg_codegen.program import Program, count_operations

#: Edges of one atom that are treated together. Fewer load the atom's rows more often, more overflow the L1 cache.
CHUNK = 16


@dataclass(frozen=True)
class Stage:
    """One emitted function: the program of a path, and what it reads and writes.

    Attributes:
        name, summary: Of the emitted function.
        program: Path -> its program.
        backward: Runs over senders, reading the cotangent g of the output; otherwise over receivers.
        moving: Reads tangents t_x and t_vectors.
        vectors: Writes the gradient to the edge vectors.
        table: Writes the gradient to the radial table.
    """

    name: str
    summary: str
    program: Callable[[ConvolutionPath], Program]
    backward: bool = False
    moving: bool = False
    vectors: bool = False
    table: bool = False


def stages(convolution: Convolution) -> tuple[Stage, ...]:
    """All functions of a convolution, derived from its messages."""

    def forward(path: ConvolutionPath) -> Program:
        return convolution.message(path)

    def backward(path: ConvolutionPath) -> Program:
        return gradient(forward(path), ("x", "z"), "backward", "")

    def backward_table(path: ConvolutionPath) -> Program:
        return gradient(forward(path), ("x", "t"), "backward_table", "")

    def moved(program: Callable[[ConvolutionPath], Program], *primal: str) -> Callable[[ConvolutionPath], Program]:
        return lambda path: tangent(program(path), ("x", "z"), "tangent", "", primal)

    along = "along (t_x, t_vectors)"
    return (
        Stage("forward", "out[i] = sum over edges i <- j and paths of w(r) C y x[j].", forward),
        Stage("backward", "Gradient of <g, out> to x and vectors.", backward, backward=True, vectors=True),
        Stage("backward_table", "Gradient of <g, out> to x and the table.", backward_table, backward=True, table=True),
        Stage("forward_tangent", f"Derivative of `forward` {along}.", moved(forward), moving=True),
        Stage(
            "backward_tangent",
            f"Derivative of `backward` {along}, at rest in g.",
            moved(backward, "d_z"),
            backward=True,
            moving=True,
            vectors=True,
        ),
        Stage(
            "backward_tangent_table",
            f"Derivative of `backward_table` {along}, at rest in g: what force training needs.",
            moved(backward_table),
            backward=True,
            moving=True,
            table=True,
        ),
    )


def edge_programs(convolution: Convolution) -> dict[str, Program]:
    """What channels share, by the name of its function."""
    forward, matrices = edge(convolution.edge_rank), convolution.matrices()
    backward = gradient(forward, ("v",), "edge_gradient", "Gradient to v.", "d_z", INVERSE_LENGTH)
    return {
        "edge": forward,
        "edge_tangent": tangent(forward, ("v",), "edge_tangent", "z and its tangent.", ("z",), INVERSE_LENGTH),
        "edge_gradient": backward,
        "edge_gradient_tangent": tangent(
            backward, ("v", "d_z"), "edge_gradient_tangent", "Tangent of the gradient to v.", (), INVERSE_LENGTH
        ),
        "matrices": matrices,
        "matrices_tangent": tangent(matrices, ("z",), "matrices_tangent", "Tangent of the matrices.", ("m",)),
    }


def operations(convolution: Convolution) -> dict[str, int]:
    """Operations of one edge, those of the messages for each channel."""
    shared = edge_programs(convolution)
    counts = {f"{name}, per edge": program.operations for name, program in shared.items()}
    for stage in stages(convolution):
        key = f"{stage.name}, per edge and channel"
        counts[key] = sum(lane_operations(stage.program(p)) for p in convolution.paths)
    return counts


def lane_operations(program: Program) -> int:
    """Operations of a program but for its coupling matrices, which all channels share."""
    return program.operations - sum(count_operations(a.terms) for a in program.body if a.target.slot in ("m", "t_m"))


def body(convolution: Convolution) -> str:
    """The emitted module below its header."""
    shared = [chunk_function(p, name, ("s",)) for name, p in edge_programs(convolution).items()]
    functions = [_function(convolution, stage) for stage in stages(convolution)]
    return "import numpy as np\nfrom numba import njit\n\n\n" + "\n\n".join([*shared, *functions])


def _parameters(stage: Stage) -> list[str]:
    if stage.backward:
        order = ["col_ptr", "col_edge", "receiver"]
        results = ["d_x", *(["d_vectors", "partial"] if stage.vectors else []), *(["d_table"] if stage.table else [])]
        results = [f"t_{r}" if stage.moving and r != "partial" else r for r in results]
    else:
        order, results = ["row_ptr", "sender"], ["t_out" if stage.moving else "out"]
    moves = ["t_x", "t_vectors"] if stage.moving else []
    cotangent = ["g"] if stage.backward else []
    return ["start", "stop", "thread", "step", *order, "x", "vectors", "table", *cotangent, *moves, *results]


def _function(convolution: Convolution, stage: Stage) -> str:
    """The text of one function."""
    constant = Constants()
    paths = [line for p in convolution.paths for line in _path(convolution, stage, p, constant)]
    lines = [
        DECORATOR,
        f"def {stage.name}(",
        f"    {', '.join(_parameters(stage))},",
        "):",
        f'    """{stage.summary}"""',
    ]
    lines += [f"    {line}" for line in _setup(convolution, stage)]
    lines += [f"    {line}" for line in constant.lines()]
    lines += _gather(convolution, stage)
    lines += [" " * 12 + line for line in _shared(convolution, stage)]
    lines += [" " * 12 + line for line in paths]
    lines += [" " * 12 + line for line in _finish(convolution, stage)]
    return "\n".join(lines) + "\n"


def _setup(convolution: Convolution, stage: Stage) -> list[str]:
    """Numbers and scratch arrays of a call."""
    zs, ms = convolution.edge_size, len(convolution.matrices().body)
    arrays = {"v": 3, "q": 1, "k": 1, "z": zs, "m": ms}
    if stage.moving:
        arrays |= {"t_v": 3, "t_z": zs, "t_m": ms}
    if stage.vectors:
        arrays |= {"d_z": zs, "d_v": 3}
        if stage.moving:
            arrays |= {"t_d_z": zs, "t_d_v": 3}
    return [
        "real = vectors.dtype.type",
        "per_knot = real(1 / step)",
        "intervals = table.shape[0] - 3",
        "channels = x.shape[1]",
        *(f"{a} = np.empty({CHUNK}, np.int64)" for a in ("place", "knot", "other")),
        *(f"{name} = np.empty(({rows}, {CHUNK}), vectors.dtype)" for name, rows in arrays.items()),
    ]


def _gather(convolution: Convolution, stage: Stage) -> list[str]:
    """Loops over atoms and chunks, and the edges of a chunk that are within the cutoff."""
    left, rows = size(convolution.left), convolution.rows
    t = "t_" if stage.moving else ""
    if stage.backward:
        atom, own, other, pointer = "j", f"xj = j * {left}", f"receiver[e] * {rows}", "col_ptr"
        reset, results = left, [f"{t}d_x[xj + row, c]"]
    else:
        atom, own, other, pointer = "i", f"oi = i * {rows}", f"sender[e] * {left}", "row_ptr"
        reset, results = rows, [f"{t}out[oi + row, c]"]
    lines = [
        f"    for {atom} in range(start, stop):",
        f"        {own}",
        f"        for row in range({reset}):",
        "            for c in range(channels):",
        *(f"                {r} = real(0)" for r in results),
        f"        at = {pointer}[{atom}]",
        f"        last = {pointer}[{atom} + 1]",
        "        while at < last:",
        "            count = 0",
        f"            while at < last and count < {CHUNK}:",
        f"                e = {'col_edge[at]' if stage.backward else 'at'}",
        "                at += 1",
        "                v0 = vectors[e, 0]",
        "                v1 = vectors[e, 1]",
        "                v2 = vectors[e, 2]",
        "                rr = v0 * v0 + v1 * v1 + v2 * v2",
        "                q0 = real(1) / np.sqrt(rr)",
        "                u = rr * q0 * per_knot",
        "                if u < intervals:  # within the cutoff",
        "                    place[count] = e",
        "                    knot[count] = int(u)",
        f"                    other[count] = {other}",
        "                    k[0, count] = real(int(u))",
        "                    q[0, count] = q0",
        *(f"                    v[{i}, count] = v{i}" for i in range(3)),
    ]
    if stage.moving:
        lines += [f"                    t_v[{i}, count] = t_vectors[e, {i}]" for i in range(3)]
    lines.append("                    count += 1")
    if stage.vectors:
        lines.append("                else:")
        lines += [f"                    {t}d_vectors[e, {i}] = real(0)" for i in range(3)]
    return lines


def _shared(convolution: Convolution, stage: Stage) -> list[str]:
    """What all channels share, for the edges of a chunk."""
    if stage.moving:
        lines = ["edge_tangent(count, v, q, k, per_knot, t_v, t_z, z)", "matrices_tangent(count, z, t_z, t_m, m)"]
    else:
        lines = ["edge(count, v, q, k, per_knot, z)", "matrices(count, z, m)"]
    if stage.vectors:
        lines += [
            f"first = thread * {CHUNK}",
            "for n in range(count):",
            f"    for i in range({(2 if stage.moving else 1) * convolution.edge_size}):",
            "        partial[first + n, i] = real(0)",
        ]
    return lines


def _path(convolution: Convolution, stage: Stage, path: ConvolutionPath, constant: Constants) -> list[str]:
    """One path: the atom's values once for each channel, then the edges."""
    program = stage.program(path)
    read = {f for a in program.body for t in a.terms for f in t.factors}
    x_row = {i: path.left_offset + i for i in range(2 * path.left[0] + 1)}
    out_row = {i: path.out_offset + i * path.out_stride for i in range(2 * path.out[0] + 1)}
    own_base, other_base = ("xj", "oi") if stage.backward else ("oi", "xj")
    before: list[str] = []
    each: list[str] = []
    after: list[str] = []
    for slot in program.inputs:
        for i in range(slot.size):
            name = f"{slot.name}{i}"
            if (slot.name, i) not in read:
                continue
            if slot.base == "x":
                (before if stage.backward else each).append(f"{name} = {slot.name}[xj + {x_row[i]}, c]")
            elif slot.base == "g":
                each.append(f"{name} = g[oi + {out_row[i]}, c]")
            elif slot.base == "t":
                each.append(f"{name} = table[k0 + {i}, {path.index}, c]")
    places = {"z": "z[{i}, n]", "m": "m[{i}, n]", "t_z": "t_z[{i}, n]", "t_m": "t_m[{i}, n]"}
    for slot in program.outputs:
        if slot.base == "z":
            # splines' rows first, then harmonics: as in z. Tangents come with their plain values, in rows after those.
            offset = convolution.edge_size if slot.name == "d_z" and stage.moving else 0
            places[slot.name] = "partial[first + n, {i}" + (f" + {offset}]" if offset else "]")
        elif slot.base == "t":
            places[slot.name] = f"{'t_' if stage.moving else ''}d_table[thread, k0 + {{i}}, {path.index}, c]"
        else:
            rows = x_row if slot.base == "x" else out_row
            for i in range(slot.size):
                place = f"{slot.name}[{own_base} + {rows[i]}, c]"
                before.append(f"{slot.name}{i} = {place}")
                after.append(f"{place} = {slot.name}{i}")
    statements = body_lines(program, places, {"m", "t_m"}, constant)
    return [
        f"# {path.label}",
        "for c in range(channels):",
        *("    " + line for line in before),
        "    for n in range(count):",
        "        k0 = knot[n]",
        f"        {other_base} = other[n]",
        *("        " + line for line in each),
        *("        " + line for line in statements),
        *("    " + line for line in after),
    ]


def _finish(convolution: Convolution, stage: Stage) -> list[str]:
    """From sums over channels to the gradient of each edge vector."""
    if not stage.vectors:
        return []
    zs = convolution.edge_size
    t = "t_" if stage.moving else ""
    lines = [
        "for n in range(count):",
        f"    for i in range({zs}):",
        f"        {t}d_z[i, n] = real(partial[first + n, i])",
    ]
    if stage.moving:
        lines.append(f"        d_z[i, n] = real(partial[first + n, i + {zs}])")
        lines.append("edge_gradient_tangent(count, v, q, k, per_knot, d_z, t_v, t_d_z, t_d_v)")
    else:
        lines.append("edge_gradient(count, v, q, k, per_knot, d_z, d_v)")
    lines += ["for n in range(count):", *(f"    {t}d_vectors[place[n], {i}] = {t}d_v[{i}, n]" for i in range(3))]
    return lines
