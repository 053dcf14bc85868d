import numpy as np
import pytest
import torch

from harmonyrt.models import PHNet, PHNetConfig

STATE_DICTS = {"phnet": "phnet_state_dict.json", "phnet_iharmony4": "phnet_iharmony4_state_dict.json"}


@pytest.fixture(scope="session")
def golden_phnet(golden):
    """Golden network by the name that a case's `meta` gives it."""
    built: dict[str, PHNet] = {}

    def build(model: str) -> PHNet:
        if model not in built:
            weights, config = golden.weights(STATE_DICTS[model])
            network = PHNet(PHNetConfig(**config))
            network.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in weights.items()}, strict=True)
            built[model] = network.eval().requires_grad_(False)
        return built[model]

    return build
