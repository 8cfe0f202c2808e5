"""Channel mixing: a matrix product for every irrep of a packed tensor, tiled to stay in registers."""

from cartalg_codegen.specs.linear import COLUMNS, LinearSpec
from cartalg_codegen.tree import (
    Apply,
    Array,
    Axis,
    Dim,
    Expr,
    Function,
    If,
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

#: Rows and lanes of the output that are summed at once: 16 accumulators of 32 vector registers.
ROWS, LANES = 8, 2
TILE = [(i, j) for i in range(ROWS) for j in range(LANES)]


def lower(spec: LinearSpec) -> Module:
    """The function. A tile at the edge repeats its last row or lane: it computes and stores the same number twice."""
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
    body = [
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
    return Module((Function("forward", summary, parameters, (Let(lanes, Dim("out", 1)), lines), "x"),))


def _sum(row: int, lane: int) -> Var:
    return Var(f"s{row}_{lane}")


def _out(row: int, lane: int) -> Item:
    return Array("out")[Var(f"o{row}"), Var(f"c{lane}")]
