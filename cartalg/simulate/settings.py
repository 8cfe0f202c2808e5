"""Options from a YAML file and a command line, checked."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import Field, create_model

from cartalg.simulate.options import Simulation
from cartalg.train.config import ConfigError, Section, parse_section, read_yaml

_HINTS = get_type_hints(Simulation)
_FIELDS: dict[str, Any] = {f.name: (_HINTS[f.name], Field(f.default, **f.metadata)) for f in fields(Simulation)}
#: The same keys, types and bounds, for Pydantic to check.
CHECKED = create_model("CheckedSimulation", __base__=Section, **_FIELDS)


def load_options(file: Path | None, given: Mapping[str, Any]) -> Simulation:
    """Options of a YAML file, if there is one, and over them those that are given.

    Raises:
        ConfigError: For a file that is no YAML, an unknown key (the nearest is named), a value of the wrong type or
            out of range, or keys that contradict each other.
    """
    values = (read_yaml(file) or {}) if file is not None else {}
    source = str(file) if file is not None else "options"
    if isinstance(values, dict):
        values |= {name: value for name, value in given.items() if value is not None}
    try:
        return Simulation(**parse_section(CHECKED, values, source).model_dump())
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
