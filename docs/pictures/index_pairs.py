"""How the indices of two tensors and their product meet, in pairs and at a Levi-Civita symbol."""

from _frame import BLUE, GREEN, RED, bare, pyplot, save

from cartalg.symbolic.contraction import Contraction


def draw(axis, l1, l2, l3):
    """One coupling: circles are tensors, lines are indices."""
    rule = Contraction(l1, l2, l3)
    ways = {(0, 1): rule.pairs, (0, 2): rule.free[0], (1, 2): rule.free[1]}
    places = [(-1.0, 0.0), (1.0, 0.0), (0.0, -1.25)]
    for (first, second), count in ways.items():
        (x1, y1), (x2, y2) = places[first], places[second]
        for n in range(count):
            bend = (n - (count - 1) / 2) * 0.16
            across = (bend * (y2 - y1) / 2, bend * (x1 - x2) / 2)
            axis.plot([x1 + across[0], x2 + across[0]], [y1 + across[1], y2 + across[1]], color="#64748b", zorder=1)
    if rule.kind.value == "levi-civita":
        for x, y in places:
            axis.plot([x, 0], [y, -0.42], color=RED, zorder=1)
        axis.scatter(0, -0.42, s=330, color=RED, zorder=2)
        axis.text(0, -0.43, "ε", color="white", ha="center", va="center", fontsize=14)
    for (x, y), colour, name in zip(places, (BLUE, BLUE, GREEN), (f"a: {l1}", f"b: {l2}", f"T: {l3}"), strict=True):
        axis.scatter(x, y, s=1300, color=colour, zorder=2)
        axis.text(x, y, name, color="white", ha="center", va="center", fontsize=11)
    axis.set(xlim=(-1.4, 1.4), ylim=(-1.65, 0.4), aspect="equal")
    axis.set_title(f"({l1}, {l2}) → {l3}: {rule.kind.value}", fontsize=10)
    bare(axis)


figure, axes = pyplot.subplots(1, 3, figsize=(8.4, 2.8))
for axis, ranks in zip(axes, [(2, 2, 2), (3, 3, 2), (3, 2, 2)], strict=True):
    draw(axis, *ranks)
save(figure, "index_pairs.svg")
