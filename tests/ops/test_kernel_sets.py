import os
import pickle
import subprocess
import sys

import pytest
import torch
from ase import Atoms

from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph
from cartalg.model import Potential
from cartalg.ops import KernelSet, couple, kernel_sets, open_kernels, product
from cartalg.ops.kept_sets import UntrustedKernels
from cartalg.ops.kernel_sets import made_for
from cartalg.train.checkpoint import load_model, save_model
from cartalg_codegen import emit
from cartalg_codegen.backends import BACKENDS
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import CouplingSpec, HarmonicsSpec, LinearSpec, ProductSpec

RARE = ProductSpec("full", "complete", 1, 0, 2)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CARTALG_CACHE_DIR", str(tmp_path / "cache"))
    made_for.cache_clear()
    yield tmp_path / "cache"
    made_for.cache_clear()


def test_a_kernel_that_is_not_shipped_is_made_once_with_a_message(empty_cache, caplog):
    kernels = open_kernels()
    assert RARE.name not in kernels.manifest.kernels
    a, w = torch.randn(3, 8, 2, dtype=torch.float64), torch.randn(1, len(RARE.weights), 2, dtype=torch.float64)
    out = product(RARE, torch.zeros(3, dtype=torch.int64), a, w, backend="torch")
    assert out.shape == (3, RARE.output_irreps.dim, 2)
    made_for.cache_clear()
    assert kernels.holding(RARE).get(RARE) == RARE
    (record,) = caplog.records
    assert RARE.name in record.getMessage()
    assert str(empty_cache) in record.getMessage()


def test_nothing_is_run_from_where_others_can_write(empty_cache):
    folder = open_kernels().holding(RARE).folder
    folder.chmod(0o777)
    made_for.cache_clear()
    with pytest.raises(PermissionError, match="others can write there"):
        open_kernels().holding(RARE)


@pytest.mark.parametrize("mask", [0o022, 0o002])
def test_where_nothing_can_be_kept_a_kernel_is_made_for_the_process(empty_cache, mask):
    empty_cache.write_text("a file where a folder should be")
    before = os.umask(mask)
    try:
        assert open_kernels().holding(RARE).get(RARE) == RARE
    finally:
        os.umask(before)


def test_a_kept_kernel_that_has_lost_its_manifest_is_made_for_the_process(empty_cache):
    kept = open_kernels().holding(RARE).folder
    (kept / "manifest.json").unlink()
    made_for.cache_clear()
    found = open_kernels().holding(RARE)
    assert found.folder != kept
    assert found.get(RARE) == RARE


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_a_set_that_is_emitted_anew_is_read_anew(tmp_path, backend):
    t = torch.ones(1, 3, 1)
    emit.write(emit.render(Set(1, only=("coupling_1_1_0",))), tmp_path / "set")
    assert couple(t, t, (1, 1, 0), backend=backend, kernels=KernelSet(tmp_path / "set")).item() == 3
    files = emit.render(Set(1, only=("coupling_1_1_0", "coupling_1_1_1")))
    files = {name: text.replace("a1 * b1 +", "2 * a1 * b1 +") for name, text in files.items()}
    emit.write(files, tmp_path / "set")
    changed = KernelSet(tmp_path / "set")
    assert couple(t, t, (1, 1, 0), backend=backend, kernels=changed).item() == 4
    assert couple(t, t, (1, 1, 1), backend=backend, kernels=changed).shape == (1, 3, 1)


def test_a_pickled_set_is_the_shipped_one_of_where_it_is_read():
    text = pickle.dumps(open_kernels())
    assert os.fsencode(open_kernels().folder) not in text
    assert pickle.loads(text) is open_kernels()


