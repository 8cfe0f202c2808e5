"""The table of quantities: what frames are labelled with and a potential predicts.

Reading of frames, batches, loss, validation, errors, plots, configuration keys, command-line options and tables, and
the ASE calculator read this table and know no quantity by name. A new kind of label is a row here and a field of
`cartalg.model.Prediction`. The tensors that a model has heads for are rows as well, made from its configuration:
`cartalg.architecture.ModelConfig.quantities` is the whole table of a model.

Plain data: nothing is imported, so that a command line without Torch can read it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from types import EllipsisType
from typing import Any


@dataclass(frozen=True)
class Unit:
    """The unit of values, and the one that their errors are reported in.

    Attributes:
        name: Of labels and predictions, such as ``"eV/A"``.
        report: Of errors, such as ``"meV/A"``.
        factor: Errors in `report` are this many times those in `name`.
    """

    name: str
    report: str
    factor: float

    @property
    def suffix(self) -> str:
        """The report's unit as keys end with it: ``"meV_per_A3"``."""
        return self.report.replace("/", "_per_").replace("^", "")

    @property
    def per_atom(self) -> "Unit":
        """The unit of values divided by the number of atoms."""
        return Unit(f"{self.name}/atom", f"{self.report}/atom", self.factor)


@dataclass(frozen=True)
class Report:
    """A quantity as errors are given of it: whole, or divided by the number of atoms.

    Attributes:
        name: How its keys begin, such as ``"energy_per_atom"``.
        unit: None if labels are in whatever unit the files have.
        per_atom: Whether values are divided by the number of atoms.
    """

    name: str
    unit: Unit | None
    per_atom: bool = False

    @property
    def title(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    def key(self, measure: str) -> str:
        """Key of an error in metrics.csv and JSON, its unit included: ``"forces_rmse_meV_per_A"``."""
        return f"{self.name}_{measure}_{self.unit.suffix}" if self.unit else f"{self.name}_{measure}"

    @property
    def headline(self) -> tuple[str, str]:
        """(key, unit) of the error that is shown where there is room for one: RMSE, in percent if there is no unit."""
        return (self.key("rmse"), self.unit.report) if self.unit else (self.key("relative_rmse_percent"), "%")


@dataclass(frozen=True)
class Quantity:
    """One row of the table.

    Attributes:
        name: Labels are looked for under REF_name, then name, then among the results of an attached calculator.
        order: Number of Cartesian indices: labels have the shape [rows, 3, ..].
        atomic: Whether each atom has one (rows = atoms), or each frame (rows = 1).
        unit: None: that of the files, not known here; errors are then given relative to the spread as well.
        per_atom: Whether what the loss and pictures compare is the value divided by the number of atoms.
        per_volume: Whether a prediction is divided by the cell's volume; the cell must then be periodic.
        symmetric: Whether two indices are equivalent: ASE has six numbers (xx yy zz yz xz xy), errors count six.
        field: Field of `cartalg.model.Prediction` that holds it, also the keyword that asks the model for it.
        every_frame: Whether every frame of a training set must have it, or only some.
        weight: In the loss, where the configuration gives none.
        key: Its key in the files, if it has none of the usual ones.
    """

    name: str
    order: int = 0
    atomic: bool = False
    unit: Unit | None = None
    per_atom: bool = False
    per_volume: bool = False
    symmetric: bool = False
    field: str = "properties"
    every_frame: bool = False
    weight: float = 1.0
    key: str | None = None

    def shape(self, atoms: int) -> tuple[int, ...]:
        """Shape of the label of a frame with so many atoms."""
        return (atoms if self.atomic else 1, *[3] * self.order)

    @property
    def compared(self) -> Report:
        """What the loss, pictures and short notes are of."""
        return self.reports[-1]

    @property
    def reports(self) -> tuple[Report, ...]:
        """All that errors are given of."""
        whole = Report(self.name, self.unit)
        if not self.per_atom:
            return (whole,)
        return whole, Report(f"{self.name}_per_atom", self.unit and self.unit.per_atom, per_atom=True)

    @property
    def remedy(self) -> str:
        """What to do in a configuration if a label is missing."""
        if self.field == "properties":
            return "name the key with `key` in model.properties, or set its weight in training.property_weights to 0"
        return f"name the key with data.{self.name}_key, or set training.{self.name}_weight to 0"

    def rows(self, frames: Any, graph: Any) -> Any:
        """The rows [rows] of a batch that belong to frames, both as masks."""
        return frames[graph.frame] if self.atomic else frames

    def predicted(self, prediction: Any, graph: Any, rows: Any | EllipsisType = ...) -> Any:
        """Rows of a prediction, a tensor [rows, 3, ..] in the labels' unit; None if the model does not give it.

        Args:
            prediction: A `cartalg.model.Prediction`.
            graph: The batch.
            rows: Mask or numbers of the rows wanted; by default all.
        """
        values = getattr(prediction, self.field)
        if isinstance(values, dict):
            values = values.get(self.name)
        if values is None:
            return None
        values = values[rows]
        return values / graph.volume[rows].reshape(-1, *[1] * self.order) if self.per_volume else values


QUANTITIES = (
    Quantity("energy", 0, unit=Unit("eV", "meV", 1e3), per_atom=True, field="energy", every_frame=True),
    Quantity("forces", 1, atomic=True, unit=Unit("eV/A", "meV/A", 1e3), field="forces", every_frame=True, weight=10.0),
    Quantity(
        "stress", 2, unit=Unit("eV/A^3", "meV/A^3", 1e3), per_volume=True, symmetric=True, field="virial", weight=0.0
    ),
)


def request(wanted: Iterable[Quantity]) -> dict[str, bool]:
    """Keywords of the model's call that ask for these quantities and no others; the energy is always there."""
    asked = {quantity.field for quantity in wanted}
    return {field: field in asked for field in ("properties", *(q.field for q in QUANTITIES)) if field != "energy"}


def find(name: str, quantities: Iterable[Quantity] = QUANTITIES) -> Quantity:
    """The row of that name. Raises LookupError if there is none."""
    for quantity in quantities:
        if quantity.name == name:
            return quantity
    raise LookupError(f"no quantity {name!r}; there are {', '.join(q.name for q in quantities)}")
