"""Architectures that every contract of the potential is tested on."""

#: Small enough for finite differences.
SMALL = {"channels": 4, "radial_hidden": (8,), "n_bessel": 4, "readout_hidden": 4, "cutoff": 3.5, "dtype": "float64"}
ARCHITECTURES = {
    "default": {},
    "one layer, rank 0": {"layers": 1, "hidden_rank": 0, "edge_rank": 1, "correlation": 1},
    "three layers": {"layers": 3, "hidden_rank": 1, "edge_rank": 1, "correlation": 2},
    "full parity": {"parity": "full", "hidden_rank": 1, "edge_rank": 1, "correlation": 3},
    "complete product": {"product": "complete", "hidden_rank": 1, "edge_rank": 1, "correlation": 3},
    "independent product": {"product": "independent", "hidden_rank": 1, "edge_rank": 1, "correlation": 4},
    "correlation 4": {"hidden_rank": 1, "edge_rank": 1, "correlation": 4},
    "ordered product": {"product": "ordered", "hidden_rank": 1, "edge_rank": 2, "correlation": 3},
    "latent product": {"latent_channels": 2, "hidden_rank": 1, "edge_rank": 2},
    "shared weights, gate and norm": {"element_weights": False, "gate": True, "norm": True, "hidden_rank": 2},
    "full parity, gate and norm": {"parity": "full", "gate": True, "norm": True, "hidden_rank": 1, "edge_rank": 1},
    "matrices of each element": {"residual": "matrices", "element_messages": 1, "product": "complete"},
    "element messages, three layers": {"element_messages": 3, "hidden_rank": 1, "edge_rank": 1, "layers": 3},
    "cutoff of the radial functions": {"envelope": "basis", "envelope_power": 5, "radial_hidden": (8, 8, 8)},
    "repulsion as of MACE": {"zbl": True, "zbl_form": "mace", "layers": 1, "correlation": 2},
    "summed messages": {"messages": "summed", "hidden_rank": 2, "edge_rank": 2},
    "summed messages, three layers": {"messages": "summed", "hidden_rank": 1, "edge_rank": 2, "layers": 3},
    "two-body, with repulsion": {"correlation": 1, "zbl": True},
    "Gaussians": {"radial_basis": "gaussian", "layers": 1, "correlation": 2},
    "Agnesi transform, density": {"distance_transform": "agnesi", "density": True, "edge_rank": 1, "correlation": 2},
    "Chebyshev polynomials of transformed distances": {
        "radial_basis": "chebyshev",
        "distance_transform": "agnesi",
        "layers": 1,
        "correlation": 2,
    },
    "soft transform, summed messages": {"distance_transform": "soft", "messages": "summed", "envelope": "basis"},
    "density in the frame of edges": {"density": True, "messages": "summed", "edge_rank": 1, "correlation": 2},
}
