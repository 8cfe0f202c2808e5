"""Data that ships with the library: made by the project, each set with the script that made it."""

from pathlib import Path


def dataset_folder(name: str = "acetamide") -> Path:
    """Folder of a shipped data set.

    Raises:
        LookupError: If there is no such set.
    """
    folder = Path(__file__).parent / name
    if not folder.is_dir():
        known = sorted(p.name for p in Path(__file__).parent.iterdir() if p.is_dir() and p.name[0] not in "_.")
        raise LookupError(f"no shipped data set {name!r}; there is {', '.join(known)}")
    return folder
