"""The edge convolution as vectorised Torch code: one tensor of edges, the same programs, any order of autograd."""

from cartalg_codegen.convolution_numba import message_programs
from cartalg_codegen.derive import gradient
from cartalg_codegen.forms import Convolution, size, spline_basis
from cartalg_codegen.torch_printer import function


def messages_file_body(ranks: tuple[int, ...]) -> str:
    """Message functions for every shape (2*l3+1) x (2*l1+1), forward and derived."""
    parts = ["import torch\n"]
    for out in ranks:
        for left in ranks:
            rows, columns = 2 * out + 1, 2 * left + 1
            parts += [function(p, f"{p.name}_{rows}x{columns}") for p in message_programs(rows, columns)]
    return "\n\n".join(parts)


def body(convolution: Convolution) -> str:
    """The emitted module below its header."""
    paths = convolution.paths
    shapes = sorted({(2 * p.out[0] + 1, 2 * p.left[0] + 1) for p in paths})
    names = [
        f"{kind}_{r}x{c}" for kind in ("forward", "backward", "forward_tangent", "backward_tangent") for r, c in shapes
    ]
    imports = "import torch\n\nfrom .messages import (\n" + "".join(f"    {n},\n" for n in sorted(names)) + ")\n"
    matrices = convolution.matrices()
    transpose = gradient(matrices, ("y",), "matrices_gradient", "Gradient of the matrices.", "d_m", False)
    edge = [function(spline_basis(d), spline_basis(d).name) for d in range(3)]
    edge += [function(matrices, "matrices"), function(transpose, "matrices_gradient")]

    def calls(template: str) -> str:
        lines = []
        for p in paths:
            rows, columns = 2 * p.out[0] + 1, 2 * p.left[0] + 1
            stop = p.out_offset + (rows - 1) * p.out_stride + 1
            lines.append(f"    # ({p.left[0]}, {p.edge[0]}) -> {p.out[0]}")
            lines += [
                "    "
                + line.format(
                    shape=f"{rows}x{columns}",
                    m=f"{p.matrix_offset}:{p.matrix_offset + rows * columns}",
                    w=f"{p.index}:{p.index + 1}",
                    x=f"{p.left_offset}:{p.left_offset + columns}",
                    o=f"{p.out_offset}:{stop}:{p.out_stride}",
                )
                for line in template.strip().splitlines()
            ]
        return "\n".join(lines)

    rows = sum(2 * p.out[0] + 1 for p in paths)
    drivers = RADIAL
    for template, path in DRIVERS:
        drivers += template.format(calls=calls(path), left_size=size(convolution.left), out_rows=rows)
    return imports + "\n\n" + "\n\n".join(edge) + drivers


RADIAL = '''

def interval(r, step, table):
    """Knot and fraction of each distance, and 1 inside the table or 0 beyond its end."""
    u = r / step
    knot = u.detach().floor().to(torch.int64)
    inside = (knot < table.shape[0] - 3).to(r.dtype)
    knot = knot.clamp(max=table.shape[0] - 4)
    return knot, u - knot, inside


def interpolate(table, knot, b):
    """w[e, p, c] = sum_s b[e, s] table[knot + s, p, c]."""
    return sum(b[:, s, None, None] * table[knot + s] for s in range(4))


def scatter(w, knot, b, table):
    """The transpose of `interpolate`: added to a copy of `table`."""
    for s in range(4):
        table = table.index_add(0, knot + s, b[:, s, None, None] * w)
    return table
'''

_FORWARD = (
    '''

def forward(step, sender, receiver, x, y, r, table, out):
    """out[i] plus the sum over edges i <- j and paths of w(r) C y x[j]; x and out are [atom, component, channel]."""
    knot, f, inside = interval(r, step, table)
    return apply(sender, receiver, x, y, interpolate(table, knot, inside[:, None] * spline(f[:, None])), out)


def apply(sender, receiver, x, y, w, out):
    """`forward` with the radial weights of each edge given, w [edges, paths, channels]."""
    m = matrices(y)
    x = x.index_select(0, sender)
    edge = [None] * {out_rows}
{calls}
    return out.index_add(0, receiver, torch.stack(edge, 1))
''',
    """
edge[{o}] = forward_{shape}(m[:, {m}], w[:, {w}], x[:, {x}]).unbind(1)
""",
)

