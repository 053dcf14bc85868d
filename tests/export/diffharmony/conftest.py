import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    """Networks this small lose more by waiting for each other's threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
