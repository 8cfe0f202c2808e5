"""Channel mixing as Numba code: a matrix product for every irrep of a packed tensor, tiled to stay in registers."""

from cartalg_codegen.numba_printer import DECORATOR

#: Rows and lanes of the output that are summed at once: 16 accumulators of 32 vector registers.
ROWS, LANES = 8, 2
#: Columns of the layout array.
COLUMNS = ("size", "x_at", "x_step", "depth", "w_at", "out_at", "out_rows", "add")


def body() -> str:
    """The emitted module below its header.

    A tile at the edge repeats its last row or lane: it computes the same number twice and stores it twice.
    """
    tile = [(i, j) for i in range(ROWS) for j in range(LANES)]
    lines = [
        "from numba import njit",
        "",
        "",
        DECORATOR,
        "def forward(start, stop, thread, layout, x, weight, out):",
        '    """out[n, o + k] = sum_q x[n, a + k s + q] weight[w + q] for each line of layout:',
        "",
        "    components k, start a and step s in x, numbers q, start w in weight, start o in out, rows of an atom in",
        "    out, and 1 to add to what out holds.",
        '    """',
        "    real = x.dtype.type",
        "    lanes = out.shape[1]",
        "    for line in range(layout.shape[0]):",
        *(f"        {name} = layout[line, {i}]" for i, name in enumerate(COLUMNS)),
        "        last = stop * size - 1",
        f"        for first in range(start * size, stop * size, {ROWS}):",
    ]
    for i in range(ROWS):
        row = f"min(first + {i}, last)" if i else "first"
        lines += [
            f"            r{i} = {row}",
            f"            a{i} = x_at + r{i} % size * x_step",
            f"            x{i} = x[r{i} // size, a{i} : a{i} + depth]",
            f"            o{i} = r{i} // size * out_rows + out_at + r{i} % size",
        ]
    lines += [
        f"            for c0 in range(0, lanes, {LANES}):",
        *(f"                c{j} = min(c0 + {j}, lanes - 1)" for j in range(1, LANES)),
        "                if add:",
        *(f"                    s{i}_{j} = out[o{i}, c{j}]" for i, j in tile),
        "                else:",
        *(f"                    s{i}_{j} = real(0)" for i, j in tile),
        "                for q in range(depth):",
        *(f"                    w{j} = weight[w_at + q, c{j}]" for j in range(LANES)),
        *(f"                    s{i}_{j} += x{i}[q] * w{j}" for i, j in tile),
        *(f"                out[o{i}, c{j}] = s{i}_{j}" for i, j in tile),
    ]
    return "\n".join(lines) + "\n"
