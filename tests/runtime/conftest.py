"""Small hand-made bundles (those that the C++ suite uses too) and pictures."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BUNDLES = Path(__file__).parents[1] / "vectors"


@pytest.fixture(scope="session")
def static_bundle():
    """64 x 64, batch 1, engines for onnx and openvino; output = M @ image + G * mask + B + Q * image^2."""
    return BUNDLES / "hand-made-64"


@pytest.fixture(scope="session")
def dynamic_bundle():
    """Any multiple of 8, any batch; the same network."""
    return BUNDLES / "hand-made-dynamic"


@pytest.fixture
def altered(tmp_path):
    """Copies a bundle and lets the test change its manifest: altered(bundle, lambda manifest: ...)."""

    def make(bundle, change=lambda manifest: None):
        folder = tmp_path / bundle.name
        shutil.copytree(bundle, folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make


@pytest.fixture(scope="session")
def composite():
    """150 x 200 x 3 uint8, smooth with some grain."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (8, 10, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((200, 150), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + random.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def ellipse():
    """150 x 200 uint8 mask with a soft edge, 255 inside."""
    down, across = np.mgrid[0:150, 0:200]
    distance = np.hypot((down - 80) / 40, (across - 90) / 55)
    return (np.clip((1 - distance) * 12 + 0.5, 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def simulation():
    """The module `simulated_cuda.py` beside this file: CUDA and TensorRT without a card."""
    spec = importlib.util.spec_from_file_location("simulated_cuda", Path(__file__).with_name("simulated_cuda.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # data classes look themselves up there
    spec.loader.exec_module(module)
    return module
