"""Ziegler-Biersack-Littmark repulsion of screened nuclei, so that atoms cannot meet where there are no data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn

from cartalg.architecture import ModelConfig
from cartalg.data.coverage import pair_name
from cartalg.nn.bases import envelope, spline_matrix
from cartalg.nn.kernels import edge_sums
from cartalg.nn.pairs import EveryPair
from cartalg.nn.recorded import recorded
from cartalg.nn.values import Constant, Value
from cartalg.ops import Edges, open_kernels
from cartalg_codegen.specs import ConvolutionSpec

#: e^2/(4 pi epsilon_0) in eV angstrom, and the Bohr radius in angstrom (CODATA 2018).
COULOMB, BOHR = 14.399645, 0.529177210903


@dataclass(frozen=True)
class Form:
    """Constants of a screened repulsion and how it is switched off.

    Attributes:
        coulomb: Energy times distance of two unit charges, in eV angstrom.
        length: Of the screening, in angstrom, over the sum of the charges to a power.
        power: That power.
        coefficients, exponents: Of the terms of the screening function.
        cutoff: Power p of a polynomial cutoff, as of the radial functions; None for one with three smooth derivatives.
    """

    coulomb: float = COULOMB
    length: float = 0.8854 * BOHR
    power: float = 0.23
    coefficients: tuple[float, ...] = (0.18175, 0.50986, 0.28022, 0.02817)
    exponents: tuple[float, ...] = (3.19980, 0.94229, 0.40290, 0.20162)
    cutoff: int | None = None

    def switch(self, s: Tensor) -> Tensor:
        """The switch at distances over its reach."""
        if self.cutoff is None:
            return 1 - s**4 * (35 - 84 * s + 70 * s**2 - 20 * s**3)
        return envelope(s, 1.0, self.cutoff)


#: As MACE rounds the constants.
MACE = Form(14.3996, 0.4543 * 0.529, 0.3, (0.1818, 0.5099, 0.2802, 0.02817), (3.2, 0.9423, 0.4028, 0.2016))


#: The core of a pair begins at this part of its shortest distance in the data, and is so high, in eV, a tenth of it
#: farther in.
CORE, HEIGHT = 0.8, 5.0

#: Intervals of a table: forces are those of the formula to 1e-7 of themselves from 0.5 angstrom on.
INTERVALS = 512


def pair_terms(
    config: ModelConfig,
    elements: Sequence[str],
    scale: float,
    shortest: Mapping[str, float],
    backend: str,
) -> nn.ModuleList:
    """Terms of the energy of each atom that are sums over its neighbours, called as `Repulsion` is.

    Args:
        config: The architecture.
        elements: Chemical symbols that the model knows.
        scale: Energy scale of the network's output in eV, which is MACE's of its repulsion, too.
        shortest: As in `Potential`.
        backend: As in `Potential`.
    """
    if not config.zbl:
        return nn.ModuleList()
    form, factor = Form(), 1.0
    if config.zbl_form == "mace":
        form, factor, shortest = replace(MACE, cutoff=config.envelope_power), scale, {}
    direct = config.radial_mode == "direct"
    return nn.ModuleList([Repulsion(elements, form, factor, shortest, backend, direct)])


class Repulsion(nn.Module):
    """Energy of each atom, half of each pair's.

    Switched off smoothly between zero and the sum of the two covalent radii, or the shortest distance of the pair in
    the training data, if that is larger: it says what the data do not. Light nuclei repel each other too little for a
    network's guesses, so below 0.8 of the shortest distance of a pair there is a core as well, A (1 - r/r_0)^3, whose
    curvature begins at zero; of a pair that the data lack its radii stand for that distance. Each pair of elements has
    a spline table, which the convolution of numbers interpolates, as it does the network's radial weights.

    Args:
        elements: Chemical symbols that the model knows.
        form: Constants and switch.
        factor: Of the energy.
        shortest: Of pairs, in angstrom, under ``"C-H"``, symbols by the alphabet.
        backend: As in `Potential`.
        direct: Compute the formula for each edge in place of tables: the reference, for Torch alone.
    Source: Ziegler, Biersack & Littmark 1985, eqs. 2-60 to 2-63 (universal potential).
    """

    numbers: Tensor
    reach: Tensor
    core: Tensor

    def __init__(
        self,
        elements: Sequence[str],
        form: Form = Form(),
        factor: float = 1.0,
        shortest: Mapping[str, float] | None = None,
        backend: str = "auto",
        direct: bool = False,
    ) -> None:
        super().__init__()
        self.form, self.factor, self.backend = form, factor, backend
        self.spec = ConvolutionSpec("natural", 0, 0)
        self.kernels = open_kernels().holding(self.spec)
        numbers = torch.tensor([atomic_numbers[e] for e in elements])
        self.register_buffer("numbers", numbers, persistent=False)
        radii = torch.tensor(covalent_radii[numbers.numpy()], dtype=torch.float64)
        known = [[(shortest or {}).get(pair_name(a, b), 0.0) for a in elements] for b in elements]
        reach = torch.maximum(radii[:, None] + radii, radii.new_tensor(known))
        self.register_buffer("reach", reach, persistent=False)  # [elements, elements]
        distances = torch.where(radii.new_tensor(known) > 0, radii.new_tensor(known), radii[:, None] + radii)
        self.register_buffer("core", CORE * distances * bool(shortest), persistent=False)  # where it begins; 0: none
        self._table = None if direct else Constant(self.table())

    def forward(self, species: Tensor, edges: Edges, vectors: Value) -> Value:
        """species [senders], vectors [edges, 3] in angstrom, float64 -> eV, float64 [receivers, 1, 1]."""
        if self._table is None:
            return recorded(partial(self._directly, species, edges), vectors)
        if self._table.tensor.device != species.device:
            self._table = Constant(self._table.tensor.to(species.device))
        pairs, step = EveryPair(len(self.numbers), species, edges), float(self.reach.max()) / INTERVALS
        return edge_sums(self.kernels, self.backend, self.spec, edges, vectors, self._table, step, INTERVALS, pairs)

    def energy(self, r: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """Half of the energy of pairs in eV, for distances r in angstrom and the numbers of their elements."""
        form, charges = self.form, self.numbers.double()
        falls = (charges[i] ** form.power + charges[j] ** form.power)[:, None] / -form.length
        screened = torch.exp(r[:, None] * falls * r.new_tensor(form.exponents)) @ r.new_tensor(form.coefficients)
        switch = form.switch((r / self.reach.double()[i, j]).clamp(max=1.0))
        nuclei = self.factor * form.coulomb * charges[i] * charges[j] / r * screened * switch
        core = self.core.double()[i, j]
        inside = (1 - r / core.clamp(min=1e-9)).clamp(min=0)
        return 0.5 * (nuclei + HEIGHT * (inside * CORE / 0.1) ** 3)

    def table(self) -> Tensor:
        """B-spline coefficients of the energy of each pair of elements, float64 [pairs x (intervals + 3), 1, 1]."""
        knots = torch.linspace(0, float(self.reach.max()), INTERVALS + 1, dtype=torch.float64)
        knots[0] = knots[1] / 4  # where the energy is not infinite
        i, j = EveryPair.elements(len(self.numbers))
        count = len(knots)
        r, i, j = knots.repeat(len(i)), i.repeat_interleave(count), j.repeat_interleave(count)
        return (self.energy(r, i, j).view(-1, count) @ spline_matrix(INTERVALS).T).flatten()[:, None, None]

    def _directly(self, species: Tensor, edges: Edges, vectors: Tensor) -> Tensor:
        energy = self.energy(vectors.norm(dim=1), species[edges.receiver], species[edges.sender])
        return energy.new_zeros(edges.receivers).index_add(0, edges.receiver, energy)[:, None, None]
