"""The architecture of a potential, as a configuration: every key checked."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cartalg.quantities import QUANTITIES, Quantity
from cartalg_codegen.specs import AlignedConvolutionSpec, ConvolutionSpec, EdgeSumSpec, ProductSpec, UnpackSpec

#: Names that a calculator's results have already.
TAKEN = {*(q.name for q in QUANTITIES), "energies", "free_energy"}


class TensorProperty(BaseModel):
    """A tensor that the model predicts beside the energy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="such as dipole; labels are read under REF_name or name"
    )
    tensor: str = Field(description="index symmetry: i a vector, ij=ji a symmetric matrix, ijk=ikj ..")
    per: Literal["frame", "atom"] = Field(
        "frame", description="one for the frame, a sum over its atoms, or one an atom"
    )
    key: str | None = Field(None, description="name of the label in the files, if it is another")

    @field_validator("tensor")
    @classmethod
    def _formula(cls, formula: str) -> str:
        from cartalg.symbolic.reducible import decompose

        return decompose(formula).formula

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in TAKEN:
            raise ValueError("is predicted anyway; choose another name")
        return name

    @property
    def order(self) -> int:
        """Number of indices."""
        return len(self.tensor.partition("=")[0])

    @property
    def quantity(self) -> Quantity:
        """Its row in the table of quantities: unit as in the files."""
        return Quantity(self.name, self.order, atomic=self.per == "atom", key=self.key)


Correlation = Annotated[int, Field(ge=1, le=4)]


