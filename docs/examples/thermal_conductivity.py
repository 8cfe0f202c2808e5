"""Thermal conductivity of a crystal by Green and Kubo: the heat flux along dynamics at constant energy.

    python thermal_conductivity.py RUN STRUCTURE --temperature 1000 --steps 100000

kappa = V/(3 k T^2) times the integral of <j(0) . j(t)>, with j the flux over the volume. The integral is taken to
several times: it is converged where they agree within their uncertainty, the standard error over blocks of the run. A
cell holds no phonons longer than itself, so repeat with larger ones.
"""

import argparse

import ase.io
import numpy as np
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from cartalg.interfaces.ase import CartalgCalculator

#: W/(m K) of an eV per unit of time, angstrom and kelvin.
SI = units.s * units.m / units.J


def integrals(fluxes: np.ndarray, interval: float, volume: float, temperature: float) -> np.ndarray:
    """Running Green-Kubo integrals; the mean of the flux is 0, and is not estimated: that would bias them.

    Args:
        fluxes: Of the cell, not over its volume, eV angstrom over ASE's unit of time, [samples, 3].
        interval: Of the samples, in ASE's unit of time.
        volume: Of the cell in angstrom^3.
        temperature: In kelvin.
    Returns:
        kappa in W/(m K) by the time that is integrated to, [samples // 2].
    """
    count = len(fluxes)
    spectrum = np.abs(np.fft.rfft(fluxes, 2 * count, axis=0)) ** 2  # padded: no sample is correlated around the end
    correlation = np.fft.irfft(spectrum, axis=0)[: count // 2].mean(1) / np.arange(count, count - count // 2, -1)
    steps = (correlation[1:] + correlation[:-1]) / 2
    return SI * interval / (volume * units.kB * temperature**2) * np.concatenate([[0.0], np.cumsum(steps)])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a training run")
    parser.add_argument("structure", help="crystal, anything that ASE reads")
    parser.add_argument("--repeat", type=int, default=1, help="of the structure along each cell vector")
    parser.add_argument("--temperature", type=float, default=300.0, help="kelvin")
    parser.add_argument("--timestep", type=float, default=1.0, help="fs")
    parser.add_argument("--equilibration", type=int, default=5000, help="steps")
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--every", type=int, default=5, help="steps between fluxes")
    parser.add_argument("--blocks", type=int, default=5, help="parts of the run, for the uncertainty")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="flux.npy", help="file of fluxes, eV angstrom over ASE's unit of time")
    given = parser.parse_args()
    atoms = ase.io.read(given.structure).repeat(given.repeat)
    atoms.calc = calculator = CartalgCalculator(given.run)
    rng, step = np.random.default_rng(given.seed), given.timestep * units.fs
    thermalize_momenta(atoms, 2 * given.temperature * units.kB, rng=rng)  # half of it becomes potential energy
    warm = Langevin(atoms, step, temperature_K=given.temperature, friction=0.01 / units.fs, rng=rng, fixcm=False)
    warm.run(given.equilibration)
    Stationary(atoms)
    fluxes, temperatures = [], []

    def sample() -> None:
        fluxes.append(calculator.get_heat_flux(atoms)[0])
        temperatures.append(atoms.get_temperature())

    dynamics = VelocityVerlet(atoms, step)
    dynamics.attach(sample, given.every)
    dynamics.run(given.steps)
    np.save(given.output, fluxes)
    temperature, volume = float(np.mean(temperatures)), atoms.get_volume()
    print(f"{len(atoms)} atoms, {temperature:.0f} K, {given.steps * given.timestep / 1000:g} ps")
    blocks = np.array_split(np.array(fluxes), given.blocks)
    shortest = min(map(len, blocks)) // 2
    found = np.array([integrals(b, given.every * step, volume, temperature)[:shortest] for b in blocks])
    mean, error = found.mean(0), found.std(0, ddof=1) / np.sqrt(len(found))
    for place in np.unique(np.geomspace(1, shortest - 1, 12).astype(int)):
        time = place * given.every * given.timestep / 1000
        print(f"to {time:8.3f} ps: {mean[place]:8.2f} +- {error[place]:.2f} W/(m K)")


if __name__ == "__main__":
    main()
