"""The fused edge convolution as Numba code: loops over atoms and edges around derived programs.

Forward runs over receivers (CSR rows), so each output row is written by one thread. Backward runs over senders (the
transposed CSR), so each input gradient is too. Radial weights are interpolated per edge and never stored.
"""

from cartalg_codegen.derive import gradient, tangent
from cartalg_codegen.forms import Convolution, message, size, spline_basis
from cartalg_codegen.numba_printer import DECORATOR, edge_function, message_function

RADIAL = f'''
{DECORATOR}
def interpolate(table, knot, b, scale, w):
    """w[p, c] = scale * sum_s b[s] table[knot + s, p, c]."""
    b0 = scale * b[0]
    b1 = scale * b[1]
    b2 = scale * b[2]
    b3 = scale * b[3]
    for p in range(w.shape[0]):
        for c in range(w.shape[1]):
            w[p, c] = (
                b0 * table[knot, p, c]
                + b1 * table[knot + 1, p, c]
                + b2 * table[knot + 2, p, c]
                + b3 * table[knot + 3, p, c]
            )


{DECORATOR}
def scatter(w, knot, b, scale, table, thread):
    """table[thread, knot + s, p, c] += scale * b[s] * w[p, c]: the transpose of `interpolate`."""
    for s in range(4):
        bs = scale * b[s]
        for p in range(w.shape[0]):
            for c in range(w.shape[1]):
                table[thread, knot + s, p, c] += bs * w[p, c]


{DECORATOR}
def accumulate(scale, w, total):
    """total += scale * w."""
    for p in range(w.shape[0]):
        for c in range(w.shape[1]):
            total[p, c] += scale * w[p, c]


{DECORATOR}
def dot(v, w):
    """Sum of v[p, c] w[p, c]."""
    total = v.dtype.type(0)
    for p in range(w.shape[0]):
        for c in range(w.shape[1]):
            total += v[p, c] * w[p, c]
    return total
'''

SETUP = """    real = x.dtype.type
    per_knot = real(1 / step)
    intervals = table.shape[0] - 3
    paths = table.shape[1]
    channels = table.shape[2]
"""


def messages_file_body(ranks: tuple[int, ...]) -> str:
    """Message functions for every shape (2*l3+1) x (2*l1+1), forward and derived."""
    parts = ["from numba import njit\n"]
    for out in ranks:
        for left in ranks:
            rows, columns = 2 * out + 1, 2 * left + 1
            parts += [message_function(p, f"{p.name}_{rows}x{columns}") for p in message_programs(rows, columns)]
    return "\n\n".join(parts)


def message_programs(rows: int, columns: int):  # type: ignore[no-untyped-def]
    """forward, backward and their tangents, derived from the message form."""
    forward = message(rows, columns)
    backward = gradient(forward, ("m", "w", "x"), "backward", "Gradient of the message form.")
    moving = ("m", "w", "x")
    return (
        forward,
        backward,
        tangent(forward, moving, "forward_tangent", "Tangent of the message."),
        tangent(backward, moving, "backward_tangent", "Tangent of the gradient, with the gradient to w.", ("d_w",)),
    )


def edge_programs(convolution: Convolution) -> str:
    """Splines and coupling matrices of one edge."""
    matrices = convolution.matrices()
    transpose = gradient(matrices, ("y",), "matrices_gradient", "Gradient of the matrices.", "d_m", False)
    parts = [edge_function(spline_basis(d), spline_basis(d).name, "f") for d in range(3)]
    parts += [edge_function(matrices, "matrices"), edge_function(transpose, "matrices_gradient")]
    return "\n\n".join(parts)


