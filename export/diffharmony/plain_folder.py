"""The unspecialised export as a folder that Hugging Face's ONNX pipelines open: optimum's, and diffusers' older one.

No bundle: it holds stage one alone, and its loop, its noise and its scheduler are those of whoever opens it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.progress import reporting
from harmonyrt.export.build.bundle import bundle_being_written, check_place
from harmonyrt.export.build.job import PACKAGES
from harmonyrt.export.build.recipe import facts_sha256, size_name, tool_versions

if TYPE_CHECKING:
    from harmonyrt.export.diffharmony.components import Component
    from harmonyrt.export.diffharmony.recipe import Source
    from harmonyrt.models.diffharmony import DiffHarmony

MARK = "harmonyrt.json"
"""Says what the folder was made from; what is without it is never replaced."""
TEXT = "prompt_embeds.npy"
SCHEDULER = "EulerAncestralDiscreteScheduler"


@dataclass(frozen=True)
class Written:
    """One component's folder.

    Attributes:
        component: ``"unet"``, ``"vae_encoder"`` or ``"vae_decoder"``.
        parameters: of the network.
        bytes: of its files.
        relative_error: of ONNX Runtime's answer to an example, against the largest value of PyTorch's.
    """

    component: str
    parameters: int
    bytes: int
    relative_error: float


@dataclass(frozen=True)
class PlainRecipe:
    """What to write.

    Attributes:
        source: where the networks come from.
        size: [height, width] of the picture.
        threads: CPU threads; None for all.
    """

    source: Source
    size: tuple[int, int]
    threads: int | None = None

    @property
    def name(self) -> str:
        """For example ``"diffharmony-plain-512"``; ``"diffharmony-random-…"`` says that the weights are random."""
        return f"diffharmony-{'random-' if self.source.random else ''}plain-{size_name(self.size)}"

    def facts(self) -> dict[str, Any]:
        """What decides the content."""
        return {
            "checkpoint": self.source.name,
            "source_sha256": self.source.sha256(),
            "random_weights": self.source.random is not None,
            "size": list(self.size),
        }


def write_plain(recipe: PlainRecipe, output: Path, force: bool = False) -> tuple[str, list[Written]]:
    """Write the folder, whole or not at all, each component held against PyTorch.

    Args:
        recipe: what to write.
        output: receives the folder, named as the recipe is.
        force: write it even if it is there already, made from the same.

    Returns:
        ``"built"`` or ``"unchanged"``, and the components.

    Raises:
        HarmonyError: bad folders, a harmony VAE, a missing package, or a place that cannot be written.
        WorkFailed: a component's answer is not PyTorch's.
    """
    place = output / recipe.name
    check_place(place, MARK)
    facts = recipe.facts()
    facts["recipe_sha256"] = facts_sha256(facts)
    there = None if force else _there(place, facts)
    if there is not None:
        return "unchanged", there
    for package in PACKAGES:
        require(package, "build", "the build")
    with reporting(1 + 3) as report, bundle_being_written(place, report, MARK) as scratch:
        from harmonyrt.export.diffharmony.plain import plain_components
        from harmonyrt.export.diffharmony.session import load_reporting

        model, sources = load_reporting(recipe.source, recipe.threads, report)
        model.refiner = None  # those pipelines have no stage two
        _refuse_condition(model, recipe)
        _write_pipeline(model, recipe.size, scratch)
        report.step_done()
        written = []
        for component in plain_components(model, recipe.size):
            report(f"{recipe.name}: {component.name}")
            written.append(_write_component(component, scratch / component.name, recipe.threads))
            report.step_done()
        about = {"components": [asdict(one) for one in written], "tools": tool_versions()}
        (scratch / MARK).write_text(json.dumps({**facts, **about, "sources": sources}, indent=2))
    return "built", written


def _there(place: Path, facts: dict[str, Any]) -> list[Written] | None:
    """What is there already, if it was made from the same and no file is missing or cut short."""
    try:
        data = json.loads((place / MARK).read_text())
        written = [Written(**one) for one in data["components"]]
        same = data["recipe_sha256"] == facts["recipe_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return written if same and all(_bytes(place / one.component) == one.bytes for one in written) else None


def _refuse_condition(model: DiffHarmony, recipe: PlainRecipe) -> None:
    if model.conditional:
        raise HarmonyError(
            f"{recipe.source.name} has the VAE of DiffHarmony++, whose decoder sees the composite again, which Hugging"
            " Face's pipelines cannot give it; build a bundle, without --plain"
        )


def _write_component(component: Component, folder: Path, threads: int | None) -> Written:
    import torch

    from harmonyrt.export.build.gate import Gate, Reference, measure
    from harmonyrt.export.build.running import run_file
    from harmonyrt.export.onnx_file import save

    folder.mkdir(exist_ok=True)
    save(component.trace(), folder / "model.onnx")
    example = component.example()
    with torch.no_grad():
        answers = component.module(*example.values())
    named = zip(component.outputs, answers if isinstance(answers, tuple) else (answers,), strict=True)
    feeds, outputs = ({k: v.numpy() for k, v in tensors} for tensors in (example.items(), named))
    run, _ = run_file(folder / "model.onnx", threads)
    gate, who = Gate("fp32", is_picture=False, subject=f"plain {component.name}"), "onnxruntime, CPU"
    distance = measure(run, [Reference("an example", feeds, outputs)], gate, who)
    gate.check(distance, who)
    return Written(component.name, component.parameters, _bytes(folder), distance.relative_error)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("model.onnx*"))


def _write_pipeline(model: DiffHarmony, size: tuple[int, int], folder: Path) -> None:
    """Everything but the graphs: configurations, and the empty prompt's embedding in place of a text encoder."""
    import numpy as np

    np.save(folder / TEXT, model.text.numpy())
    for name, file, data in (
        (".", "model_index.json", _index()),
        ("scheduler", "scheduler_config.json", {"_class_name": SCHEDULER, **asdict(model.sampler)}),
        ("unet", "config.json", _unet(model, size)),
        ("vae_encoder", "config.json", _vae(model, size)),
        ("vae_decoder", "config.json", _vae(model, size)),
    ):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / file).write_text(json.dumps(data, indent=2))


def _index() -> dict[str, Any]:
    graphs, absent = ("unet", "vae_encoder", "vae_decoder"), ("text_encoder", "tokenizer", "safety_checker")
    return {
        "_class_name": "StableDiffusionInpaintPipeline",
        **{key: ["diffusers", "OnnxRuntimeModel"] for key in graphs},
        "scheduler": ["diffusers", SCHEDULER],
        **{key: [None, None] for key in (*absent, "feature_extractor")},
        "requires_safety_checker": False,
    }


def _unet(model: DiffHarmony, size: tuple[int, int]) -> dict[str, Any]:
    config = asdict(model.unet.config)
    attention, heads = config.pop("attention"), config.pop("heads")
    return {
        "_class_name": "UNet2DConditionModel",
        **config,
        "sample_size": _side(tuple(side // model.vae.factor for side in size)),
        "attention_head_dim": list(heads),
        "down_block_types": ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in attention],
        "up_block_types": ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(attention)],
        "time_cond_proj_dim": None,
    }


def _vae(model: DiffHarmony, size: tuple[int, int]) -> dict[str, Any]:
    config = asdict(model.vae.config)
    del config["additional_in_channels"]
    return {"_class_name": "AutoencoderKL", **config, "sample_size": _side(size)}


def _side(size: tuple[int, ...]) -> int | list[int]:
    return size[0] if size[0] == size[1] else list(size)