_BACKWARD = (
    '''

def backward(step, sender, receiver, x, y, r, table, g):
    """Gradient of sum g out to x, y, r and the table."""
    knot, f, inside = interval(r, step, table)
    b = inside[:, None] * spline(f[:, None])
    b1 = inside[:, None] * spline_1(f[:, None]) / step
    w = interpolate(table, knot, b)
    m = matrices(y)
    d_x = torch.zeros_like(x)
    x = x.index_select(0, sender)
    g = g.index_select(0, receiver)
    d_m = [None] * m.shape[1]
    d_w = [None] * w.shape[1]
    edge = torch.zeros_like(x)
{calls}
    d_w = torch.stack(d_w, 1)
    d_y = inside[:, None] * matrices_gradient(torch.stack(d_m, 1))
    d_r = (d_w * interpolate(table, knot, b1)).sum((1, 2))
    return d_x.index_add(0, sender, edge), d_y, d_r, scatter(d_w, knot, b, torch.zeros_like(table))
''',
    """
d_m1, d_w1, d_x1 = backward_{shape}(m[:, {m}], w[:, {w}], x[:, {x}], g[:, {o}])
d_m[{m}] = d_m1.unbind(1)
d_w[{w}] = d_w1.unbind(1)
edge[:, {x}] = edge[:, {x}] + d_x1
""",
)

_FORWARD_TANGENT = (
    '''

def forward_tangent(step, sender, receiver, x, y, r, table, t_x, t_y, t_r, t_table, t_out):
    """t_out plus the derivative of `forward` along (t_x, t_y, t_r, t_table)."""
    knot, f, inside = interval(r, step, table)
    b = inside[:, None] * spline(f[:, None])
    b1 = inside[:, None] * spline_1(f[:, None]) / step
    w = interpolate(table, knot, b)
    t_w = interpolate(table, knot, t_r[:, None] * b1) + interpolate(t_table, knot, b)
    m = matrices(y)
    t_m = matrices(t_y)
    x = x.index_select(0, sender)
    t_x = t_x.index_select(0, sender)
    edge = [None] * {out_rows}
{calls}
    return t_out.index_add(0, receiver, torch.stack(edge, 1))
''',
    """
edge[{o}] = forward_tangent_{shape}(m[:, {m}], w[:, {w}], x[:, {x}], t_m[:, {m}], t_w[:, {w}], t_x[:, {x}]).unbind(1)
""",
)

_BACKWARD_TANGENT = (
    '''

def backward_tangent(step, sender, receiver, x, y, r, table, g, t_x, t_y, t_r, t_table):
    """Derivative of `backward` along (t_x, t_y, t_r, t_table) at fixed g."""
    knot, f, inside = interval(r, step, table)
    b = inside[:, None] * spline(f[:, None])
    b1 = inside[:, None] * spline_1(f[:, None]) / step
    b2 = inside[:, None] * spline_2(f[:, None]) / step**2
    rate = t_r[:, None]
    w = interpolate(table, knot, b)
    t_w = interpolate(table, knot, rate * b1) + interpolate(t_table, knot, b)
    t_w1 = interpolate(table, knot, rate * b2) + interpolate(t_table, knot, b1)
    m = matrices(y)
    t_m = matrices(t_y)
    t_d_x = torch.zeros_like(x)
    x = x.index_select(0, sender)
    t_x = t_x.index_select(0, sender)
    g = g.index_select(0, receiver)
    t_d_m = [None] * m.shape[1]
    d_w = [None] * w.shape[1]
    t_d_w = [None] * w.shape[1]
    edge = torch.zeros_like(x)
{calls}
    d_w = torch.stack(d_w, 1)
    t_d_w = torch.stack(t_d_w, 1)
    t_d_y = inside[:, None] * matrices_gradient(torch.stack(t_d_m, 1))
    t_d_r = (t_d_w * interpolate(table, knot, b1) + d_w * t_w1).sum((1, 2))
    t_d_table = scatter(d_w, knot, rate * b1, scatter(t_d_w, knot, b, torch.zeros_like(table)))
    return t_d_x.index_add(0, sender, edge), t_d_y, t_d_r, t_d_table
''',
    """
t_d_m1, t_d_w1, t_d_x1, d_w1 = backward_tangent_{shape}(
    m[:, {m}], w[:, {w}], x[:, {x}], g[:, {o}], t_m[:, {m}], t_w[:, {w}], t_x[:, {x}]
)
t_d_m[{m}] = t_d_m1.unbind(1)
t_d_w[{w}] = t_d_w1.unbind(1)
d_w[{w}] = d_w1.unbind(1)
edge[:, {x}] = edge[:, {x}] + t_d_x1
""",
)

DRIVERS = (_FORWARD, _BACKWARD, _FORWARD_TANGENT, _BACKWARD_TANGENT)
