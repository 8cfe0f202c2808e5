"""Channel mixing: a matrix product for every irrep of a packed tensor, and its gradient; tiles stay in registers."""

from cartalg_codegen.specs.linear import COLUMNS, LinearSpec
from cartalg_codegen.tree import (
    Apply,
    Array,
    Axis,
    Dim,
    Expr,
    Function,
    If,
    Int,
    Item,
    Let,
    Loop,
    Module,
    Node,
    Row,
    Var,
    names,
    real,
)

#: Rows and lanes of the output that are summed at once: 12 accumulators and what they take fit 16 vector registers.
ROWS, LANES = 6, 2
#: Rows that the gradient to the weight is summed over before the next tile's turn.
BLOCK = 32
#: Rows of the gradient to the weight that are summed at once, as long as so many are left: 64 channels are 10 x 6 + 4.
DEPTHS = (ROWS, 4, 1)
TILE = [(i, j) for i in range(ROWS) for j in range(LANES)]


def lower(spec: LinearSpec) -> Module:
    """Both functions."""
    return Module((_forward(spec), _backward_weight(spec)))


def _forward(spec: LinearSpec) -> Function:
    """A tile at the edge repeats its last row or lane: it computes and stores the same number twice."""
    line, lanes, last, first, c0, q = names("line lanes last first c0 q")
    size, x_at, x_step, depth, _, out_at, out_rows, add = names(" ".join(COLUMNS))
    start, stop = names("start stop")
    tile_rows: list[Node] = []
    for i in range(ROWS):
        row = Var(f"r{i}")
        at: Expr = Apply("min", (first + i, last)) if i else first
        tile_rows += [
            Let(row, at),
            Let(Var(f"a{i}"), x_at + row % size * x_step),
            Let(Var(f"x{i}"), Row("x", row // size, Var(f"a{i}"), depth)),
            Let(Var(f"o{i}"), row // size * out_rows + out_at + row % size),
        ]
    columns: list[Node] = [Let(Var(f"c{j}"), Apply("min", (c0 + j, lanes - 1))) for j in range(1, LANES)]
    inner: list[Node] = [Let(Var(f"w{j}"), Array("weight")[Var("w_at") + q, Var(f"c{j}")]) for j in range(LANES)]
    inner += [Let(_sum(i, j), Array(f"x{i}")[q] * Var(f"w{j}"), add=True) for i, j in TILE]
    over_lanes = [
        *columns,
        If(add, tuple(Let(_sum(i, j), _out(i, j)) for i, j in TILE), tuple(Let(_sum(i, j), real(0)) for i, j in TILE)),
        Loop(Axis.COMPONENTS, q, depth, tuple(inner)),
        *(Let(_out(i, j), _sum(i, j)) for i, j in TILE),
    ]
    body: list[Node] = [
        *(Let(Var(name), Array("layout")[line, n]) for n, name in enumerate(COLUMNS)),
        Let(last, stop * size - 1),
        Loop(
            Axis.ROWS,
            first,
            stop * size,
            (*tile_rows, Loop(Axis.LANES, c0, lanes, tuple(over_lanes), step=LANES)),
            start * size,
            ROWS,
        ),
    ]
    lines = Loop(Axis.COMPONENTS, line, Dim("layout", 0), tuple(body))
    parameters = ("start", "stop", "thread", *spec.stages()["forward"].signature)
    summary = "out[n, out_at + k] = sum_q x[n, x_at + k x_step + q] weight[w_at + q], for each line of the layout."
    return Function("forward", summary, parameters, (Let(lanes, Dim("out", 1)), lines), "x")


def _backward_weight(spec: LinearSpec) -> Function:
    """Tiles of the gradient, each summed over rows, as many as stay in the cache."""
    line, lanes, begin, end, q0 = names("line lanes begin end q0")
    size, x_at, x_step, depth, w_at, out_at, out_rows, _ = names(" ".join(COLUMNS))
    start, stop, thread, n, k, own, c0 = names("start stop thread n k own c0")

    def over_lanes(count: int) -> Loop:
        tile = [(i, j) for i in range(count) for j in range(LANES)]
        places = {(i, j): Array("d_weight")[thread, w_at + q0 + i, Var(f"c{j}")] for i, j in tile}
        row: list[Node] = [
            Let(Var("xs"), Row("x", n, x_at + k * x_step + q0, Int(count))),
            Let(own, n * out_rows + out_at + k),
            *(Let(Var(f"g{j}"), Array("g")[own, Var(f"c{j}")]) for j in range(LANES)),
            *(Let(_sum(i, j), Array("xs")[i] * Var(f"g{j}"), add=True) for i, j in tile),
        ]
        over_rows = Loop(Axis.ROWS, n, end, (Loop(Axis.COMPONENTS, k, size, tuple(row)),), begin)
        body = (
            *(Let(Var(f"c{j}"), Apply("min", (c0 + j, lanes - 1))) for j in range(1, LANES)),
            *(Let(_sum(i, j), places[i, j]) for i, j in tile),
            over_rows,
            *(Let(places[i, j], _sum(i, j)) for i, j in tile),
        )
        return Loop(Axis.LANES, c0, lanes, body, step=LANES)

    body: list[Node] = [
        *(Let(Var(name), Array("layout")[line, m]) for m, name in enumerate(COLUMNS[:-1])),
    ]
    tiled: Expr = Int(0)
    for count in DEPTHS:
        until = Var(f"until{count}")
        body.append(Let(until, depth - (depth - tiled) % count))
        body.append(Loop(Axis.COMPONENTS, q0, until, (over_lanes(count),), tiled, count))
        tiled = until
    lines = Loop(Axis.COMPONENTS, line, Dim("layout", 0), tuple(body))
    blocks = Loop(Axis.ROWS, begin, stop, (Let(end, Apply("min", (begin + BLOCK, stop))), lines), start, BLOCK)
    parameters = ("start", "stop", "thread", *spec.stages()["backward_weight"].signature)
    summary = "d_weight[w_at + q] += sum_n,k x[n, x_at + k x_step + q] g[n, out_at + k], for each line of the layout."
    return Function("backward_weight", summary, parameters, (Let(lanes, Dim("g", 1)), blocks), "x")


def _sum(row: int, lane: int) -> Var:
    return Var(f"s{row}_{lane}")


def _out(row: int, lane: int) -> Item:
    return Array("out")[Var(f"o{row}"), Var(f"c{lane}")]
