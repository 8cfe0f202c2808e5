"""Pictures of the atlas: surfaces of the basis tensors, and where a coupling's entries are."""

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cartalg.symbolic.basis import basis_polynomials
from cartalg.symbolic.coupling import Coupling

POSITIVE, NEGATIVE = "#2a6fbb", "#d1622b"


def surface(rank: int, m: int, pixels: int = 260) -> bytes:
    """The basis tensor e_lm as a surface: distance from the origin is |e_lm(n)|, colour is the sign.

    Args:
        rank: l.
        m: -l..l.
        pixels: Width and height.
    Returns:
        A PNG with a transparent ground.
    """
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, 61), np.linspace(0, 2 * np.pi, 121), indexing="ij")
    n = np.array([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])
    value = np.zeros_like(polar)
    for exponents, c in basis_polynomials(rank)[m + rank].items():
        value += (
            float(c.numerator) / float(c.denominator) * np.prod([x**e for x, e in zip(n, exponents, strict=True)], 0)
        )
    x, y, z = n * np.abs(value) / np.abs(value).max()
    light = matplotlib.colors.LightSource(azdeg=300, altdeg=40)
    colours = np.where(value[..., None] >= 0, matplotlib.colors.to_rgb(POSITIVE), matplotlib.colors.to_rgb(NEGATIVE))
    figure = Figure(figsize=(pixels / 100, pixels / 100), dpi=100)
    axes: Any = figure.add_axes((-0.18, -0.18, 1.36, 1.36), projection="3d")
    axes.plot_surface(
        x, y, z, facecolors=_lit(colours, (x, y, z), light), rstride=1, cstride=1, lw=0, antialiased=False, shade=False
    )
    reach = 1.25 if rank == 0 else 0.9
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach), box_aspect=(1, 1, 1))
    axes.view_init(22, 38)
    axes.set_axis_off()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", transparent=True, metadata={"Software": None})
    return stream.getvalue()


def _lit(colours: np.ndarray, surface: tuple[np.ndarray, ...], light: matplotlib.colors.LightSource) -> np.ndarray:
    """Shade by the angle between the surface and the light."""
    along = [np.stack(np.gradient(s), -1) for s in surface]
    normal = np.cross(np.stack([a[..., 0] for a in along], -1), np.stack([a[..., 1] for a in along], -1))
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = np.divide(normal, length, out=np.zeros_like(normal), where=length > 1e-9)
    shade = 0.8 + 0.3 * np.clip(normal @ light.direction, -1, 1)[..., None]
    return np.clip(colours * shade, 0, 1)


def sparsity(rule: Coupling) -> str:
    """Nonzero entries of C[k, a, b] as an SVG: one square of a by b for each output component, area by magnitude."""
    n1, n2, n3 = (2 * rank + 1 for rank in (rule.l1, rule.l2, rule.l3))
    cell, gap = 12, 14
    largest = max(abs(float(c.numerator) / float(c.denominator)) for c in rule.entries.values())
    width, height = n3 * (n2 * cell + gap) - gap + 2, n1 * cell + 24
    parts = [
        f'<svg class="sparsity" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="nonzero entries of the coupling, one block for each output component">'
    ]
    for k in range(n3):
        x0 = 1 + k * (n2 * cell + gap)
        parts.append(f'<rect class="block" x="{x0}" y="1" width="{n2 * cell}" height="{n1 * cell}"/>')
        label = f"{k - rule.l3:+d}".replace("+0", "0")
        parts.append(f'<text x="{x0 + n2 * cell / 2}" y="{n1 * cell + 18}" text-anchor="middle">{label}</text>')
    for (k, a, b), c in rule.entries.items():
        value = float(c.numerator) / float(c.denominator)
        side = (cell - 2) * np.sqrt(abs(value) / largest)
        x = 1 + k * (n2 * cell + gap) + (b + 0.5) * cell - side / 2
        y = 1 + (a + 0.5) * cell - side / 2
        kind = "plus" if value > 0 else "minus"
        title = f"C[{k - rule.l3}, {a - rule.l1}, {b - rule.l2}] = {c}"
        parts.append(
            f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{side:.2f}" height="{side:.2f}">'
            f"<title>{title}</title></rect>"
        )
    return "".join([*parts, "</svg>"])
