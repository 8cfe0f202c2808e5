"""Radial functions and transforms of distances: MACE's modules as options of an architecture, and back."""

from __future__ import annotations

from typing import Any

import torch
from ase.data import covalent_radii

from cartalg.architecture import ModelConfig
from cartalg.interfaces.mace.source import expect
from cartalg.nn.bases import regular_points

#: Kind of functions -> class of MACE's, and its array of frequencies or centres.
BASES = {
    "bessel": ("BesselBasis", "bessel_weights"),
    "gaussian": ("GaussianBasis", "gaussian_weights"),
    "chebyshev": ("ChebychevBasis", None),
}
#: Transform -> class of MACE's, the name that its constructor has for it, and its numbers.
TRANSFORMS = {
    "none": ("NoneType", "None", ()),
    "agnesi": ("AgnesiTransform", "Agnesi", ("q", "p", "a")),
    "soft": ("SoftTransform", "Soft", ("alpha",)),
}


def options_here(model: Any) -> dict[str, Any]:
    """The options of an architecture that a model's radial functions are. Raises NotConvertible if there are none."""
    radial, cutoff = model.radial_embedding, float(model.r_max)
    functions, transform = radial.bessel_fn, getattr(radial, "distance_transform", None)
    basis = next((name for name, (kind, _) in BASES.items() if kind == type(functions).__name__), None)
    expect(basis is not None, f"the radial basis {type(functions).__name__}")
    found: dict[str, Any] = {"radial_basis": basis, "n_bessel": int(radial.out_dim)}
    points = BASES[str(basis)][1]
    if points is not None:
        theirs = getattr(functions, points).detach().double().flatten()
        regular = theirs.new_tensor(regular_points(ModelConfig(cutoff=cutoff, **found)))
        if not torch.allclose(theirs, regular, rtol=1e-6, atol=1e-9):  # trained
            found["radial_points"] = tuple(theirs.tolist())
    name = next((n for n, (kind, *_) in TRANSFORMS.items() if kind == type(transform).__name__), None)
    expect(name is not None, f"the distance transform {type(transform).__name__}")
    if transform is not None:
        numbers = model.atomic_numbers.tolist()
        radii = transform.covalent_radii.double()[numbers]
        expect(torch.allclose(radii, radii.new_tensor(covalent_radii[numbers]), atol=1e-5), "other covalent radii")
        values = tuple(float(getattr(transform, key)) for key in TRANSFORMS[str(name)][2])
        expect(name != "agnesi" or (0 < values[0] < values[1] and values[2] > 0), f"an Agnesi transform of {values}")
        found |= {"distance_transform": name, str(name): values if len(values) > 1 else values[0]}
    return found


def options_there(config: ModelConfig) -> dict[str, Any]:
    """What MACE's class is made with."""
    return {
        "radial_type": config.radial_basis,
        "num_bessel": config.n_bessel,
        "distance_transform": TRANSFORMS[config.distance_transform][1],
    }


def set_constants(model: Any, config: ModelConfig) -> None:
    """Give a model of MACE's those numbers that its constructor does not take."""
    radial, points = model.radial_embedding, BASES[config.radial_basis][1]
    if points is not None and config.radial_points is not None:
        array = getattr(radial.bessel_fn, points)
        array.copy_(array.new_tensor(config.radial_points))
    values = {"agnesi": config.agnesi, "soft": (config.soft,), "none": ()}[config.distance_transform]
    for key, value in zip(TRANSFORMS[config.distance_transform][2], values, strict=True):
        getattr(radial.distance_transform, key).fill_(value)
