"""The edge convolution as vectorised Torch code: one tensor of edges, the same programs, any order of autograd."""

from cartalg_codegen.forms import SPLINES, Convolution, ConvolutionPath, edge
from cartalg_codegen.torch_printer import function


def body(convolution: Convolution) -> str:
    """The emitted module below its header."""
    parts = [function(edge(convolution.edge_rank), "edge")]
    for path in convolution.paths:
        parts.append(function(convolution.message(path, "given"), f"message_{path.index}"))
    calls = "\n".join(_call(path) for path in convolution.paths)
    drivers = DRIVERS.format(calls=calls, rows=convolution.rows, size=convolution.edge_size, splines=SPLINES)
    return "import torch\n\n\n" + "\n\n".join(parts) + drivers


def _call(path: ConvolutionPath) -> str:
    rows, columns = 2 * path.out[0] + 1, 2 * path.left[0] + 1
    stop = path.out_offset + (rows - 1) * path.out_stride + 1
    w, x = f"w[:, {path.index}:{path.index + 1}]", f"x[:, {path.left_offset}:{path.left_offset + columns}]"
    into = f"edge_rows[{path.out_offset}:{stop}:{path.out_stride}]"
    return f"    {into} = message_{path.index}(z, {w}, {x}).unbind(1)  # {path.label}"


DRIVERS = '''

def forward(step, sender, receiver, x, vectors, table, out):
    """out[i] plus the sum over edges i <- j and paths of w(r) C y x[j]; x and out are [atom, component, channel]."""
    z, knot = geometry(step, vectors, table.shape[0] - 3)
    w = sum(z[:, s, None, None] * table[knot + s] for s in range({splines}))
    return messages(sender, receiver, x, z, w, out)


def apply(sender, receiver, x, vectors, w, out):
    """`forward` with the radial weights of each edge given, w [edges, paths, channels]."""
    z, _ = geometry(1.0, vectors, 0)
    return messages(sender, receiver, x, z, w, out)


def geometry(step, vectors, intervals):
    """Splines and harmonics of each edge, and its knot; splines are 0 beyond the table."""
    length = vectors.norm(dim=1, keepdim=True)
    knot = (length.detach() / step).floor().clamp(max=intervals)
    inside = (knot < intervals).to(vectors.dtype)
    z = edge(vectors, 1 / length, knot, torch.full_like(length, 1 / step))
    z = torch.cat([inside * z[:, :{splines}], z[:, {splines}:]], 1)
    return z, knot[:, 0].clamp(min=0, max=max(intervals - 1, 0)).to(torch.int64)


def messages(sender, receiver, x, z, w, out):
    """Every path of every edge, summed at its receiver."""
    x = x.index_select(0, sender)
    edge_rows = [None] * {rows}
{calls}
    return out.index_add(0, receiver, torch.stack(edge_rows, 1))
'''
