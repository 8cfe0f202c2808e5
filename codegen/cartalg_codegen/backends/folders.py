"""Where the library keeps what it makes for itself: compiled kernels, and kernels emitted on request."""

import os
from pathlib import Path

from platformdirs import user_cache_path

CACHE_VARIABLE = "CARTALG_CACHE_DIR"


def cache_root() -> Path:
    """$CARTALG_CACHE_DIR, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("cartalg")


def is_trusted(place: Path) -> bool:
    """Whether nobody but the user, and root, could have written what is there. Raises OSError if nothing is."""
    about = place.stat()
    return about.st_uid in (os.getuid(), 0) and not about.st_mode & 0o022
