# group: Physics
r"""Elastic constants of every crystal class

By Neumann's principle a property tensor is left alone by the point group of its crystal, $T = gT$. A threefold axis
seems to need $\sqrt 3$; but it says no more than that eigenvalues $im$ of the generator $J_z$ with $m$ divisible by 3
occur, so the equations have whole coefficients and the form of the tensor follows by elimination over $\mathbb{Q}$.

The picture is the stiffness matrix in Voigt's notation for one class of each of Nye's nine forms and for an isotropic
body: equal colours are equal constants, pale ones stand with a minus, grey is $\tfrac12(c_{11} - c_{12})$.
Source: J. F. Nye, *Physical Properties of Crystals* (1957), table 9.
"""

import matplotlib.pyplot as plt
import numpy as np

from cartalg.physics.properties import property_tensor

ELASTIC = "ijkl=jikl=klij"
classes = ["-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/mmm", "m-3m", "∞∞m"]
counts = {name: len(property_tensor(ELASTIC, name).independent) for name in classes}
print(counts)
assert list(counts.values()) == [21, 13, 9, 7, 6, 7, 6, 5, 3, 2]

colours = plt.get_cmap("tab20")
figure, panels = plt.subplots(2, 5, figsize=(9, 4), layout="constrained")
for panel, name in zip(panels.flat, classes, strict=True):
    matrix = property_tensor(ELASTIC, name).matrix("c")
    order = sorted(matrix.free_symbols, key=str)
    picture = np.ones((6, 6, 4))
    for i, j in np.ndindex(6, 6):
        entry = matrix[i, j]
        if entry.is_Add:
            picture[i, j] = (0.6, 0.6, 0.6, 1)
        elif entry != 0:
            (symbol,) = entry.free_symbols
            picture[i, j] = colours(order.index(symbol) % 20)
            picture[i, j, 3] = 0.35 if entry.could_extract_minus_sign() else 1
    panel.imshow(picture)
    panel.set(title=f"{name}: {counts[name]}", xticks=[], yticks=[])
figure.savefig("crystal_constants.svg")
