"""Get a named data set: official files, checked, converted, written whole. A failure leaves nothing behind."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ase.io
import pooch
from rich.progress import Progress

from cartalg import __version__
from cartalg.data.frames import DataError
from cartalg.datasets.convert import READERS
from cartalg.datasets.registry import SETS, NamedSet, Source
from cartalg.files import write_file

SOURCE_FILE = "SOURCE.json"


def get(
    name: str,
    target: Path,
    bar: Progress,
    members: Sequence[str] = (),
    folder: Path | None = None,
    split: int = 1,
    unchecked: bool = False,
) -> list[Path]:
    """Write a named data set as extended XYZ in eV and angstrom into a new folder.

    Args:
        name: A key of `registry.SETS`.
        target: The folder to make; it must not be there yet, or be empty.
        bar: Progress.
        members: Parts to get; by default all.
        folder: Take the official files, or files in final form, from here instead of the network.
        split: Which of the published splits, if there are several.
        unchecked: Accept files that no checksum is published for.
    Returns:
        The files written, one of them ``SOURCE.json``: addresses, checksums, licence, citation.
    Raises:
        LookupError: If there is no such set or member.
        FileExistsError: If the folder holds something.
        FileNotFoundError: If `folder` lacks files.
        DataError: If a file is not what it should be, or has no checksum and `unchecked` is not given.
        OSError: If an address cannot be reached.
    """
    about, chosen = _chosen(name, members)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} is there already; choose another folder, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".getting-") as temporary:
        raw, made = Path(temporary) / "raw", Path(temporary) / "made"
        raw.mkdir()
        made.mkdir()
        ready = _ready(about, chosen, folder) if folder else {}
        origin: dict[str, Any] = {}
        if ready:
            for file, path in ready.items():
                origin[file] = {"from": str(path.resolve()), "sha256": _verified(path, about.ready[file])}
                shutil.copyfile(path, made / file)
        else:
            for source in (s for s in about.sources if s.member in ("", *chosen)):
                path = _official(source, raw, folder, unchecked, bar)
                digest = pooch.file_hash(str(path))
                origin[source.name] = {"from": source.url, "sha256": digest, "checked": bool(source.sha256)}
                if about.form == "final":
                    shutil.copyfile(path, made / source.name)
                else:
                    _write(about, path, chosen, split, made, bar)
        _require(about, chosen, made, list(origin))
        facts = {
            "set": name,
            "title": about.title,
            "paper": about.paper,
            "licence": about.licence,
            "split": about.split,
            "files": origin,
            "obtained": datetime.now(UTC).isoformat(timespec="seconds"),
            "cartalg": __version__,
        }
        write_file(made / SOURCE_FILE, json.dumps(facts, indent=1) + "\n")
        made.chmod(0o755)
        made.replace(target)
    return sorted(target.iterdir())


def _chosen(name: str, members: Sequence[str]) -> tuple[NamedSet, tuple[str, ...]]:
    if name not in SETS:
        raise LookupError(f"no data set {name!r}; there are {', '.join(SETS)}")
    about = SETS[name]
    wrong = [m for m in members if m not in about.members]
    if wrong:
        parts = f"its parts are {', '.join(about.members)}" if about.members else "it has no parts"
        raise LookupError(f"{name} has no part {wrong[0]!r}; {parts}")
    return about, tuple(members) or about.members


def _ready(about: NamedSet, chosen: Sequence[str], folder: Path) -> dict[str, Path]:
    """Files in final form, if the folder has any of them and none that is official: then all must be there."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    if any((folder / s.name).exists() for s in about.sources) and about.form != "final":
        return {}
    wanted = [f for f in about.frames if about.member_of(f) in ("", *chosen) and f in about.ready]
    if not any((folder / f).is_file() for f in wanted):
        return {}
    lacking = [f for f in wanted if not (folder / f).is_file()]
    lacking += [m for m in chosen if not any(about.member_of(f) == m for f in wanted)]
    if lacking:
        choose = f"; choose parts with --only ({', '.join(about.members)})" if about.members else ""
        raise FileNotFoundError(f"{folder} lacks {', '.join(lacking)}{choose}")
    return {f: folder / f for f in wanted}


def _verified(path: Path, expected: str) -> str:
    digest = str(pooch.file_hash(str(path)))
    if expected and digest != expected:
        raise DataError(f"{path}: damaged or changed: its sha256 is {digest}, published is {expected}; get it anew")
    return digest


def _official(source: Source, raw: Path, folder: Path | None, unchecked: bool, bar: Progress) -> Path:
    """The official file, checked: from the folder, or from its address."""
    if not source.sha256 and not unchecked:
        raise DataError(
            f"{source.name}: its publisher gives no checksum, so it cannot be checked; to take it as it comes add "
            f"--unchecked (its sha256 is then kept in {SOURCE_FILE})"
        )
    if folder is not None:
        path = folder / source.name
        if not path.is_file():
            raise FileNotFoundError(f"{folder} has neither {source.name} (from {source.url}) nor files in final form")
    else:
        path = _downloaded(source, raw, bar)
    _verified(path, source.sha256)
    return path


class _DownloadBar:
    """A line of a rich progress bar with the interface that pooch asks for."""

    def __init__(self, bar: Progress, name: str) -> None:
        self.bar, self.task = bar, bar.add_task(f"downloading {name}", total=None, note="")

    @property
    def total(self) -> float | None:
        return self.bar.tasks[self.task].total

    @total.setter
    def total(self, size: int) -> None:
        self.bar.update(self.task, total=size or None)

    def update(self, count: int) -> None:
        self.bar.advance(self.task, count)

    def reset(self) -> None:
        self.bar.reset(self.task)

    def close(self) -> None:
        self.bar.remove_task(self.task)


def _downloaded(source: Source, raw: Path, bar: Progress) -> Path:
    pooch.get_logger().setLevel("WARNING")  # it would offer the checksum of what came as the one to trust
    downloader = pooch.HTTPDownloader(timeout=60, progressbar=_DownloadBar(bar, source.name))
    try:
        return Path(pooch.retrieve(source.url, None, fname=source.name, path=raw, downloader=downloader))
    except (OSError, ValueError) as error:
        raise OSError(
            f"{source.url} could not be had ({error}); try again, or get {source.name} by other means and give its "
            f"folder with --from"
        ) from error


def _write(about: NamedSet, path: Path, chosen: Sequence[str], split: int, made: Path, bar: Progress) -> None:
    """Convert one official file."""
    task = bar.add_task("writing", total=None, note="")
    for name, frames in READERS[about.form](path, chosen, split):
        with (made / name).open("w") as stream:
            for count, atoms in enumerate(frames, start=1):
                ase.io.write(stream, atoms, format="extxyz")
                if count % 100 == 0:
                    bar.update(task, note=f"{name} {count}", total=about.frames.get(name), completed=count)
    bar.remove_task(task)


def _require(about: NamedSet, chosen: Sequence[str], made: Path, sources: list[str]) -> None:
    """All files are there, with all their frames."""
    written = {p.name for p in made.iterdir()}
    if not written:
        raise DataError(f"{', '.join(sources)}: nothing was found in it")
    for name, expected in about.frames.items():
        if about.member_of(name) not in ("", *chosen):
            continue
        if name not in written:
            raise DataError(f"{', '.join(sources)}: gave no {name}; it gave {', '.join(sorted(written))}")
        count = sum(1 for _ in ase.io.iread(made / name, ":"))
        if count != expected:
            raise DataError(f"{name}: has {count} frames, should have {expected}; is the source complete?")
