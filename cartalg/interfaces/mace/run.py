"""`cartalg convert`: a MACE file to the folder of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from cartalg.files import write_file
from cartalg.interfaces.mace.check import Difference, difference
from cartalg.interfaces.mace.convert import convert, head_number
from cartalg.interfaces.mace.source import NotConvertible, load_mace
from cartalg.model import Potential
from cartalg.train.checkpoint import MODEL_FILE, save_model

#: The configuration's section of the model, as fine-tuning needs it.
CONFIG_FILE = "config.yaml"
#: Numbers of intervals of radial tables that are tried, until forces are as near as single precision is.
KNOTS = (128, 256, 512, 1024, 2048)
NEAR = 5e-6
#: What rounding of the file's own constants may do, by its precision.
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        potential: As it is in the folder.
        exact: Difference to MACE in double precision with the radial network on each edge.
        written: Difference of what was written to MACE in double precision.
    """

    potential: Potential
    exact: Difference
    written: Difference


def convert_file(
    path: Path,
    output: Path,
    trust: bool,
    head: str | None = None,
    dtype: Literal["float32", "float64"] | None = None,
    direct: bool = False,
) -> Conversion:
    """Convert a file of mace-torch, compare the two models, and write the folder of a run.

    Args:
        path: A model of mace-torch.
        output: Folder to write to.
        trust: Whether reading the file may run the code that it names.
        head: Which head, where there are several.
        dtype: Precision of the potential; by default the file's.
        direct: Keep the radial network instead of a table: exact, and slow.
    Raises:
        FileNotFoundError, NotConvertible: If there is no such file, or nothing equal to what it holds.
    """
    model = load_mace(path, trust)
    stored = next(model.parameters()).dtype
    model = model.double()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # MACE makes constants in it
    try:
        return _converted(model, stored, path, output, head, dtype, direct)
    finally:
        torch.set_default_dtype(before)


def _converted(
    model: Any,
    stored: torch.dtype,
    path: Path,
    output: Path,
    head: str | None,
    dtype: Literal["float32", "float64"] | None,
    direct: bool,
) -> Conversion:
    place = head_number(model, head)
    reference = convert(model, head, "direct")
    exact = difference(model, reference, place)
    limit = ROUNDING.get(stored, 0.0)
    if not max(exact.forces, exact.energy) <= limit:
        raise NotConvertible(
            f"{path}: forces of the converted model differ by {exact.forces:.1e}, energies by {exact.energy:.1e} eV: "
            "the file holds something that this version does not know; nothing was written"
        )
    found = reference
    for knots in () if direct else KNOTS:
        found = convert(model, head, "table", knots)
        if difference(model, found, place).forces <= NEAR:
            break
    found = _in_precision(found, dtype or ("float32" if stored == torch.float32 else "float64"))
    result = Conversion(found, exact, difference(model, found, place))
    output.mkdir(parents=True, exist_ok=True)
    save_model(output / MODEL_FILE, found, {"converted": {"from": path.name, "head": head}})
    section = {"model": found.config.model_dump(mode="json", exclude_defaults=True)}
    write_file(output / CONFIG_FILE, yaml.safe_dump(section, sort_keys=False))
    return result


def _in_precision(potential: Potential, dtype: str) -> Potential:
    description = potential.description()
    description["config"]["dtype"] = dtype
    found = Potential.from_description(description)
    found.load_state_dict(potential.state_dict())
    return found.eval()