def test_processes_that_ask_at_once_get_the_same(empty_cache):
    code = "from cartalg.ops import open_kernels; from cartalg_codegen.specs import parse; "
    code += f"print(open_kernels().holding(parse('{RARE.name}')).digest)"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(3)
    ]
    digests = {process.communicate()[0].strip() for process in running}
    assert digests == {open_kernels().holding(RARE).digest}
    assert [p.name for p in (empty_cache / "kernels").iterdir()] == [open_kernels().holding(RARE).folder.name]


def test_a_set_of_the_users_is_taken_as_it_is(tmp_path):
    emit.write(emit.render(Set(1, only=("harmonics_l1",))), tmp_path / "set")
    kernels = KernelSet(tmp_path / "set")
    assert kernels.holding(HarmonicsSpec(1)) is kernels
    with pytest.raises(LookupError, match="generate --only coupling_1_1_0 "):
        kernels.holding(CouplingSpec(1, 1, 0))


@pytest.mark.parametrize("text", ["{", "[]", '{"generator": "1"}', '{"kernels": {}}'])
def test_a_manifest_that_is_none_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json is no manifest of this version"):
        KernelSet(tmp_path)


HARMLESS = "cartalg_codegen = 0  # ran\n"


@pytest.fixture
def named(tmp_path, empty_cache):
    """A folder of kernels with the convolution and product of the smallest model, and a model file that names it."""
    config = ModelConfig(channels=2, layers=1, hidden_rank=0, edge_rank=1, correlation=1, kernels=str(tmp_path / "set"))
    ((convolution, basis),) = config.kernel_specs()
    emit.write(emit.render(Set(1, only=(convolution.name, basis.name, LinearSpec().name))), tmp_path / "set")
    save_model(tmp_path / "model.safetensors", Potential(config, ("H",)))
    forget(tmp_path / "set")
    yield tmp_path / "set", tmp_path / "model.safetensors"
    forget(tmp_path / "set")


def forget(folder):
    """As in a new process."""
    for key in [k for k in kernel_sets._opened if k and str(folder) in k]:
        del kernel_sets._opened[key]


def imported_from(folder):
    return [m for m in list(sys.modules.values()) if str(getattr(m, "__file__", "")).startswith(str(folder))]


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_kernels_that_a_model_file_names_are_compared_and_never_run(named, empty_cache, backend, caplog):
    folder, model = named
    before = imported_from(folder)
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "torch_kernels" / "sitecustomize.so").write_text("no part of a set, and not run")
    potential = load_model(model, backend)
    assert str(folder) in caplog.text
    assert potential.config.kernels == str(folder)
    potential(build_graph(Atoms("H2", [[0, 0, 0], [0, 0, 1]]), 5.0, ("H",), "atoms"))
    assert imported_from(folder) == before
    assert empty_cache in potential.kernels.folder.parents
    caplog.clear()
    forget(folder)
    load_model(model, backend)
    assert not caplog.text  # compared with the copy that is kept


@pytest.mark.parametrize("late", [False, True])
def test_other_kernels_that_a_model_file_names_are_refused(named, late):
    folder, model = named
    if late:  # a copy of the set as it was is kept
        load_model(model)
        forget(folder)
    changed = next((folder / "torch_kernels" / "convolution").glob("*.py"))
    changed.write_text(HARMLESS + changed.read_text())
    with pytest.raises(UntrustedKernels, match=f"changed: torch_kernels/convolution/{changed.name}.*--trust-kernels"):
        load_model(model)
    assert load_model(model, trust_kernels=True).kernels.folder == folder


def test_further_files_beside_named_kernels_are_refused(named):
    folder, model = named
    (folder / "extra.py").write_text(HARMLESS)
    with pytest.raises(UntrustedKernels, match=r"not part of the set: extra\.py"):
        load_model(model)


def test_a_manifest_of_other_kernels_is_refused(named):
    folder, model = named
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"max_rank": 1', '"max_rank": "1"', 1))
    with pytest.raises(ValueError, match=r"manifest\.json"):
        load_model(model)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="which a model file names"):
        load_model(model)
