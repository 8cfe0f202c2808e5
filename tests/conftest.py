import os

import pytest
import torch
from hypothesis import settings

from browsing import browser, page  # noqa: F401

settings.register_profile("cartalg", deadline=None, derandomize=True, max_examples=20, print_blob=True)
settings.load_profile("cartalg")

torch.serialization.add_safe_globals([slice])  # e3nn 0.4.4, which mace-torch wants, has slices in its table of symbols
torch.set_num_threads(int(os.environ.get("CARTALG_TEST_THREADS", "1")))


@pytest.fixture(autouse=True)
def _default_dtype_is_never_touched():
    before = torch.get_default_dtype()
    yield
    assert torch.get_default_dtype() == before
