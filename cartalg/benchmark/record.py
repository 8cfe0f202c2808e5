"""What a result has to say beside its errors: versions, machine, hashes, time."""

import hashlib
import json
import os
import platform
import resource
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pooch

from cartalg import __version__
from cartalg.files import write_file

PACKAGES = ("torch", "numpy", "llvmlite", "ase", "vesin")


def versions() -> dict[str, str]:
    """Versions of this library, of Python, and of what computes."""
    found = {"cartalg": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system, and how busy it is; what cannot be had is left out."""
    found: dict[str, Any] = {"processor": _processor(), "cores": os.cpu_count(), "system": platform.platform()}
    try:
        found["memory_GiB"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
        found["load"] = [round(load, 2) for load in os.getloadavg()]
    except (ValueError, OSError, AttributeError):
        pass
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def hash_of(value: Any) -> str:
    """sha256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def hashes_of(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """sha256 of files, by name."""
    return {name: str(pooch.file_hash(str(folder / name))) for name in files}


def now() -> str:
    """The time, as results give it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def cpu_seconds() -> float:
    """CPU time of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


class Clock:
    """Time of a run that may be killed and gone on with: kept in a file, with what each epoch brought.

    Args:
        path: The file, of JSON.
        keep: Errors on the validation frames to record, as errors.json calls them.
        restart: Begin anew although there is one.
    """

    def __init__(self, path: Path, keep: Iterable[str], restart: bool = False) -> None:
        self.path, self.keep = path, [f"valid_{key}" for key in keep]
        stored = json.loads(path.read_text()) if path.is_file() and not restart else {}
        self.started: str = stored.get("started", now())
        self.before: dict[str, float] = stored.get("time", {"wall_s": 0.0, "cpu_s": 0.0})
        self.sessions: int = stored.get("sessions", 0) + 1
        self.curve: list[dict[str, float]] = stored.get("curve", [])
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()

    def time(self) -> dict[str, float]:
        """Wall-clock and CPU time so far, in seconds, of all sessions as far as they were recorded."""
        spent = {"wall_s": time.perf_counter() - self._wall, "cpu_s": cpu_seconds() - self._cpu}
        return {name: round(self.before[name] + value, 1) for name, value in spent.items()}

    def epoch(self, row: dict[str, float]) -> None:
        """Record an epoch: its number, the time, and the validation errors."""
        kept = {key: float(f"{row[key]:.5g}") for key in self.keep if key in row}
        # a run that was killed does its last epoch anew
        self.curve = [c for c in self.curve if c["epoch"] < row["epoch"]]
        self.curve.append({"epoch": row["epoch"], **self.time(), **kept})
        self.save()

    def save(self) -> None:
        """Write the file."""
        stored = {"started": self.started, "time": self.time(), "sessions": self.sessions, "curve": self.curve}
        write_file(self.path, json.dumps(stored) + "\n")


def thinned(curve: list[dict[str, float]], most: int = 60) -> list[dict[str, float]]:
    """At most so many epochs of a curve, evenly, the last among them."""
    if len(curve) <= most:
        return curve
    return [curve[round((n + 1) * len(curve) / most) - 1] for n in range(most)]
