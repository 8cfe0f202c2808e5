"""The training configuration: one YAML file, every key checked."""

import difflib
import math
import reprlib
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from cartalg.architecture import ModelConfig
from cartalg.quantities import QUANTITIES, Quantity


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key and what to do."""


class Section(BaseModel):
    """A part of a configuration: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Settings = TypeVar("Settings", bound=Section)


def _with_each(ending: str, annotation: Any, setting: Callable[[Quantity], Any]) -> Any:
    """A section with a key for each quantity of the table: energy_weight, forces_weight, .."""
    fields: dict[str, Any] = {f"{q.name}_{ending}": (annotation, setting(q)) for q in QUANTITIES}
    return create_model(f"WithEach{ending.capitalize()}", __base__=Section, **fields)


if TYPE_CHECKING:  # which sees only what is written out
    Keys = Section
    Weights = Section
    Changes = Section
else:
    Keys = _with_each("key", str | None, lambda q: Field(None, description=f"of the {q.name} in the files"))
    Weights = _with_each("weight", float, lambda q: Field(q.weight, ge=0, description=f"on {q.compared.title}"))
    Changes = _with_each("weight", float | None, lambda q: Field(None, ge=0))


class TrainingSet(Section):
    """One of several files to train on."""

    file: str
    count: int | None = Field(None, ge=1, description="use this many frames, drawn with the seed; by default all")
    weight: float = Field(1.0, gt=0, description="of each frame in the loss")


class ReplaySet(Section):
    """A second set, as a rule what the model to be fine-tuned was trained on, that it is to keep."""

    file: str
    fraction: float = Field(1.0, gt=0, description="frames of it in each epoch, drawn anew, for each frame of train")
    weight: float = Field(1.0, gt=0, description="of each of them in the loss")
    valid_count: int | None = Field(
        None, ge=1, description="so many of its frames, drawn with the seed, are validated on; by default a tenth"
    )


