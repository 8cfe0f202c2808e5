# group: Potential
r"""What nuclei do where data end

Two hydrogen and two oxygen atoms in a potential with random weights: at short distances the repulsion of nuclei
(Ziegler, Biersack and Littmark) takes over from the network.
"""

import numpy as np
import torch
from ase import Atoms
from matplotlib import pyplot

from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph
from cartalg.model import Potential

distances = np.linspace(0.3, 3.5, 60)
figure, axis = pyplot.subplots()
for element in ("H", "O"):
    for zbl in (False, True):
        torch.manual_seed(0)
        model = Potential(ModelConfig(channels=4, cutoff=3.5, zbl=zbl, dtype="float64"), ("H", "O"))
        energies = []
        for d in distances:
            graph = build_graph(Atoms([element] * 2, [(0, 0, 0), (0, 0, d)]), 3.5, model.elements)
            energies.append(float(model(graph).energy.detach()))
        energies = np.array(energies) - energies[-1]
        axis.plot(distances, energies, "-" if zbl else ":", label=f"{element}-{element}{', zbl' if zbl else ''}")
        if zbl:
            assert energies[0] > 5
axis.set(xlabel="distance (Å)", ylabel="energy (eV)", ylim=(-5, 60))
axis.legend()
figure.savefig("dimer.svg")
