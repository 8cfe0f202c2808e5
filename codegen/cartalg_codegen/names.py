"""Names of kernels that are made from an index formula: the one rule, for the generator and for those who ask."""


def encoded(formula: str) -> str:
    """An index formula as part of a kernel name: ij=ji is ij_ji, ij=-ji is ij_Mji."""
    return formula.replace("=", "_").replace("-", "M")


def decoded(text: str) -> str:
    """The index formula that `encoded` made a part of a name of."""
    return text.replace("_", "=").replace("M", "-")


def tensor_kernel_name(kind: str, formula: str) -> str:
    """File name of a kernel that packs (``"pack"``) or unpacks (``"unpack"``) tensors of an index symmetry."""
    return f"{kind}_{encoded(formula)}"