class DataConfig(Keys):
    """Where the frames are. Paths are relative to --data-dir, or else to the configuration file."""

    train: str | tuple[TrainingSet, ...] = Field(description="file of training frames, or several with their weights")
    valid: str | None = Field(None, description="file of validation frames; without one they are taken from `train`")
    test: str | None = Field(None, description="file of test frames, evaluated at the end")
    train_numbers: str | None = Field(None, description="text file of frame numbers in `train` to train on")
    valid_numbers: str | None = Field(None, description="text file of frame numbers in `train` to validate on")
    test_numbers: str | None = Field(None, description="text file of frame numbers in `test` to test on")
    train_count: int | None = Field(None, ge=1, description="train on this many frames, drawn with the seed")
    valid_count: int | None = Field(
        None, ge=1, description="validate on this many frames of `train`, drawn with the seed"
    )
    test_count: int | None = Field(None, ge=1, description="test on this many frames of `train`, drawn with the seed")
    replay: ReplaySet | None = Field(
        None, description="second set to fine-tune on: frames of it are drawn into each epoch; with training.start_from"
    )
    on_disk: bool = Field(
        False, description="leave frames in their files, which are indexed: for sets larger than memory"
    )
    isolated_atoms: str | None = Field(None, description="file of isolated atoms: their energies become the shifts")
    shifts: Literal["auto", "fit", "isolated"] = Field(
        "auto",
        description="energy of each element: of isolated atoms, fitted by least squares, or the first if given; of a "
        "model that is fine-tuned: moved to meet isolated atoms, moved by a fit to what its energies are off by, or as "
        "they are",
    )

    @model_validator(mode="after")
    def _one_validation_set(self) -> "DataConfig":
        given = [k for k in ("valid", "valid_numbers", "valid_count") if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of valid, valid_numbers, valid_count, not {' and '.join(given)}")
        if bool(self.train_numbers) and self.train_count is not None:
            raise ValueError("give train_numbers or train_count, not both")
        if self.test is not None and self.test_count is not None:
            raise ValueError("give test or test_count, not both")
        if self.test_count is not None and (self.valid or self.train_numbers):
            raise ValueError("test_count draws from train, as train_count and valid_count do; give these with it")
        if not isinstance(self.train, str):
            if not self.train:
                raise ValueError("train lists no file")
            if self.train_numbers or self.valid_numbers or self.train_count is not None:
                raise ValueError("with several files in train, give each its own count; train_numbers is for one file")
        return self

    @property
    def sets(self) -> tuple[TrainingSet, ...]:
        """The files to train on."""
        return (TrainingSet(file=self.train),) if isinstance(self.train, str) else self.train


class Stage(Changes):
    """Loss weights that change when an epoch has begun; what is not given stays."""

    epoch: int = Field(ge=1, description="first epoch of the stage, counted from 0")


class TrainingConfig(Weights):
    """How the model is trained. Loss: weighted means over energies per atom, force components and stress."""

    epochs: int = Field(100, ge=1)
    max_minutes: float | None = Field(
        None, gt=0, description="train for so long on the clock, whatever `epochs` says, with `schedule: constant`"
    )
    batch_size: int = Field(10, ge=1, description="frames a step")
    optimizer: Literal["soap", "adamw"] = Field(
        "soap", description="Adam in the eigenbasis of each matrix's gradients, or AdamW (learning_rate about 0.01)"
    )
    soap_frequency: int = Field(20, ge=1, description="steps from one update of SOAP's eigenbases to the next")
    soap_max_size: int = Field(1024, ge=1, description="SOAP leaves dimensions larger than this as they are")
    learning_rate: float = Field(0.03, gt=0)
    final_learning_rate: float = Field(0.01, gt=0, le=1, description="at the end, as a fraction of learning_rate")
    schedule: Literal["cosine", "constant"] | None = Field(
        None,
        description="of the learning rate: half a cosine, or constant and then falling in a straight line; by default "
        "the former, with max_minutes the latter",
    )
    decay: float = Field(0.4, gt=0, le=1, description="part of the run in which `schedule: constant` falls")
    warmup_epochs: float = Field(1.0, ge=0)
    weight_decay: float = Field(1e-6, ge=0)
    ema_decay: float = Field(0.995, ge=0, lt=1, description="exponential moving average of the weights; 0 turns it off")
    clip_norm: float = Field(10.0, gt=0, description="largest gradient norm")
    loss: Literal["mse", "mae", "huber"] = Field("mse", description="squares, magnitudes, or squares up to huber_delta")
    huber_delta: float = Field(0.01, gt=0, description="in eV/atom, eV/A and eV/A^3")
    property_weights: dict[str, float] = Field({}, description="on each tensor property, by name; 1 if not given")
    stages: tuple[Stage, ...] = Field((), description="other loss weights from some epoch on")
    early_stopping: int | None = Field(None, ge=1, description="stop after so many epochs without a better model")
    start_from: str | None = Field(None, description="model file or run to fine-tune, in place of random weights")
    committee: int = Field(1, ge=1, description="train so many models that differ in their seed, for uncertainties")
    seed: int = 0
    threads: int | None = Field(
        None, ge=1, description="CPU threads; by default as many as a batch has work for, 1 for a few small molecules"
    )

    @model_validator(mode="after")
    def _something_to_learn(self) -> "TrainingConfig":
        if any(weight < 0 for weight in self.property_weights.values()):
            raise ValueError("property_weights must not be negative")
        if self.max_minutes is not None and self.schedule == "cosine":
            raise ValueError("max_minutes has no last epoch that a cosine could end at; leave out schedule: cosine")
        starts, last = [stage.epoch for stage in self.stages], math.inf if self.max_minutes else self.epochs
        if starts != sorted(set(starts)) or any(start >= last for start in starts):
            raise ValueError(
                f"stages must begin one after the other, before epoch {self.epochs}; they begin at {starts}"
            )
        return self

    def weights_at(self, epoch: int, quantities: tuple[Quantity, ...]) -> dict[Quantity, float]:
        """Weight of each quantity in the loss at an epoch, counted from 0."""
        weights, reached = {}, [self, *(stage for stage in self.stages if stage.epoch <= epoch)]
        for quantity in quantities:
            given = [getattr(section, f"{quantity.name}_weight", None) for section in reached]
            weights[quantity] = self.property_weights.get(quantity.name, quantity.weight)
            weights[quantity] = next((w for w in reversed(given) if w is not None), weights[quantity])
        return weights


class Config(Section):
    """A whole training run."""

    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _something_to_learn(self) -> "Config":
        names = [p.name for p in self.model.properties]
        unknown = [name for name in self.training.property_weights if name not in names]
        if unknown:
            raise ValueError(f"training.property_weights names {unknown[0]}, which is not in model.properties")
        if self.data.replay and self.training.start_from is None:
            raise ValueError("data.replay is for fine-tuning: name a model as training.start_from")
        if not self.learned:
            weights = ", ".join(f"{q.name}_weight" for q in QUANTITIES)
            raise ValueError(f"at least one of {weights} must be above 0")
        return self

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """All labels of the run with their keys in the files."""
        keys = {q.name: getattr(self.data, f"{q.name}_key") for q in QUANTITIES}
        return tuple(replace(q, key=keys.get(q.name) or q.key) for q in self.model.quantities)

    @property
    def learned(self) -> tuple[Quantity, ...]:
        """The quantities that are in the loss at any epoch."""
        starts = (0, *(stage.epoch for stage in self.training.stages))
        weights = [self.weights_at(epoch) for epoch in starts]
        return tuple(q for q in self.quantities if any(w[q] for w in weights))

    def weights_at(self, epoch: int) -> dict[Quantity, float]:
        """Weight of each quantity in the loss at an epoch, counted from 0."""
        return self.training.weights_at(epoch, self.quantities)


def load_config(path: str | Path) -> Config:
    """Read and check a YAML configuration.

    Raises:
        ConfigError: If the file is missing or no YAML, a key is unknown (the nearest valid one is named), or a value
            has the wrong type or range.
    """
    return parse_config(read_yaml(path), str(path))


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds. Raises ConfigError if it cannot be read or is no YAML."""
    try:
        return yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error


def parse_config(values: Any, source: str) -> Config:
    """Check a configuration given as a mapping. Raises ConfigError as `load_config` does."""
    return parse_section(Config, values, source)


def parse_section(section: type[Settings], values: Any, source: str) -> Settings:
    """Check a mapping that stands for a section. Raises ConfigError as `load_config` does."""
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: a configuration is a mapping with the keys {', '.join(section.model_fields)}")
    try:
        return section.model_validate(values, strict=False)
    except ValidationError as error:
        problems = [_explain(section, item) for item in error.errors()]
        raise ConfigError(f"{source}: " + "; ".join(problems)) from None


def _model_in(annotation: Any) -> Any:
    """The section that a key holds, also in a list or beside other types."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def _explain(section: Any, item: Any) -> str:
    """One validation problem of a section as a sentence."""
    place = ".".join(map(str, item["loc"])) or "configuration"
    if item["type"] == "extra_forbidden":
        for name in item["loc"][:-1]:
            if name in section.model_fields:  # else a place in a list, or the kind of its entries
                section = _model_in(section.model_fields[name].annotation)
        valid = list(section.model_fields)
        near = difflib.get_close_matches(str(item["loc"][-1]), valid, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"valid keys are {', '.join(valid)}"
        return f"unknown key {place}; {hint}"
    if item["type"] == "missing":
        return f"missing key {place}"
    return f"{place}: {item['msg']}, got {reprlib.repr(item['input'])}"


def differing_keys(old: Any, new: Any, place: str = "") -> list[str]:
    """Dotted names of configuration entries that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted({*old, *new})
        return [d for n in names for d in differing_keys(old.get(n), new.get(n), f"{place}.{n}".strip("."))]
    return [] if old == new else [place]
