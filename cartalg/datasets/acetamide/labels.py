"""Labels of acetamide by DFT: what the frames of the data set and of the scans have."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from ase import Atoms, units
from pyscf import dft, gto

HARTREE, BOHR = units.Hartree, units.Bohr


def label(frame: Atoms) -> Atoms:
    """PBE/def2-SVP energy, forces and dipole of a frame, which is returned."""
    mol = gto.M(
        atom=list(zip(frame.get_chemical_symbols(), frame.positions.tolist(), strict=True)),
        basis="def2-svp",
        verbose=0,
    )
    mean_field = dft.RKS(mol, xc="pbe").density_fit()
    mean_field.conv_tol = 1e-10
    mean_field.grids.level = 3
    energy = mean_field.kernel()
    if not mean_field.converged:
        raise RuntimeError(f"SCF did not converge for {frame}")
    gradient = mean_field.nuc_grad_method()
    gradient.grid_response = True
    frame.info["REF_energy"] = energy * HARTREE
    frame.info["REF_dipole"] = mean_field.dip_moment(unit="au", verbose=0) * BOHR
    frame.arrays["REF_forces"] = -gradient.kernel() * HARTREE / BOHR
    return frame
