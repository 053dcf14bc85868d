"""One folder of diffusers is the same network in optimum's export and in ours; `make test-interop` runs this.

The other direction, our folder in optimum's pipeline, is `test_optimum_runs_it` in test_plain.py.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

onnxruntime = pytest.importorskip(
    "optimum.onnxruntime", reason="needs optimum-onnx, which asks for transformers before 5: make test-interop"
)

SIDE = 64
COMPONENTS = {
    "unet": {"sample": (1, 9, 8, 8), "timestep": (1,), "encoder_hidden_states": (1, 77, 32)},
    "vae_encoder": {"sample": (1, 3, SIDE, SIDE)},
    "vae_decoder": {"latent_sample": (1, 4, 8, 8)},
}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A tiny Stable Diffusion inpainting folder, as diffusers saves one."""
    import diffusers
    import transformers

    place = tmp_path_factory.mktemp("released")
    vocabulary = {"<|startoftext|>": 49406, "<|endoftext|>": 49407, "a</w>": 0}
    (place / "vocab.json").write_text(json.dumps(vocabulary))
    (place / "merges.txt").write_text("#version: 0.2\n")
    torch.manual_seed(0)
    widths = (32, 64, 64, 64)
    text = transformers.CLIPTextConfig(
        vocab_size=49408, hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        projection_dim=32, bos_token_id=49406, eos_token_id=49407, pad_token_id=49407,
    )  # fmt: skip
    pipeline = diffusers.StableDiffusionInpaintPipeline(
        unet=diffusers.UNet2DConditionModel(
            sample_size=8, in_channels=9, block_out_channels=widths, cross_attention_dim=32, attention_head_dim=8
        ),
        vae=diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=widths, layers_per_block=2,
        ),
        text_encoder=transformers.CLIPTextModel(text),
        tokenizer=transformers.CLIPTokenizer(str(place / "vocab.json"), str(place / "merges.txt"), model_max_length=77),
        scheduler=diffusers.EulerAncestralDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading"
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(place / "folder")
    return place / "folder"


def test_optimum_exports_the_same_network(released, tmp_path):
    from optimum.exporters.onnx import main_export

    from harmonyrt.export.build_engines import main

    main_export(
        str(released), output=tmp_path / "theirs", task="inpainting", library_name="diffusers", do_validation=False
    )
    command = ["diffharmony", "--checkpoint", str(released), "--plain", "--inference-size", str(SIDE), "--threads", "1"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    generator = np.random.default_rng(0)
    for component, inputs in COMPONENTS.items():
        feeds = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in inputs.items()}
        if "timestep" in feeds:
            feeds["timestep"][:] = 321
        theirs, ours = (
            _answers(place / component / "model.onnx", feeds)
            for place in (tmp_path / "theirs", tmp_path / f"diffharmony-plain-{SIDE}")
        )
        shared = set(theirs) & set(ours)
        assert shared, (component, set(theirs), set(ours))
        for name in shared:
            assert np.std(ours[name]) > 1e-3
            np.testing.assert_allclose(ours[name], theirs[name], atol=2e-4 * float(np.abs(theirs[name]).max()))


def _answers(path, feeds):
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    kinds = {one.name: {"tensor(int64)": np.int64}.get(one.type, np.float32) for one in session.get_inputs()}
    shapes = {one.name: len(one.shape) for one in session.get_inputs()}
    given = {name: feeds[name].reshape(feeds[name].shape[: shapes[name]]).astype(kind) for name, kind in kinds.items()}
    return dict(zip([one.name for one in session.get_outputs()], session.run(None, given), strict=True))
