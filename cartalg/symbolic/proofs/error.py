"""What a proof raises."""


class ProofError(AssertionError):
    """A rule that does not hold."""


def require(condition: bool, what: str) -> None:
    """Raise `ProofError` with what failed unless the condition holds."""
    if not condition:
        raise ProofError(what)