class ModelConfig(BaseModel):
    """Architecture of a potential. Lengths in angstrom, energies in eV."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cutoff: float = Field(5.0, gt=0, description="neighbours are atoms closer than this, in angstrom")
    channels: int = Field(32, ge=1, description="channels of every feature")
    layers: int = Field(2, ge=1, description="message-passing layers")
    hidden_rank: int = Field(1, ge=0, description="highest rank of the features passed between layers")
    edge_rank: int = Field(2, ge=1, description="highest rank of the edge harmonics and of the product basis' input")
    correlation: Correlation | tuple[Correlation, ...] = Field(
        3, description="body order of the product basis: 1 to 4 factors; or a list, one for each layer"
    )
    parity: Literal["natural", "full"] = Field(
        "natural", description="irreps of natural parity only, or both parities of each rank"
    )
    product: Literal["limited", "complete", "independent", "ordered"] = Field(
        "limited",
        description="product basis: limited to the features' own irreps (the paper's symmetric product), complete, "
        "independent (what complete spans, with no term to spare), or with every order of the factors apart (the "
        "paper's full product)",
    )
    messages: Literal["paths", "summed"] = Field(
        "paths",
        description="paths of a convolution kept apart and mixed after the sum over neighbours, or summed on each "
        "edge, in the edge's own frame, at a cost like l^3; summed needs natural parity",
    )
    latent_channels: int | None = Field(None, ge=1, description="channels of the product basis; by default `channels`")
    element_weights: bool = Field(True, description="weights of the product basis for each element, or shared by all")
    residual: Literal["scales", "matrices"] = Field(
        "scales", description="each element's part in a layer's residual map: scales of its channels, or matrices"
    )
    element_messages: int = Field(
        0,
        ge=0,
        description="so many layers, from the first, mix their messages by matrices of the receiver's element and "
        "have no residual map",
    )
    gate: bool = Field(False, description="gate the features between layers by scalars")
    norm: bool = Field(False, description="normalise the features between layers over channels")
    zbl: bool = Field(
        True,
        description="the Ziegler-Biersack-Littmark repulsion of nuclei, where atoms are closer than data have them",
    )
    zbl_form: Literal["universal", "mace"] = Field(
        "universal", description="constants and switch of that repulsion: the universal potential, or as MACE has it"
    )
    radial_basis: Literal["bessel", "gaussian", "chebyshev"] = Field(
        "bessel",
        description="radial functions: Bessel, Gaussians, or Chebyshev polynomials of the distance as it is, which "
        "grow beyond 1 and so are for distance_transform: agnesi",
    )
    n_bessel: int = Field(8, ge=1, description="number of radial functions")
    radial_points: tuple[float, ...] | None = Field(
        None,
        description="frequencies of the Bessel functions in 1/angstrom, or centres of the Gaussians in angstrom; by "
        "default equidistant",
    )
    distance_transform: Literal["none", "agnesi", "soft"] = Field(
        "none",
        description="what the radial functions are of: the distance, or a transform of it by the covalent radii of the "
        "two elements; then each pair of elements in a frame has a radial table of its own",
    )
    agnesi: tuple[float, float, float] = Field((0.9183, 4.5791, 1.0805), description="q, p and a of that transform")
    soft: float = Field(4.0, gt=0, description="steepness alpha of that transform")
    density: bool = Field(
        False,
        description="divide messages by 1 + the sum of a learned density over neighbours, not by their mean number",
    )
    radial_hidden: tuple[int, ...] = Field((64, 64), min_length=1, description="widths of the radial network")
    envelope: Literal["weights", "basis"] = Field(
        "weights", description="where the smooth cutoff acts: on the radial weights, or on the radial functions"
    )
    envelope_power: int = Field(6, ge=3, description="power p of the smooth cutoff 1 - .. (r/cutoff)^p ..")
    knots: int = Field(64, ge=4, description="intervals of the radial spline table")
    radial_mode: Literal["table", "direct"] = Field("table", description="spline table, or the network on each edge")
    readouts: Literal["all", "inner", "last", "linear"] = Field(
        "all",
        description="linear ones of all layers and a network with biases of the last (all); a network without biases "
        "of the last layer, with linear ones of the inner layers (inner) or alone (last); linear ones alone (linear)",
    )
    readout_hidden: int = Field(16, ge=1, description="width of the network that reads the last layer")
    dtype: Literal["float32", "float64"] = Field("float32", description="precision of the model")
    properties: tuple[TensorProperty, ...] = Field((), description="tensors to predict beside the energy")
    kernels: str | None = Field(None, description="folder of a kernel set made by `cartalg generate`")

    @field_validator("radial_hidden")
    @classmethod
    def _positive(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if any(w < 1 for w in widths):
            raise ValueError("every width must be at least 1")
        return widths

    @field_validator("agnesi")
    @classmethod
    def _falling(cls, parameters: tuple[float, float, float]) -> tuple[float, float, float]:
        q, p, a = parameters
        if not (0 < q < p and a > 0):
            raise ValueError(f"agnesi must have 0 < q < p and a > 0, got q {q:g}, p {p:g}, a {a:g}")
        return parameters

    @model_validator(mode="after")
    def _points(self) -> "ModelConfig":
        if self.radial_basis == "gaussian" and self.n_bessel < 2:
            raise ValueError("radial_basis: gaussian needs n_bessel of at least 2")
        if self.radial_points is not None and self.radial_basis == "chebyshev":
            raise ValueError("radial_points are of Bessel functions or Gaussians; leave them out")
        if self.radial_points is not None and len(self.radial_points) != self.n_bessel:
            raise ValueError(f"radial_points lists {len(self.radial_points)} numbers, but n_bessel is {self.n_bessel}")
        return self

    @model_validator(mode="after")
    def _natural(self) -> "ModelConfig":
        if self.messages == "summed" and self.parity != "natural":
            raise ValueError("messages: summed needs parity: natural; for both parities use messages: paths")
        return self

    @model_validator(mode="after")
    def _one_each(self) -> "ModelConfig":
        if len(self.correlations) != self.layers:
            raise ValueError(f"correlation lists {len(self.correlations)} numbers, but there are {self.layers} layers")
        return self

    @property
    def correlations(self) -> tuple[int, ...]:
        """That of each layer."""
        return (self.correlation,) * self.layers if isinstance(self.correlation, int) else self.correlation

    @model_validator(mode="after")
    def _distinct(self) -> "ModelConfig":
        names = [p.name for p in self.properties]
        if len(set(names)) != len(names):
            raise ValueError(f"properties must have different names, got {', '.join(names)}")
        return self

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """All that the model predicts."""
        return (*QUANTITIES, *(p.quantity for p in self.properties))

    @property
    def _last_rank(self) -> int:
        """Highest rank that the last layer must give: of any part of a property."""
        irreps = [irrep for p in self.properties for irrep in UnpackSpec(p.tensor).irreps.irreps]
        return max((irrep.l for irrep in irreps), default=0)

    @field_validator("parity", mode="before")
    @classmethod
    def _renamed(cls, parity: str) -> str:
        return "natural" if parity == "even" else parity  # as files before version 0.2 call it

    def kernel_specs(self) -> list[tuple[EdgeSumSpec, ProductSpec]]:
        """The convolution and the product of each layer. Of scalars each output has one path anyway."""
        found: list[tuple[EdgeSumSpec, ProductSpec]] = []
        for layer in range(self.layers):
            scalar = layer == 0 or self.hidden_rank == 0
            out = self._last_rank if layer == self.layers - 1 else self.hidden_rank
            convolution: EdgeSumSpec = ConvolutionSpec(
                "natural" if scalar else self.parity, 0 if scalar else self.hidden_rank, self.edge_rank
            )
            if self.messages == "summed" and not scalar:
                convolution = AlignedConvolutionSpec(self.hidden_rank, self.edge_rank)
            product = ProductSpec(self.parity, self.product, self.edge_rank, out, self.correlations[layer])
            found.append((convolution, product))
        return found
