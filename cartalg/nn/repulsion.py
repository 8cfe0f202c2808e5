"""Ziegler-Biersack-Littmark repulsion of screened nuclei, so that atoms cannot meet where there are no data."""

from collections.abc import Callable, Iterable, Sequence

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn

from cartalg.architecture import ModelConfig
from cartalg.nn.values import Call, Operation, Recorder, Slot, Target, Value, run
from cartalg.ops import Edges

#: e^2/(4 pi epsilon_0) in eV angstrom, and the Bohr radius in angstrom (CODATA 2018).
COULOMB, BOHR = 14.399645, 0.529177210903
COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)


def pair_terms(config: ModelConfig, elements: Sequence[str]) -> nn.ModuleList:
    """Terms of the energy of each atom that are sums over its neighbours, called as `Repulsion` is."""
    return nn.ModuleList([Repulsion(elements)] if config.zbl else [])


class Repulsion(nn.Module):
    """Energy of each atom, half of each pair's.

    Switched off smoothly, with three derivatives, between zero and the sum of the two covalent radii.

    Args:
        elements: Chemical symbols that the model knows.
    Source: Ziegler, Biersack & Littmark 1985, eqs. 2-60 to 2-63 (universal potential).
    """

    numbers: Tensor
    radii: Tensor

    def __init__(self, elements: Sequence[str]) -> None:
        super().__init__()
        numbers = [atomic_numbers[e] for e in elements]
        self.register_buffer("numbers", torch.tensor(numbers), persistent=False)
        self.register_buffer("radii", torch.tensor(covalent_radii[numbers], dtype=torch.float64), persistent=False)

    def forward(self, species: Tensor, edges: Edges, vectors: Value) -> Value:
        """species [atoms], vectors [edges, 3] in angstrom, float64 -> eV, float64 [atoms]."""
        return run(_Repulsion(lambda: self._pairs(species, edges), edges, len(species)), vectors)

    def _pairs(self, species: Tensor, edges: Edges) -> "_Pairs":
        z_i, z_j, radius_i, radius_j = (
            of[species[side]].double() for of in (self.numbers, self.radii) for side in (edges.receiver, edges.sender)
        )
        rate = (z_i**0.23 + z_j**0.23) / (0.8854 * BOHR)
        return _Pairs(0.5 * COULOMB * z_i * z_j, rate[:, None] * rate.new_tensor(EXPONENTS), radius_i + radius_j)


class _Pairs:
    """Half of the energy of each pair as a function of its distance.

    Args:
        charge: Energy times distance of bare nuclei, in eV angstrom, [edges].
        rates: Of the terms of the screening function, in 1/angstrom, [edges, 4].
        reach: Where it ends, in angstrom, [edges].
    """

    def __init__(self, charge: Tensor, rates: Tensor, reach: Tensor) -> None:
        self.charge, self.rates, self.reach = charge, rates, reach
        self.coefficients = charge.new_tensor(COEFFICIENTS)

    def energy(self, r: Tensor) -> Tensor:
        """r in angstrom [edges] -> eV [edges]."""
        s = (r / self.reach).clamp(max=1.0)
        switch = 1 - s**4 * (35 - 84 * s + 70 * s**2 - 20 * s**3)
        return self.charge / r * (torch.exp(-r[:, None] * self.rates) @ self.coefficients) * switch

    def slope(self, r: Tensor) -> Tensor:
        """Derivative of `energy`, in eV/angstrom."""
        s = (r / self.reach).clamp(max=1.0)
        switch, fall = 1 - s**4 * (35 - 84 * s + 70 * s**2 - 20 * s**3), -140 * (s * (1 - s)) ** 3 / self.reach
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
