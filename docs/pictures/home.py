"""The first page: a rule, its table, its kernel."""

import numpy as np
from _frame import bare, pyplot, save

from cartalg.symbolic import coupling
from cartalg_codegen.backends.numba.printer import print_function
from cartalg_codegen.lowering.rows import function
from cartalg_codegen.specs import CouplingSpec
from cartalg_codegen.text import function_source

rule = coupling(2, 1, 2)
table = np.zeros((5, 15))
for (k, a, b), value in rule.entries.items():
    table[k, a * 3 + b] = float(value)
figure, axes = pyplot.subplots(1, 3, figsize=(9.5, 2.2), width_ratios=[1, 1.2, 2])
for axis in axes:
    bare(axis)
axes[0].text(0.5, 0.55, r"$T_{ij} = \{\epsilon_{iqr}\, a_{qj}\, b_r\}$", ha="center", fontsize=17)
axes[0].text(0.5, 0.12, "a rule, exact, for any ranks", ha="center", fontsize=10)
largest = abs(table).max()
axes[1].imshow(table, vmin=-largest, vmax=largest, aspect="auto")
axes[1].set_title(f"its table: {len(rule.entries)} of {table.size} entries", fontsize=10)
program = CouplingSpec(2, 1, 2).forward()
source = function_source(print_function(function(program)), program.name)
kernel = "\n".join(line.strip() for line in source.split("\n") if line.strip().startswith("out["))
axes[2].text(0.02, 0.5, kernel, family="monospace", fontsize=8, va="center")
axes[2].set_title("its kernel, written by the generator", fontsize=10)
save(figure, "home.svg")
