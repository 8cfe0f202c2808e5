"""`cartalg convert`: a MACE file to the folder of a run, and back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from cartalg.files import whole, write_file
from cartalg.interfaces.mace.back import double, to_mace
from cartalg.interfaces.mace.check import Difference, difference
from cartalg.interfaces.mace.convert import convert, head_number
from cartalg.interfaces.mace.source import NotConvertible, load_mace
from cartalg.model import Potential
from cartalg.train.checkpoint import CHECKPOINT_FILE, MODEL_FILE, load_model, save_model

#: The configuration's section of the model, as fine-tuning needs it.
CONFIG_FILE = "config.yaml"
#: Numbers of intervals of radial tables that are tried, until forces are as near as single precision is, or no nearer.
KNOTS = (128, 256, 512, 1024, 2048)
NEAR = 1e-6
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
    if (output / CHECKPOINT_FILE).exists():
        raise NotConvertible(f"{output} holds a training run; choose another --output")
    model = load_mace(path, trust)
    stored = next(model.parameters()).dtype
    with double():
        return _converted(model.double(), stored, path, output, head, dtype, direct)


@dataclass(frozen=True)
class BackConversion:
    """What was written.

    Attributes:
        exact: Difference of MACE's model to the potential in double precision, radial network on each edge.
        run: Difference to the potential as it is run: with its radial tables, in its precision.
    """

    exact: Difference
    run: Difference


def convert_back(run: Path, output: Path, dtype: Literal["float32", "float64"] | None = None) -> BackConversion:
    """Write a potential as a model of mace-torch, if its architecture allows, and compare the two before.

    Args:
        run: Model file or folder of a run.
        output: File to write, as `torch.save` does.
        dtype: Precision of the file; by default the potential's.
    Raises:
        FileNotFoundError, CheckpointError: As `load_model`.
        NotConvertible: If MACE has no equal of it.
    """
    if output.is_dir():
        raise NotConvertible(f"{output} is a folder; name the file to write, such as {output / 'mace.model'}")
    potential = load_model(run)
    reference = _with(potential, dtype="float64", radial_mode="direct")  # constants, too, in double precision
    try:
        model = to_mace(reference)
    except NotConvertible as error:
        raise NotConvertible(f"{run}: {error}") from None
    with double():
        found = BackConversion(difference(model, reference), difference(model, potential))
    if not max(found.exact.forces, found.exact.energy) <= ROUNDING[torch.float64]:
        raise NotConvertible(f"{run}: forces of MACE's model differ by {found.exact.forces:.1e}; nothing was written")
    with whole(output) as temporary:
        torch.save(model.to(getattr(torch, dtype or potential.config.dtype)), temporary)
    return found


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
    dtype = dtype or ("float32" if stored == torch.float32 else "float64")
    result: Conversion | None = None
    for knots in (None,) if direct else KNOTS:
        found = _with(reference if knots is None else convert(model, head, "table", knots), dtype=dtype)
        tried = Conversion(found, exact, difference(model, found, place))
        if result is not None and tried.written.forces >= result.written.forces:
            break  # slopes of finer tables are rounded to less: the last one stays
        result = tried
        if result.written.forces <= NEAR:
            break
    assert result is not None
    output.mkdir(parents=True, exist_ok=True)
    save_model(output / MODEL_FILE, result.potential, {"converted": {"from": path.name, "head": head}})
    section = {"model": result.potential.config.model_dump(mode="json", exclude_defaults=True)}
    write_file(output / CONFIG_FILE, yaml.safe_dump(section, sort_keys=False))
    return result


def _with(potential: Potential, **changes: str) -> Potential:
    """The same weights with other options."""
    description = potential.description()
    description["config"] |= changes
    found = Potential.from_description(description)
    found.load_state_dict(potential.state_dict())
    return found.eval()
