"""i-PI's driver for `ffdirect`, and for `i-pi-driver-py -m custom -P`: no socket (extra ``cartalg[ipi]``).

<ffdirect name='cartalg'>
  <pes> custom </pes>
  <pes_path> THIS FILE </pes_path>        (python -m cartalg.interfaces.ipi_driver prints where it is)
  <parameters> {template: init.xyz, model: RUN} </parameters>
</ffdirect>
"""

import json
from typing import Any

import numpy as np
from ase.io import read
from ase.stress import voigt_6_to_full_3x3_stress

from cartalg.data.graphs import species_index
from cartalg.extras import require
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.interfaces.ipi import further_results

require("ipi", "cartalg.interfaces.ipi_driver")

from ipi.pes._ase import ASEDriver  # noqa: E402
from ipi.utils.units import unit_to_internal  # noqa: E402

__DRIVER_NAME__ = "cartalg"
__DRIVER_CLASS__ = "CartalgDriver"


class CartalgDriver(ASEDriver):  # type: ignore[misc]
    """A trained potential as i-PI calls it.

    Args:
        template: File that ASE reads: elements, in the order of i-PI's atoms, and whether they are periodic.
        model: A model file or the folder of a training run, of a committee too.
        **kwargs: ``skin``, ``backend``: as of `cartalg.interfaces.ase.CartalgCalculator`; others are i-PI's.
    Raises:
        FileNotFoundError, CheckpointError: If the model cannot be read.
        DataError: If it does not know an element; when called, if a structure cannot be computed.
    """

    def __init__(self, template: str, model: str, **kwargs: Any) -> None:
        self._model = model
        self._settings = {name: kwargs.pop(name) for name in ("skin", "backend") if name in kwargs}
        super().__init__(template, **kwargs)

    def check_parameters(self) -> None:
        """Read the template and the model."""
        self.template_ase = read(self.template)
        self.ase_calculator = CartalgCalculator(self._model, **self._settings)
        species_index(self.template_ase, self.ase_calculator.model.elements, str(self.template))
        self.periodic = bool(self.template_ase.pbc.all())

    def compute_structure(self, cell: np.ndarray[Any, Any], pos: np.ndarray[Any, Any]) -> tuple[Any, ...]:
        """Energy, forces, virial and extras in i-PI's units; cell vectors are columns, and in bohr as positions are."""
        atoms, calculator = self.template_ase.copy(), self.ase_calculator
        atoms.cell[:], atoms.positions[:] = self.convert_units(cell, pos.reshape(-1, 3))
        calculator.calculate(atoms, ["energy", "forces", *(["stress"] if self.periodic else [])])
        results, virial, extras = calculator.results, np.zeros((3, 3)), further_results(calculator)
        if self.periodic:
            virial = -voigt_6_to_full_3x3_stress(results["stress"]) * atoms.get_volume()
        return (
            unit_to_internal("energy", "electronvolt", results["energy"]),
            unit_to_internal("force", "ev/ang", results["forces"]),
            unit_to_internal("energy", "electronvolt", virial),
            json.dumps(extras) if extras else "",
        )


if __name__ == "__main__":
    print(__file__)
