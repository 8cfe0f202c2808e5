"""The training configuration: one YAML file, every key checked."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cartalg.architecture import ModelConfig
from cartalg.data.frames import Keys, TensorLabel


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key and what to do."""


class TrainingSet(BaseModel):
    """One of several files to train on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    count: int | None = Field(None, ge=1, description="use this many frames, drawn with the seed; by default all")
    weight: float = Field(1.0, gt=0, description="of each frame in the loss")


class DataConfig(BaseModel):
    """Where the frames are. Paths are relative to --data-dir, or else to the configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    on_disk: bool = Field(
        False, description="leave frames in their files, which are indexed: for sets larger than memory"
    )
    isolated_atoms: str | None = Field(None, description="file of isolated atoms: their energies become the shifts")
    shifts: Literal["auto", "fit", "isolated"] = Field(
        "auto", description="energy of each element: of isolated atoms, fitted by least squares, or the first if given"
    )
    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None

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


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms at one epoch."""

    energy: float
    forces: float
    stress: float


class Stage(BaseModel):
    """Loss weights that change when an epoch has begun; what is not given stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int = Field(ge=1, description="first epoch of the stage, counted from 0")
    energy_weight: float | None = Field(None, ge=0)
    forces_weight: float | None = Field(None, ge=0)
    stress_weight: float | None = Field(None, ge=0)


class TrainingConfig(BaseModel):
    """How the model is trained. Loss: weighted means over energies per atom, force components and stress."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(10, ge=1, description="frames a step")
    optimizer: Literal["soap", "adamw"] = Field(
        "soap", description="Adam in the eigenbasis of each matrix's gradients, or AdamW (learning_rate about 0.01)"
    )
    soap_frequency: int = Field(10, ge=1, description="steps from one update of SOAP's eigenbases to the next")
    soap_max_size: int = Field(1024, ge=1, description="SOAP leaves dimensions larger than this as they are")
    learning_rate: float = Field(0.03, gt=0)
    final_learning_rate: float = Field(0.01, gt=0, le=1, description="at the end, as a fraction of learning_rate")
    warmup_epochs: float = Field(1.0, ge=0)
    weight_decay: float = Field(1e-6, ge=0)
    ema_decay: float = Field(0.995, ge=0, lt=1, description="exponential moving average of the weights; 0 turns it off")
    clip_norm: float = Field(10.0, gt=0, description="largest gradient norm")
    loss: Literal["mse", "mae", "huber"] = Field("mse", description="squares, magnitudes, or squares up to huber_delta")
    huber_delta: float = Field(0.01, gt=0, description="in eV/atom, eV/A and eV/A^3")
    energy_weight: float = Field(1.0, ge=0, description="on energies per atom")
    forces_weight: float = Field(10.0, ge=0, description="on force components")
    stress_weight: float = Field(0.0, ge=0, description="on stress components")
    property_weights: dict[str, float] = Field({}, description="on each tensor property, by name; 1 if not given")
    stages: tuple[Stage, ...] = Field((), description="other loss weights from some epoch on")
    early_stopping: int | None = Field(None, ge=1, description="stop after so many epochs without a better model")
    start_from: str | None = Field(None, description="model file or run to fine-tune, in place of random weights")
    committee: int = Field(1, ge=1, description="train so many models that differ in their seed, for uncertainties")
    seed: int = 0
    threads: int = Field(1, ge=1, description="CPU threads; 1 is fastest for batches of a few small molecules")

    @model_validator(mode="after")
    def _something_to_learn(self) -> "TrainingConfig":
        if any(weight < 0 for weight in self.property_weights.values()):
            raise ValueError("property_weights must not be negative")
        starts = [stage.epoch for stage in self.stages]
        if starts != sorted(set(starts)) or any(start >= self.epochs for start in starts):
            raise ValueError(
                f"stages must begin one after the other, before epoch {self.epochs}; they begin at {starts}"
            )
        return self

    def weights_at(self, epoch: int) -> LossWeights:
        """Loss weights of an epoch, counted from 0."""
        now = {"energy": self.energy_weight, "forces": self.forces_weight, "stress": self.stress_weight}
        for stage in self.stages:
            if stage.epoch <= epoch:
                given = {name: getattr(stage, f"{name}_weight") for name in now}
                now |= {name: value for name, value in given.items() if value is not None}
        return LossWeights(**now)

    @property
    def learns(self) -> tuple[bool, bool, bool]:
        """Whether energies, forces and stresses are in the loss at any epoch."""
        every = [self.weights_at(epoch) for epoch in (0, *(stage.epoch for stage in self.stages))]
        return any(w.energy for w in every), any(w.forces for w in every), any(w.stress for w in every)


def tensor_labels(model: ModelConfig) -> tuple[TensorLabel, ...]:
    """The labels of the tensors that a model predicts."""
    return tuple(TensorLabel(p.name, p.order, p.per == "atom", p.key) for p in model.properties)


class Config(BaseModel):
    """A whole training run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _something_to_learn(self) -> "Config":
        names, weights = [p.name for p in self.model.properties], self.training.property_weights
        unknown = [name for name in weights if name not in names]
        if unknown:
            raise ValueError(f"training.property_weights names {unknown[0]}, which is not in model.properties")
        if not any(self.training.learns) and not any(weights.get(name, 1) for name in names):
            raise ValueError("at least one of energy_weight, forces_weight, stress_weight must be above 0")
        return self

    @property
    def keys(self) -> Keys:
        """Names of all labels in the files."""
        data = self.data
        return Keys(data.energy_key, data.forces_key, data.stress_key, tensor_labels(self.model))


def load_config(path: str | Path) -> Config:
    """Read and check a YAML configuration.

    Raises:
        ConfigError: If the file is missing or no YAML, a key is unknown (the nearest valid one is named), or a value
            has the wrong type or range.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    return parse_config(values, str(path))


def parse_config(values: Any, source: str) -> Config:
    """Check a configuration given as a mapping. Raises ConfigError as `load_config` does."""
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: a configuration is a mapping with the keys {', '.join(Config.model_fields)}")
    try:
        return Config.model_validate(values, strict=False)
    except ValidationError as error:
        problems = [_explain(item) for item in error.errors()]
        raise ConfigError(f"{source}: " + "; ".join(problems)) from None


def _model_in(annotation: Any) -> Any:
    """The section that a key holds, also in a list or beside other types."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def _explain(item: Any) -> str:
    """One validation problem as a sentence."""
    place = ".".join(map(str, item["loc"])) or "configuration"
    if item["type"] == "extra_forbidden":
        section: Any = Config
        for name in item["loc"][:-1]:
            if name in section.model_fields:  # else a place in a list, or the kind of its entries
                section = _model_in(section.model_fields[name].annotation)
        valid = list(section.model_fields)
        near = difflib.get_close_matches(str(item["loc"][-1]), valid, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"valid keys are {', '.join(valid)}"
        return f"unknown key {place}; {hint}"
    if item["type"] == "missing":
        return f"missing key {place}"
    return f"{place}: {item['msg']}, got {item['input']!r}"
