"""What a simulation can be told: keys of a YAML file and options of `cartalg md` alike."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

#: Keys that change nothing in the frames before: a run may be gone on with under others.
FREE = {
    "steps",
    "state_seconds",
    "guard",
    "guard_margin",
    "guard_data",
    "max_force",
    "max_deviation",
    "max_grade",
    "threads",
}


def _key(default: Any, description: str, **bounds: float) -> Any:
    """A key with its default, meaning and, as Pydantic calls them, bounds."""
    return field(default=default, metadata={"description": description, **bounds})


@dataclass(frozen=True)
class Simulation:
    """Molecular dynamics: ensemble, length, what is written, and when to stop.

    Raises:
        ValueError: If keys contradict each other.
    """

    ensemble: Literal["nve", "nvt", "npt"] = _key("nvt", "what is kept constant")
    temperature: float | None = _key(None, "in K; needed but for nve from a file with momenta", gt=0)
    pressure: float = _key(0.0, "in GPa, npt only")
    timestep: float = _key(0.5, "in fs", gt=0)
    steps: int = _key(10_000, "in all; a finished run goes on if given more", ge=1)
    seed: int = _key(0, "of velocities and of the thermostat's random numbers", ge=0)
    thermostat: Literal["langevin", "nose-hoover", "bussi"] = _key(
        "langevin", "of nvt: Langevin (BAOAB), a Nose-Hoover chain, or Bussi's velocity rescaling"
    )
    cell: Literal["isotropic", "full"] = _key(
        "isotropic", "how an npt cell moves (Martyna, Tobias, Klein): in volume, or in shape too"
    )
    thermostat_time: float = _key(100.0, "time constant in fs", gt=0)
    barostat_time: float = _key(1000.0, "time constant in fs", gt=0)
    frame: int = _key(-1, "of the structure file; -1 is its last")
    supercell: tuple[int, int, int] = _key((1, 1, 1), "copies along each cell vector")
    new_velocities: bool = _key(False, "draw velocities even if the file has momenta")
    frame_interval: int = _key(100, "steps from one frame of the trajectory to the next", ge=1)
    log_interval: int = _key(10, "steps from one line of the log to the next", ge=1)
    state_seconds: float = _key(10.0, "of work that a kill costs at most", ge=0)
    guard: bool = _key(True, "stop where the simulation leaves what the training data cover")
    guard_margin: float = _key(
        0.5, "how far beyond them it may go: a fraction of the largest force and of the energy range", ge=0
    )
    guard_data: str | None = _key(None, "labelled frames that say what is covered, if RUN does not")
    max_force: float | None = _key(None, "stop at a larger force, in eV/A, whatever was covered", gt=0)
    max_deviation: float | None = _key(
        None, "stop where forces are more uncertain, in eV/A; of a committee, else by guard_margin", gt=0
    )
    max_grade: float | None = _key(
        None, "stop at a larger extrapolation grade, 1 being the farthest atom of the data; else by guard_margin", gt=0
    )
    skin: float = _key(0.5, "of the neighbour list in A", ge=0)
    threads: int | None = _key(None, "by default as many as the structure has work for", ge=1)

    def __post_init__(self) -> None:
        if self.ensemble != "nve" and self.temperature is None:
            raise ValueError(f"{self.ensemble} needs a temperature (in K)")
        if self.pressure and self.ensemble != "npt":
            raise ValueError(f"a pressure is for ensemble npt, not {self.ensemble}")
        if min(self.supercell) < 1:
            raise ValueError("supercell must be three whole numbers from 1")

    @property
    def identifying(self) -> dict[str, Any]:
        """The keys that a simulation's frames depend on."""
        return {name: value for name, value in asdict(self).items() if name not in FREE}
