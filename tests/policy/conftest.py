import pytest
import torch

from ate_core.contract import load_cell


@pytest.fixture(autouse=True)
def _one_thread():
    """More threads are slower for tiny networks."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cell():
    """The packaged cell with emulated devices."""
    return load_cell(hardware="sim")
