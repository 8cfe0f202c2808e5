"""Model files and checkpoints: one safetensors file each, its description as JSON in the header. Nothing is unpickled.

A file is written whole: what is there was never half of one.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cartalg.files import whole
from cartalg.model import Potential
from cartalg.ops.kernel_sets import KernelNotFound, accept

MODEL_FILE = "model.safetensors"
CHECKPOINT_FILE = "checkpoint.safetensors"
MEMBER = "member-"
HEADER, DIGEST = "cartalg", "sha256"
FORMAT = 1


class CheckpointError(ValueError):
    """A model file or checkpoint that cannot be used."""


def write_tensors(path: Path, tensors: dict[str, Tensor], description: dict[str, Any], lasting: bool = False) -> None:
    """Write tensors and a JSON description, whole; `lasting` as of `cartalg.files.whole`."""
    content = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    text = json.dumps({"format": FORMAT, **description})
    stored = _in_order(save(content, {HEADER: text, DIGEST: digest(content, text)}))
    with whole(path, lasting) as temporary:
        temporary.write_bytes(stored)


def _in_order(stored: bytes) -> bytes:
    """A file with its metadata sorted: safetensors draws their order by chance, and equal content is an equal file."""
    end = 8 + int.from_bytes(stored[:8], "little")
    header = json.loads(stored[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return stored[:8] + text.ljust(end - 8) + stored[end:]


def digest(tensors: dict[str, Tensor], text: str) -> str:
    """The sha256 of tensors, with names, types and shapes, and of a text."""
    found = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().numpy().data)
    return found.hexdigest()


def fingerprint(model: Potential) -> str:
    """SHA-256 of a model's description and weights, hexadecimal: the same however its file is written."""
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    return digest(weights, json.dumps(model.description(), sort_keys=True))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, or was not written by cartalg.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file: {error}") from error
    if HEADER not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not written by cartalg")
    # files of older versions have no digest, and nothing in its place
    if metadata.keys() - {HEADER, DIGEST} or metadata.get(DIGEST) not in (None, digest(tensors, metadata[HEADER])):
        raise CheckpointError(f"{path}: damaged: not what was written, by its sha256; get it anew")
    try:
        description = json.loads(metadata[HEADER])
        known = description.get("format")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: damaged: its description is no JSON: {error}") from error
    if known != FORMAT:
        raise CheckpointError(f"{path}: format {known}, this version of cartalg reads {FORMAT}")
    return tensors, description


def save_model(path: Path, model: Potential, extra: dict[str, Any] | None = None) -> None:
    """Write a potential to one file."""
    write_tensors(path, model.state_dict(), {"model": model.description(), **(extra or {})})


def load_committee(path: str | Path, backend: str = "auto", trust_kernels: bool = False) -> list[Potential]:
    """The models of a committee's run (its folders member-0, member-1, ..), or the one model of any other.

    Raises:
        FileNotFoundError, CheckpointError, UntrustedKernels: As `load_model`.
    """
    return [load_model(member, backend, trust_kernels) for member in members(path)]


def members(path: str | Path) -> list[Path]:
    """Folders of a committee's members; of any other run or a model file, itself."""
    found = Path(path).glob(f"{MEMBER}*")
    return sorted(found, key=lambda p: int(p.name.removeprefix(MEMBER))) or [Path(path)]


def model_file(path: str | Path) -> Path:
    """The file of a model that is given by it or by its run's folder. Raises FileNotFoundError if there is none."""
    path = Path(path)
    if path.is_dir():
        if not (path / MODEL_FILE).is_file():
            raise FileNotFoundError(f"no {MODEL_FILE} in {path}: is the training run finished with its first epoch?")
        return path / MODEL_FILE
    return path


def load_model(path: str | Path, backend: str = "auto", trust_kernels: bool = False) -> Potential:
    """Read a potential, in the precision that it was trained in.

    Args:
        path: A model file, or the folder of a training run (its best model).
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        trust_kernels: Run a folder of kernels that the file names as it is. By default it must be what the generator
            emits, and nothing in it is run.
    Raises:
        FileNotFoundError: If there is no model.
        CheckpointError: If the file is damaged or not a model.
        UntrustedKernels: If it names kernels that are not what the generator emits.
    """
    path = model_file(path)
    tensors, description = read_tensors(path)
    if "model" not in description:
        raise CheckpointError(f"{path}: holds no model")
    about = description["model"]
    if not isinstance(about, dict) or not isinstance(about.get("config"), dict):
        raise CheckpointError(f"{path}: holds no model that this version of cartalg can build: it has no config")
    if folder := about["config"].get("kernels"):
        accept(str(folder), trust_kernels)
    try:
        model = Potential.from_description(about, backend)
        model.load_state_dict(tensors)
    except KernelNotFound:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise CheckpointError(f"{path}: holds no model that this version of cartalg can build: {error}") from error
    return model.eval()