def body(convolution: Convolution) -> str:
    """The emitted module below its header."""
    paths = convolution.paths
    shapes = sorted({(2 * p.out[0] + 1, 2 * p.left[0] + 1) for p in paths})
    names = [
        f"{kind}_{r}x{c}" for kind in ("forward", "backward", "forward_tangent", "backward_tangent") for r, c in shapes
    ]
    imports = "import numpy as np\nfrom numba import njit\n\nfrom .messages import (\n"
    imports += "".join(f"    {n},\n" for n in sorted(names)) + ")\n"
    values = {
        "left_size": size(convolution.left),
        "out_rows": sum(2 * p.out[0] + 1 for p in paths),
        "matrix_size": sum((2 * p.out[0] + 1) * (2 * p.left[0] + 1) for p in paths),
        "decorator": DECORATOR,
        "setup": SETUP,
    }

    def calls(template: str, indent: int) -> str:
        return "\n".join(
            " " * indent
            + template.format(
                shape=f"{2 * p.out[0] + 1}x{2 * p.left[0] + 1}",
                m0=p.matrix_offset,
                p=p.index,
                a0=p.left_offset,
                o0=p.out_offset,
                stride=p.out_stride,
            )
            + f"  # ({p.left[0]}, {p.edge[0]}) -> {p.out[0]}"
            for p in paths
        )

    drivers = FORWARD.format(
        calls=calls("forward_{shape}(m, {m0}, w, {p}, x, xj + {a0}, out, oi + {o0}, {stride})", 12), **values
    )
    drivers += BACKWARD.format(
        calls=calls("backward_{shape}(m, d_m, {m0}, w, d_w, {p}, x, d_x, xj + {a0}, g, oi + {o0}, {stride})", 12),
        **values,
    )
    drivers += FORWARD_TANGENT.format(
        calls=calls(
            "forward_tangent_{shape}(m, t_m, {m0}, w, t_w, {p}, x, t_x, xj + {a0}, t_out, oi + {o0}, {stride})", 12
        ),
        **values,
    )
    drivers += BACKWARD_TANGENT.format(
        calls=calls(
            "backward_tangent_{shape}(m, t_m, t_d_m, {m0}, w, t_w, t_d_w, d_w, {p}, x, t_x, t_d_x, xj + {a0}, "
            "g, oi + {o0}, {stride})",
            12,
        ),
        **values,
    )
    return imports + "\n\n" + edge_programs(convolution) + "\n" + RADIAL + drivers


FORWARD = '''

{decorator}
def forward(
    start, stop, thread, step, row_ptr, sender, x, y, r, table, out,
):
    """out[i] += sum over edges i <- j and paths of w(r) C y x[j]; rows of x and out are [atom * component, channel]."""
{setup}    b = np.empty(4, x.dtype)
    m = np.empty({matrix_size}, x.dtype)
    w = np.empty((paths, channels), x.dtype)
    for i in range(start, stop):
        oi = i * {out_rows}
        for e in range(row_ptr[i], row_ptr[i + 1]):
            u = r[e] * per_knot
            if not u < intervals:  # beyond the cutoff, or not a number
                continue
            knot = int(u)
            xj = sender[e] * {left_size}
            spline(u - real(knot), b)
            interpolate(table, knot, b, real(1), w)
            matrices(y, e, m)
{calls}
'''

BACKWARD = '''

{decorator}
def backward(
    start, stop, thread, step, col_ptr, col_edge, receiver, x, y, r, table, g, d_x, d_y, d_r, d_table,
):
    """Gradient of sum g out to x, y, r and the table; the last is skipped if `d_table` has no rows."""
{setup}    b = np.empty(4, x.dtype)
    m = np.empty({matrix_size}, x.dtype)
    d_m = np.empty({matrix_size}, x.dtype)
    w = np.empty((paths, channels), x.dtype)
    w1 = np.empty((paths, channels), x.dtype)
    d_w = np.empty((paths, channels), x.dtype)
    for j in range(start, stop):
        xj = j * {left_size}
        for place in range(col_ptr[j], col_ptr[j + 1]):
            e = col_edge[place]
            u = r[e] * per_knot
            if not u < intervals:  # beyond the cutoff, or not a number
                continue
            knot = int(u)
            oi = receiver[e] * {out_rows}
            f = u - real(knot)
            spline_1(f, b)
            interpolate(table, knot, b, per_knot, w1)
            spline(f, b)
            interpolate(table, knot, b, real(1), w)
            matrices(y, e, m)
{calls}
            matrices_gradient(d_m, d_y, e)
            d_r[e] = dot(d_w, w1)
            if d_table.shape[1] > 0:
                scatter(d_w, knot, b, real(1), d_table, thread)
'''

