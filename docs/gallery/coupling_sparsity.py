# group: Algebra
r"""Where a coupling has entries

An irreducible coupling $(l_1, l_2) \to l_3$ is a table of rational numbers $C_{kab}$ (eq. 16 and 17 of the theory).
"""

import numpy as np
from matplotlib import pyplot

from cartalg.symbolic import coupling

rules = [coupling(1, 1, 2), coupling(2, 1, 2), coupling(2, 2, 4), coupling(3, 2, 3)]
figure, axes = pyplot.subplots(1, len(rules), figsize=(9, 2.6))
for axis, rule in zip(axes, rules, strict=True):
    rows, columns = 2 * rule.l3 + 1, (2 * rule.l1 + 1) * (2 * rule.l2 + 1)
    table = np.zeros((rows, columns))
    for (k, a, b), value in rule.entries.items():
        table[k, a * (2 * rule.l2 + 1) + b] = np.sign(float(value))
    axis.imshow(table, aspect="auto", vmin=-1, vmax=1)
    axis.set_title(f"({rule.l1}, {rule.l2}) → {rule.l3}")
    axis.grid(False)
    print(f"({rule.l1}, {rule.l2}) -> {rule.l3}: {len(rule.entries)} of {rows * columns} entries")
figure.savefig("coupling_sparsity.svg")
