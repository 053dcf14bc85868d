"""A network that builds in moments."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """A PHNet of 40 thousand parameters with random weights."""
    torch = pytest.importorskip("torch", reason="PyTorch makes the checkpoint")
    from safetensors.torch import save_file

    from harmonyrt.models import PHNet, PHNetConfig

    torch.manual_seed(0)
    network = PHNet(PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(4, 3, 2, 1)))
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return path
