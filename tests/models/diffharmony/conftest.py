"""Networks with golden weights, from the configuration that a golden case carries."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from harmonyrt.models import diffharmony as dh
from harmonyrt.models.diffharmony import configurations
from harmonyrt.models.diffharmony.text import TextEncoder

WHERE = Path("config.json")


KINDS = {
    "unet": (dh.UNet, configurations.unet_config),
    "vae": (dh.AutoencoderKL, configurations.vae_config),
    "harmony_vae": (dh.HarmonyVAE, configurations.vae_config),
    "refiner": (dh.Refiner, configurations.refiner_config),
    "text": (TextEncoder, configurations.text_config),
}


@pytest.fixture(scope="session")
def golden_network(golden):
    """`golden_network("unet", config)` -> the module with the recipe's weights, which names and shapes decide."""
    built = {}

    def build(kind: str, config: dict):
        key = kind, str(config)
        if key not in built:
            module, read = KINDS[kind]
            network = module(read(config, WHERE))
            prefix = "text_model." if kind == "text" else ""
            shapes = {prefix + name: tuple(value.shape) for name, value in network.state_dict().items()}
            weights = golden.recipe.state_dict(shapes)
            state = {name.removeprefix(prefix): torch.from_numpy(value) for name, value in weights.items()}
            network.load_state_dict(state, strict=True)
            built[key] = network.eval().requires_grad_(False)
        return built[key]

    return build


@pytest.fixture(scope="session")
def dh_case(golden):
    """Arrays of a golden case as tensors; `meta` and other descriptions as they are."""

    def read(name: str) -> dict:
        data = golden.case(name)
        return {
            key: torch.from_numpy(value) if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" else value
            for key, value in data.items()
        }

    return read


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with `<kind>_case` runs once for every golden case of that kind in the folder."""
    prefixes = {
        "unet_case": "dh_unet_",
        "vae_case": "dh_vae_",
        "cvae_case": "dh_cvae_",
        "refiner_case": "dh_refiner_",
        "pipeline_case": "dh_pipeline_",
        "text_case": ("dh_null_text", "dh_text"),
    }
    folder = Path(os.environ.get("HARMONYRT_GOLDEN", Path(__file__).parents[2] / "golden"))
    for argument, prefix in prefixes.items():
        if argument in metafunc.fixturenames:
            names = sorted(path.stem for path in folder.glob("*/dh_*.npz") if path.stem.startswith(prefix))
            marks = {name: pytest.mark.slow for name in names if "_base_" in name}  # full size
            metafunc.parametrize(argument, [pytest.param(name, marks=marks.get(name, ())) for name in names])


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    """Networks this small lose more by waiting for each other's threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