FORWARD_TANGENT = '''

{decorator}
def forward_tangent(
    start, stop, thread, step, row_ptr, sender, x, y, r, table, t_x, t_y, t_r, t_table, t_out,
):
    """Derivative of `forward` along (t_x, t_y, t_r, t_table); the table stands still if `t_table` has no rows."""
{setup}    b = np.empty(4, x.dtype)
    m = np.empty({matrix_size}, x.dtype)
    t_m = np.empty({matrix_size}, x.dtype)
    w = np.empty((paths, channels), x.dtype)
    t_w = np.empty((paths, channels), x.dtype)
    t_w_table = np.empty((paths, channels), x.dtype)
    for i in range(start, stop):
        oi = i * {out_rows}
        for e in range(row_ptr[i], row_ptr[i + 1]):
            u = r[e] * per_knot
            if not u < intervals:  # beyond the cutoff, or not a number
                continue
            knot = int(u)
            xj = sender[e] * {left_size}
            f = u - real(knot)
            spline_1(f, b)
            interpolate(table, knot, b, per_knot * t_r[e], t_w)
            spline(f, b)
            interpolate(table, knot, b, real(1), w)
            if t_table.shape[0] > 0:
                interpolate(t_table, knot, b, real(1), t_w_table)
                accumulate(real(1), t_w_table, t_w)
            matrices(y, e, m)
            matrices(t_y, e, t_m)
{calls}
'''

BACKWARD_TANGENT = '''

{decorator}
def backward_tangent(
    start, stop, thread, step, col_ptr, col_edge, receiver, x, y, r, table, g, t_x, t_y, t_r, t_table,
    t_d_x, t_d_y, t_d_r, t_d_table,
):
    """Derivative of `backward` along (t_x, t_y, t_r, t_table) at fixed g: the double backward of force training."""
{setup}    b = np.empty(4, x.dtype)
    b1 = np.empty(4, x.dtype)
    m = np.empty({matrix_size}, x.dtype)
    t_m = np.empty({matrix_size}, x.dtype)
    t_d_m = np.empty({matrix_size}, x.dtype)
    w = np.empty((paths, channels), x.dtype)
    w1 = np.empty((paths, channels), x.dtype)
    t_w = np.empty((paths, channels), x.dtype)
    t_w1 = np.empty((paths, channels), x.dtype)
    t_w_table = np.empty((paths, channels), x.dtype)
    d_w = np.empty((paths, channels), x.dtype)
    t_d_w = np.empty((paths, channels), x.dtype)
    for j in range(start, stop):
        xj = j * {left_size}
        for place in range(col_ptr[j], col_ptr[j + 1]):
            e = col_edge[place]
            u = r[e] * per_knot
            if not u < intervals:  # beyond the cutoff, or not a number
                continue
            knot = int(u)
            oi = receiver[e] * {out_rows}
            f = u - real(knot)
            rate = t_r[e]
            spline_2(f, b)
            interpolate(table, knot, b, per_knot * per_knot * rate, t_w1)
            spline_1(f, b1)
            interpolate(table, knot, b1, per_knot, w1)
            interpolate(table, knot, b1, per_knot * rate, t_w)
            spline(f, b)
            interpolate(table, knot, b, real(1), w)
            if t_table.shape[0] > 0:
                interpolate(t_table, knot, b, real(1), t_w_table)
                accumulate(real(1), t_w_table, t_w)
                interpolate(t_table, knot, b1, per_knot, t_w_table)
                accumulate(real(1), t_w_table, t_w1)
            matrices(y, e, m)
            matrices(t_y, e, t_m)
{calls}
            matrices_gradient(t_d_m, t_d_y, e)
            t_d_r[e] = dot(t_d_w, w1) + dot(d_w, t_w1)
            if t_d_table.shape[1] > 0:
                scatter(t_d_w, knot, b, real(1), t_d_table, thread)
                scatter(d_w, knot, b1, per_knot * rate, t_d_table, thread)
'''
