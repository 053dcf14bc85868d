"""`harmonyrt synthesize`: a dataset of composites on disk."""


def synthesize() -> None:
    """Write a dataset of composites."""
