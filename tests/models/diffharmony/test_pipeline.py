"""Both stages against the golden runs, in the order in which an error would spread."""

from __future__ import annotations

import pytest
import torch

from harmonyrt.common import HarmonyError
from harmonyrt.models import diffharmony as dh


def signed(picture: torch.Tensor) -> torch.Tensor:
    return picture.float() / 127.5 - 1


@pytest.fixture(scope="session")
def pipeline(golden_network):
    def build(meta: dict, text: torch.Tensor) -> dh.DiffHarmony:
        kind = "harmony_vae" if meta["vae_class"] == "ConditionVAE" else "vae"
        spacing = meta["scheduler"].get("timestep_spacing", "linspace")
        return dh.DiffHarmony(
            unet=golden_network("unet", meta["unet"]),
            vae=golden_network(kind, meta["vae"]),
            text=text,
            sampler=dh.SamplerConfig(timestep_spacing=spacing),
            refiner=golden_network("refiner", meta["refiner"]),
        )

    return build


def noise_of(case: dict) -> dh.Noise:
    draws = [case[f"draw{index}_{tag}"] for index, tag in enumerate(case["draw_order"])]
    steps = sum(tag == "ancestral" for tag in case["draw_order"])
    return dh.Noise(draws[0], draws[1], tuple(draws[2 : 2 + steps]), draws[2 + steps] if draws[2 + steps :] else None)


def test_golden_run(pipeline_case, dh_case, pipeline, golden):
    case, tolerance = dh_case(pipeline_case), golden.tolerance(pipeline_case)
    model = pipeline(case["meta"], case["prompt_embeds"])
    trace = model.harmonize(signed(case["image"]), case["mask"].float(), noise_of(case))
    trace = model.refine(trace, signed(case["comp_out"]), case["mask_out"].float())
    found = {"unet_input0": trace.unet_inputs[0], "noise_pred0": trace.predictions[0]}
    found |= {f"latents_after_step{index}": latents for index, latents in enumerate(trace.latents)}
    found |= {"decoder_raw": trace.decoded, "image_out": trace.image}
    found |= {"stage1_resized": trace.resized, "stage2_raw": trace.refined, "final": trace.final}
    for name, value in found.items():
        assert float((value - case[name]).abs().max()) <= tolerance, name


@pytest.fixture
def small(golden, pipeline):
    def build(vae_class: str = "AutoencoderKL") -> dh.DiffHarmony:
        meta = dict(golden.case("dh_pipeline_cvae_128to64_b1")["meta"], vae_class=vae_class)
        if vae_class == "AutoencoderKL":
            meta["vae"] = {k: v for k, v in meta["vae"].items() if k != "additional_in_channels"}
        return pipeline(meta, torch.zeros(1, 77, 32))

    return build


def test_the_callers_mask_stays_as_it_is(small):
    model, mask = small(), torch.full((1, 1, 32, 32), 0.7)
    model.harmonize(torch.zeros(1, 3, 32, 32), mask, model.draw((32, 32), 1, 1, torch.Generator().manual_seed(0)))
    assert (mask == 0.7).all()


def test_draw_order_and_count(small):
    model = small("ConditionVAE")
    noise = model.draw((32, 40), 2, 3, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    expected = [torch.randn(2, 4, 4, 5, generator=generator) for _ in range(6)]
    found = [noise.initial, noise.posterior, *noise.ancestral, noise.condition]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("composite", "mask", "words"),
    [
        (torch.zeros(1, 3, 30, 32), torch.zeros(1, 1, 30, 32), "sides that 8 divides"),
        (torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 24), "equal size"),
        (torch.full((1, 3, 32, 32), 1.5), torch.zeros(1, 1, 32, 32), r"give \[-1, 1\]"),
    ],
)
def test_wrong_input_is_named(composite, mask, words, small):
    model = small()
    with pytest.raises(HarmonyError, match=words):
        model.harmonize(composite, mask, model.draw((32, 32), 1, 1, torch.Generator().manual_seed(0)))
