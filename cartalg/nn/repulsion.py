"""Ziegler-Biersack-Littmark repulsion of screened nuclei, so that atoms cannot meet where there are no data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn

from cartalg.architecture import ModelConfig
from cartalg.nn.bases import envelope
from cartalg.nn.values import Call, Operation, Recorder, Slot, Target, Value, run
from cartalg.ops import Edges

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

    def switch(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """The switch at distances over its reach, and its derivative."""
        if self.cutoff is None:
            return 1 - s**4 * (35 - 84 * s + 70 * s**2 - 20 * s**3), -140 * (s * (1 - s)) ** 3
        p = self.cutoff
        return envelope(s, 1.0, p), -p * (p + 1) * (p + 2) / 2 * s ** (p - 1) * (1 - s) ** 2


#: As MACE rounds the constants.
MACE = Form(14.3996, 0.4543 * 0.529, 0.3, (0.1818, 0.5099, 0.2802, 0.02817), (3.2, 0.9423, 0.4028, 0.2016))


def pair_terms(
    config: ModelConfig, elements: Sequence[str], scale: float, shortest: Mapping[str, float]
) -> nn.ModuleList:
    """Terms of the energy of each atom that are sums over its neighbours, called as `Repulsion` is.

    Args:
        config: The architecture.
        elements: Chemical symbols that the model knows.
        scale: Energy scale of the network's output in eV, which is MACE's of its repulsion, too.
        shortest: As in `Potential`.
    """
    if not config.zbl:
        return nn.ModuleList()
    if config.zbl_form == "mace":
        return nn.ModuleList([Repulsion(elements, replace(MACE, cutoff=config.envelope_power), scale)])
    return nn.ModuleList([Repulsion(elements, shortest=shortest)])


class Repulsion(nn.Module):
    """Energy of each atom, half of each pair's.

    Switched off smoothly between zero and the sum of the two covalent radii, or the shortest distance of the pair in
    the training data, if that is larger: it says what the data do not.

    Args:
        elements: Chemical symbols that the model knows.
        form: Constants and switch.
        factor: Of the energy.
        shortest: Of pairs, in angstrom, under ``"C-H"``, symbols by the alphabet.
    Source: Ziegler, Biersack & Littmark 1985, eqs. 2-60 to 2-63 (universal potential).
    """

    numbers: Tensor
    reach: Tensor

    def __init__(
        self,
        elements: Sequence[str],
        form: Form = Form(),
        factor: float = 1.0,
        shortest: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.form, self.factor = form, factor
        numbers = [atomic_numbers[e] for e in elements]
        self.register_buffer("numbers", torch.tensor(numbers), persistent=False)
        radii = torch.tensor(covalent_radii[numbers], dtype=torch.float64)
        known = [[(shortest or {}).get("-".join(sorted((a, b))), 0.0) for a in elements] for b in elements]
        reach = torch.maximum(radii[:, None] + radii, radii.new_tensor(known))
        self.register_buffer("reach", reach, persistent=False)  # [elements, elements]

    def forward(self, species: Tensor, edges: Edges, vectors: Value) -> Value:
        """species [senders], vectors [edges, 3] in angstrom, float64 -> eV, float64 [receivers]."""
        return run(_Repulsion(lambda: self._pairs(species, edges), edges, edges.receivers), vectors)

    def _pairs(self, species: Tensor, edges: Edges) -> "_Pairs":
        i, j = species[edges.receiver], species[edges.sender]
        form, charges = self.form, self.numbers.double()
        powers, reach = charges**form.power / form.length, self.reach.double().flatten()[i * len(charges) + j]
        charge, rate = 0.5 * self.factor * form.coulomb * charges[i] * charges[j], powers[i] + powers[j]
        return _Pairs(form, charge, rate[:, None] * rate.new_tensor(form.exponents), reach)


class _Pairs:
    """Half of the energy of each pair as a function of its distance.

    Args:
        form: The switch and the coefficients.
        charge: Energy times distance of bare nuclei, in eV angstrom, [edges].
        rates: Of the terms of the screening function, in 1/angstrom, [edges, 4].
        reach: Where it ends, in angstrom, [edges].
    """

    def __init__(self, form: Form, charge: Tensor, rates: Tensor, reach: Tensor) -> None:
        self.form, self.charge, self.rates, self.reach = form, charge, rates, reach
        self.coefficients = charge.new_tensor(form.coefficients)

    def energy(self, r: Tensor) -> Tensor:
        """r in angstrom [edges] -> eV [edges]."""
        switch, _ = self.form.switch((r / self.reach).clamp(max=1.0))
        return self.charge / r * (torch.exp(-r[:, None] * self.rates) @ self.coefficients) * switch

    def slope(self, r: Tensor) -> Tensor:
        """Derivative of `energy`, in eV/angstrom."""
        switch, fall = self.form.switch((r / self.reach).clamp(max=1.0))
        fall = fall / self.reach
        terms = torch.exp(-r[:, None] * self.rates) * self.coefficients
        screening = terms.sum(1)
        return self.charge / r * ((fall - switch / r) * screening - switch * (terms * self.rates).sum(1))


class _Repulsion(Operation):
    def __init__(self, make: Callable[[], _Pairs], edges: Edges, atoms: int) -> None:
        self._make, self.receiver, self.atoms = make, edges.receiver, atoms
        self._known: tuple[int, _Pairs] | None = None

    @property
    def pairs(self) -> _Pairs:
        """Of the edges as they are: an engine's are replaced in place."""
        version = self.receiver._version
        if self._known is None or self._known[0] != version:
            self._known = version, self._make()
        return self._known[1]

    def eager(self, *inputs: Tensor) -> Tensor:
        energy = self.pairs.energy(inputs[0].norm(dim=1))
        return energy.new_zeros(self.atoms).index_add(0, self.receiver, energy)

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        return (self.atoms,), inputs[0].dtype

    def reads(self, wanted: Sequence[bool]) -> Iterable[int]:
        return (0,)

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        yield lambda: out.zero_().index_add_(0, self.receiver, self.pairs.energy(inputs[0].norm(dim=1)))

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        if targets[0] is None:
            return
        into, add = targets[0]

        def call() -> None:
            r = inputs[0].norm(dim=1)
            push = (self.pairs.slope(r) / r * g[self.receiver])[:, None]
            into.addcmul_(push, inputs[0]) if add else torch.mul(push, inputs[0], out=into)

        yield call
