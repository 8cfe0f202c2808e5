"""The table of benchmarks: which data, which settings, which errors, and what others published. Facts only.

Settings are the files of docs/examples, which this package holds as well, so that an installed one has them.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SETTINGS = Path(__file__).parent / "settings"
#: Lengths of a run: of about 20 minutes, as the example is, of about 3 hours, and only to see that it works.
LENGTHS = ("short", "example", "long", "quick")


@dataclass(frozen=True)
class Published:
    """Errors that others report on the same frames, or on the nearest that there are.

    Attributes:
        method: What was fitted.
        source: Where the figures stand.
        errors: Under the keys of errors.json, units in the keys.
        where: What they were measured on, if not on the same frames.
    """

    method: str
    source: str
    errors: dict[str, float]
    where: str = ""


@dataclass(frozen=True)
class Benchmark:
    """One row of the table.

    Attributes:
        title: What it is.
        dataset: Name of the data set, as `cartalg data list` has it.
        settings: Name of the file of settings.
        measure: Errors that stand for it, keys of errors.json: of the energy, then of the forces.
        epochs: Of a run that is not as long as the example, by its length; one epoch in `quick`.
        member: Part of the data set.
        by: Key of the frames to give errors by.
        published: What others reach.
    """

    title: str
    dataset: str
    settings: str
    measure: tuple[str, str]
    epochs: dict[str, int]
    member: str = ""
    by: str | None = None
    published: tuple[Published, ...] = field(default=())

    @property
    def file(self) -> Path:
        """The file of settings."""
        return SETTINGS / self.settings

    def changes(self, length: str, seed: int, threads: int) -> dict[str, Any]:
        """What a run of some length has otherwise than the file of settings: keys of `training`."""
        epochs = {**self.epochs, "quick": 1}
        changed: dict[str, Any] = {"epochs": epochs[length]} if length in epochs else {}
        return changed | ({"seed": seed} if seed else {}) | {"threads": threads}


RMSE = ("energy_rmse_meV", "forces_rmse_meV_per_A")
MAE = ("energy_mae_meV", "forces_mae_meV_per_A")
MAE_PER_ATOM = ("energy_per_atom_mae_meV_per_atom", "forces_mae_meV_per_A")
RMSE_PER_ATOM = ("energy_per_atom_rmse_meV_per_atom", "forces_rmse_meV_per_A")

_MACE = "Batatia et al., arXiv:2206.07697"
#: MAEs to two digits, as ACEsuit/ACEworkflows (GitHub), Zuo2020Benchmark, lists them beside its own fits.
_ZUO = "Zuo et al., J. Phys. Chem. A 124, 731 (2020), as listed in ACEsuit/ACEworkflows"


def _mace(measure: tuple[str, str], energy: float, forces: float, where: str = "") -> tuple[Published, ...]:
    return (Published("MACE, 256 channels", _MACE, dict(zip(measure, (energy, forces), strict=True)), where),)


def _zuo(**errors: tuple[float, float]) -> tuple[Published, ...]:
    return tuple(Published(name, _ZUO, dict(zip(MAE_PER_ATOM, found, strict=True))) for name, found in errors.items())


def _rmd17(molecule: str, energy: float, forces: float, epochs: dict[str, int]) -> Benchmark:
    published = _mace(MAE, energy, forces)
    title = f"rMD17 {molecule}, 950 + 50 frames"
    return Benchmark(title, "rmd17", f"rmd17_{molecule}.yaml", MAE, epochs, molecule, published=published)


BENCHMARKS: dict[str, Benchmark] = {
    "acetylacetone": Benchmark(
        title="acetylacetone, 450 + 50 frames, test at 300 K",
        dataset="acetylacetone",
        settings="acetylacetone.yaml",
        measure=RMSE,
        epochs={"short": 250, "long": 2000},
        published=_mace(RMSE, 0.9, 5.1),
    ),
    "3bpa": Benchmark(
        title="3BPA, 450 + 50 frames, validation at 300 K",
        dataset="3bpa",
        settings="3bpa.yaml",
        measure=RMSE,
        epochs={"short": 130, "long": 1100},
        published=_mace(RMSE, 3.0, 8.8, "its test set at 300 K"),
    ),
    "ethanol_botnet": Benchmark(
        title="ethanol of BOTNet, 950 + 50 frames, test_MD",
        dataset="ethanol_botnet",
        settings="ethanol_botnet.yaml",
        measure=MAE,
        epochs={"short": 500, "long": 4500},
        published=_mace(MAE, 0.4, 2.1, "other frames of the same simulation, rMD17"),
    ),
    "mlearn_li": Benchmark(
        title="Li of mlearn, 217 + 24 frames",
        dataset="mlearn",
        settings="mlearn_li.yaml",
        measure=MAE_PER_ATOM,
        epochs={"long": 1500},
        member="Li",
        by="group",
        published=_zuo(GAP=(0.49, 10), MTP=(0.49, 10)),
    ),
    "mlearn_si": Benchmark(
        title="Si of mlearn, 194 + 20 frames",
        dataset="mlearn",
        settings="mlearn_si.yaml",
        measure=MAE_PER_ATOM,
        epochs={"long": 1500},
        member="Si",
        by="group",
        published=_zuo(GAP=(2.91, 70), MTP=(2.21, 60)),
    ),
    "monbtaw": Benchmark(
        title="Mo-Nb-Ta-W with stress, 1,374 + 100 frames",
        dataset="monbtaw",
        settings="monbtaw.yaml",
        measure=RMSE_PER_ATOM,
        epochs={"short": 100, "long": 900},
        by="group",
    ),
    "rmd17_benzene": _rmd17("benzene", 0.4, 0.3, {"short": 80, "long": 700}),
    "rmd17_ethanol": _rmd17("ethanol", 0.4, 2.1, {"short": 150, "long": 1300}),
    "rmd17_malonaldehyde": _rmd17("malonaldehyde", 0.8, 4.1, {"short": 120, "long": 1100}),
    "rmd17_naphthalene": _rmd17("naphthalene", 0.5, 1.6, {"short": 50, "long": 450}),
    "rmd17_toluene": _rmd17("toluene", 0.5, 1.5, {"short": 60, "long": 550}),
}


def find(name: str) -> Benchmark:
    """The benchmark of that name. Raises LookupError if there is none."""
    if name not in BENCHMARKS:
        raise LookupError(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
