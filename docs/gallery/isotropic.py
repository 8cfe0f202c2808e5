# group: Algebra
r"""Isotropic tensors, and an expression in its irreducible parts

Every isotropic tensor is a sum of products of $\delta$ and $\epsilon$; from rank 5 on these depend on one another, for
nothing is antisymmetric in four indices in three dimensions. Written in a basis of them, equal tensors look the same.
Projectors on irreducible parts are isotropic, so parts of an expression are formulas in its own letters.

The picture counts the products and how many of them are independent. Source: E. A. Kearsley, J. T. Fong, *J. Res. Natl.
Bur. Stand.* **79B**, 49 (1975).
"""

import matplotlib.pyplot as plt

from cartalg.symbolic.indexed import ALPHABET, parse
from cartalg.symbolic.irreducible import irreducible_parts
from cartalg.symbolic.isotropic import canonical, isotropic_basis, pairings
from cartalg.symbolic.symbols import cartesian_3j

identity = parse("delta_ij eps_klm - delta_ik eps_jlm + delta_il eps_jkm - delta_im eps_jkl")
assert canonical(identity).terms == ()  # zero, though no two of its terms are alike

symbol, norm = cartesian_3j(1, 1, 2)
print("3j symbol:", symbol, "| squared:", (symbol * symbol).simplified())
assert (symbol * symbol).simplified().terms == (((), norm),)

for part in irreducible_parts(parse("a_ij b_jk")):
    print(part.rank, "|", part.embedded, "|", part.own)

ranks = range(9)
products = [sum(1 for _ in pairings(ALPHABET[:rank])) for rank in ranks]
independent = [len(isotropic_basis(ALPHABET[:rank])) for rank in ranks]
assert independent == [1, 0, 1, 1, 3, 6, 15, 36, 91]
figure, panel = plt.subplots(figsize=(5, 3.2), layout="constrained")
panel.bar([rank - 0.2 for rank in ranks], products, width=0.4, label="products of δ and ε")
panel.bar([rank + 0.2 for rank in ranks], independent, width=0.4, label="independent")
panel.set(xlabel="rank", xticks=list(ranks), ylabel="number", yscale="log")
panel.legend()
figure.savefig("isotropic.svg")
