import importlib.util
import itertools
from types import SimpleNamespace

import pytest

from cartalg.export.build import LIBRARY, export
from export.systems import potential


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """A folder with the library and the wrapper, as `export` writes them."""
    folder = tmp_path_factory.mktemp("exported")
    export(potential(), folder)
    return folder


@pytest.fixture(scope="session")
def wrapper(library):
    """The module cartalg_model of that folder."""
    spec = importlib.util.spec_from_file_location("cartalg_model", library / "cartalg_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def exported(tmp_path_factory, library, wrapper):
    """A function from settings of a model to (the model, its exported twin); the library is compiled once."""
    numbers = itertools.count()

    def make(**settings):
        model, folder = potential(**settings), tmp_path_factory.mktemp(f"model{next(numbers)}")
        export(model, folder, library=False)
        twin = wrapper.Model(folder / "model.cartalg", library / LIBRARY)
        return SimpleNamespace(model=model, twin=twin, file=folder / "model.cartalg")

    return make
