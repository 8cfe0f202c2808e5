"""A crystal or molecule in OpenMM: Langevin dynamics, at constant pressure if it is periodic.

python openmm_npt.py RUN STRUCTURE --temperature 300 --pressure 1 --steps 10000
"""

import argparse
import sys

import ase.io
from openmm import LangevinMiddleIntegrator, MonteCarloBarostat, Platform, unit
from openmm.app import Simulation, StateDataReporter

from cartalg.interfaces.openmm import create_system, from_ase


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a training run")
    parser.add_argument("structure", help="anything that ASE reads")
    parser.add_argument("--temperature", type=float, default=300.0, help="kelvin")
    parser.add_argument("--pressure", type=float, default=1.0, help="bar")
    parser.add_argument("--timestep", type=float, default=1.0, help="fs")
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--every", type=int, default=100, help="steps between lines")
    parser.add_argument("--platform", default="CPU", choices=["CPU", "Reference"])
    given = parser.parse_args()
    topology, positions = from_ase(ase.io.read(given.structure))
    system = create_system(given.run, topology)
    if system.usesPeriodicBoundaryConditions():
        system.addForce(MonteCarloBarostat(given.pressure * unit.bar, given.temperature * unit.kelvin))
    step = given.timestep * unit.femtosecond
    integrator = LangevinMiddleIntegrator(given.temperature * unit.kelvin, 1 / unit.picosecond, step)
    simulation = Simulation(topology, system, integrator, Platform.getPlatformByName(given.platform))
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(given.temperature * unit.kelvin)
    shown = {"potentialEnergy": True, "temperature": True, "volume": topology.getPeriodicBoxVectors() is not None}
    simulation.reporters.append(StateDataReporter(sys.stdout, given.every, step=True, speed=True, **shown))
    simulation.step(given.steps)


if __name__ == "__main__":
    main()
