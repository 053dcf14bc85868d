"""DiffHarmony's stages at full size on a CPU: specialised, unspecialised, and diffusers' PyTorch modules.

    python -m harmonyrt.benchmarks.studies.diffharmony_stages prepare FOLDER
    python -m harmonyrt.benchmarks.studies.diffharmony_stages time FOLDER --stage unet --json FILE
    python -m harmonyrt.benchmarks.studies.diffharmony_stages memory FOLDER --json FILE
    python -m harmonyrt.benchmarks.studies.diffharmony_stages table FILE

Random weights, which cost what trained ones cost. `prepare` writes every variant of every stage (12 GB). `time` opens
the variants of one stage in one process and calls them in turn, round after round; the first answers are compared, so
that no variant can be fast by computing something else. `memory` runs each variant once, in a separate process. `table`
prints what a file holds as Markdown. In files and options a variant is called a form.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.benchmarks.worker import peak_rss_mb
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import write_json
from harmonyrt.common.program import run_program
from harmonyrt.common.programs import module_command
from harmonyrt.runtime.backends import SessionOptions
from harmonyrt.runtime.machine import machine_name
from harmonyrt.runtime.manifest import EngineSpec, Parity

STAGES = ("vae-encoder", "unet", "vae-decoder", "refiner")
VARIANTS = ("onnxruntime", "onnxruntime, unspecialised", "pytorch", "openvino fp32", "openvino bf16")
"""`pytorch` is diffusers' module; the refiner, which diffusers does not have, is ours."""
PLAIN = {"vae-encoder": "vae_encoder", "unet": "unet", "vae-decoder": "vae_decoder"}
STEPS = 5

Call = Callable[[], np.ndarray]


def prepare(folder: Path, weights: str, size: int, output_size: int) -> None:
    """Write every stage in every variant, and the PyTorch weights."""
    import torch

    from harmonyrt.export.diffharmony.components import components
    from harmonyrt.export.diffharmony.plain import plain_components
    from harmonyrt.export.diffharmony.random_weights import random_diffharmony
    from harmonyrt.export.onnx_file import save

    folder.mkdir(parents=True, exist_ok=True)
    model = random_diffharmony(weights)
    for name, part in model.parts():
        torch.save(part.state_dict(), folder / f"{name}.pt")
    torch.save(model.text, folder / "text.pt")
    sizes: dict[str, Any] = {"weights": weights, "size": size, "output_size": output_size, "stages": {}}
    for component in components(model, (size, size), (output_size, output_size), [STEPS]):
        print(f"writing {component.name}", file=sys.stderr, flush=True)
        name, parameters, inputs = component.name, component.parameters, component.inputs
        graph = component.trace()
        place = folder / component.name
        place.mkdir(exist_ok=True)
        files = save(graph, place / "model.onnx")
        _write_bf16(graph, place)
        del graph, component
        gc.collect()
        sizes["stages"][name] = {
            "parameters": parameters,
            "inputs": {key: list(shape) for key, shape in inputs.items()},
            "onnx_bytes": sum((place / file).stat().st_size for file in files),
            "openvino_bf16_bytes": (place / "openvino.bin").stat().st_size,
        }
    for component in plain_components(model, (size, size)):
        print(f"writing the plain {component.name}", file=sys.stderr, flush=True)
        place = folder / "plain" / component.name
        place.mkdir(parents=True, exist_ok=True)
        files = save(component.trace(), place / "model.onnx")
        stage = next(stage for stage, name in PLAIN.items() if name == component.name)
        sizes["stages"][stage] |= {
            "plain_parameters": component.parameters,
            "plain_onnx_bytes": sum((place / file).stat().st_size for file in files),
        }
    (folder / "sizes.json").write_text(json.dumps(sizes, indent=1))


def _write_bf16(graph: Any, place: Path) -> None:
    from harmonyrt.export.diffharmony.precision import typed
    from harmonyrt.export.targets import BUILDERS, BuildOptions

    BUILDERS["openvino"](typed(graph, "bf16"), place, "bf16", BuildOptions("openvino", None))


class Opener:
    """Opens one stage's variants.

    Args:
        folder: that :func:`prepare` wrote.
        stage: one of :data:`STAGES`.
        threads: for every variant.
    """

    def __init__(self, folder: Path, stage: str, threads: int) -> None:
        try:
            self.sizes = json.loads((folder / "sizes.json").read_text())
        except (OSError, ValueError):
            raise HarmonyError(f"{folder} is not prepared; run prepare {folder} first") from None
        self.folder, self.stage, self.threads = folder, stage, threads
        self.feeds = self._feeds()

    def _feeds(self) -> dict[str, np.ndarray]:
        from harmonyrt.export.diffharmony.components import example_array

        rng = np.random.default_rng(0)
        shapes = self.sizes["stages"][self.stage]["inputs"]
        return {name: example_array(name, tuple(shape), rng) for name, shape in shapes.items()}

    def open(self, variant: str) -> Call:
        """A call of the stage, whose answer is the same for every variant up to rounding."""
        with_onnx = {"onnxruntime": self._specialised, "onnxruntime, unspecialised": self._plain}
        if variant in with_onnx:
            return with_onnx[variant]("onnxruntime")
        if variant == "pytorch":
            return self._pytorch()
        return self._specialised("openvino", variant.split()[1])

    def _session(self, backend: str, path: Path, target: str, precision: str) -> Any:
        from harmonyrt.runtime.backends import onnxruntime, openvino

        spec = EngineSpec(target, precision, (), {}, Parity(0, 0.0, 0.0, "", ""))
        manifest: Any = type("Manifest", (), {"outputs": ()})
        options = SessionOptions(threads=self.threads, cache=str(self.folder / "cache"))
        module: Any = {"onnxruntime": onnxruntime, "openvino": openvino}[backend]
        return module.open_session(path, spec, manifest, options)

    def _specialised(self, backend: str, precision: str = "fp32") -> Call:
        low = precision != "fp32"
        path = self.folder / self.stage / ("openvino.xml" if low else "model.onnx")
        session = self._session(backend, path, "openvino" if low else "onnx", precision)
        answer = {"unet": "predicted_noise", "vae-encoder": "condition", "vae-decoder": "picture"}
        name = answer.get(self.stage, "output")
        return lambda: session.run(self.feeds)[name]

    def _plain(self, backend: str) -> Call:
        path = self.folder / "plain" / PLAIN[self.stage] / "model.onnx"
        session = self._session(backend, path, "onnx", "fp32")
        if self.stage == "unet":
            feeds = {name: tensor.numpy() for name, tensor in self._unet_inputs().items()}
            return lambda: session.run(feeds)["out_sample"]
        if self.stage == "vae-encoder":
            return lambda: self._condition(session.run({"sample": 2 * self.feeds["image"] - 1})["latent_parameters"])
        return lambda: self._picture(session.run({"latent_sample": self._unscaled()})["sample"])

    def _pytorch(self) -> Call:
        import torch

        torch.set_num_threads(self.threads)
        network = self._network()
        if self.stage == "unet":
            taken = self._unet_inputs()
            return _without_gradients(lambda: network(**taken).sample.numpy())
        if self.stage == "vae-encoder":
            image = torch.from_numpy(2 * self.feeds["image"] - 1)
            return _without_gradients(lambda: self._condition(network.encode(image).latent_dist.parameters.numpy()))
        if self.stage == "vae-decoder":
            latents = torch.from_numpy(self._unscaled())
            return _without_gradients(lambda: self._picture(network.decode(latents).sample.numpy()))
        return _without_gradients(lambda: self._refined(network))

    def _network(self) -> Any:
        import diffusers
        import torch

        from harmonyrt.export.diffharmony import random_weights
        from harmonyrt.models.diffharmony import Refiner

        unet, vae, refiner = random_weights.configs(self.sizes["weights"])
        part = {"unet": "unet", "refiner": "refiner"}.get(self.stage, "vae")
        with torch.device("meta"):
            if self.stage == "unet":
                network: Any = diffusers.UNet2DConditionModel(
                    in_channels=unet.in_channels,
                    block_out_channels=unet.block_out_channels,
                    cross_attention_dim=unet.cross_attention_dim,
                    attention_head_dim=unet.heads,
                    sample_size=self.sizes["size"] // 8,
                )
            elif self.stage == "refiner":
                network = Refiner(refiner)
            else:
                network = diffusers.AutoencoderKL(
                    block_out_channels=vae.block_out_channels,
                    down_block_types=["DownEncoderBlock2D"] * len(vae.block_out_channels),
                    up_block_types=["UpDecoderBlock2D"] * len(vae.block_out_channels),
                    layers_per_block=vae.layers_per_block,
                    latent_channels=vae.latent_channels,
                )
        network.load_state_dict(torch.load(self.folder / f"{part}.pt", mmap=True, weights_only=True), assign=True)
        return network.eval().requires_grad_(False)

    def _unet_inputs(self) -> dict[str, Any]:
        import torch

        from harmonyrt.models.diffharmony import SamplerConfig, sampler

        first = sampler.steps(SamplerConfig(), STEPS)[0]
        latents = self.feeds["latents"] * np.float32(first.input_scale)
        sample = torch.from_numpy(np.concatenate([latents, self.feeds["condition"]], axis=1))
        text = torch.load(self.folder / "text.pt", weights_only=True)
        return {"sample": sample, "timestep": torch.tensor([first.timestep]), "encoder_hidden_states": text}

    def _condition(self, moments: np.ndarray) -> np.ndarray:
        mean, log_variance = np.split(moments, 2, axis=1)
        sample = mean + np.exp(0.5 * log_variance.clip(-30, 20)) * self.feeds["noise"]
        return np.concatenate([self.feeds["mask"][:, :, ::8, ::8], np.float32(0.18215) * sample], axis=1)

    def _unscaled(self) -> np.ndarray:
        return self.feeds["latents"] / np.float32(0.18215)

    @staticmethod
    def _picture(decoded: np.ndarray) -> np.ndarray:
        return (decoded / 2 + 0.5).clip(0, 1)

    def _refined(self, network: Any) -> np.ndarray:
        import torch
        import torch.nn.functional as F

        tensors = {name: torch.from_numpy(array) for name, array in self.feeds.items()}
        composite = 2 * tensors["composite"] - 1
        resized = F.interpolate(2 * tensors["image"] - 1, composite.shape[-2:], mode="bilinear", antialias=True)
        refined = network(torch.cat([resized.clamp(-1, 1), tensors["mask"], composite], 1))
        return ((refined.clamp(-1, 1) + 1) / 2).numpy()


def _without_gradients(call: Call) -> Call:
    import torch

    def run() -> np.ndarray:
        with torch.inference_mode():
            return call()

    return run


def variants_of(stage: str, wanted: Sequence[str]) -> list[str]:
    """The variants that a stage has: the refiner has no unspecialised export."""
    return [variant for variant in wanted if stage in PLAIN or "unspecialised" not in variant]


def time_stage(folder: Path, stage: str, variants: Sequence[str], rounds: int, threads: int) -> list[dict[str, Any]]:
    """Call the variants of a stage in turn.

    Raises:
        WorkFailed: a variant answers something else than the first.
    """
    opener = Opener(folder, stage, threads)
    calls = {variant: opener.open(variant) for variant in variants}
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    first: np.ndarray | None = None
    differences: dict[str, float] = {}
    for _ in range(rounds):
        for variant, call in calls.items():
            start = time.perf_counter()
            answer = call()
            seconds[variant].append(round(time.perf_counter() - start, 3))
            first = answer if first is None else first
            differences[variant] = float(np.abs(answer - first).max() / np.abs(first).max())
            if not differences[variant] <= (0.1 if "bf16" in variant else 1e-3):
                raise WorkFailed(
                    f"{variant} answers otherwise than {variants[0]}: {differences[variant]:.1e} of the largest"
                )
    return [
        {
            "stage": stage,
            "form": variant,
            "seconds": seconds[variant],
            "fastest": min(seconds[variant]),
            "relative_difference_to_first": differences[variant],
        }
        for variant in variants
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("verb", choices=["prepare", "time", "memory", "table"])
    parser.add_argument("folder", type=Path, help="of the prepared stages; for table, the file")
    parser.add_argument("--weights", choices=["full", "tiny"], default="full", help="prepare: width of the networks")
    parser.add_argument("--size", type=int, default=512, help="prepare: side of stage one's picture (default: 512)")
    parser.add_argument("--output-size", type=int, default=256, help="prepare: side of the result (default: 256)")
    parser.add_argument("--stage", choices=STAGES, nargs="+", default=list(STAGES), help="default: all")
    parser.add_argument("--form", choices=VARIANTS, nargs="+", default=list(VARIANTS), help="default: all")
    parser.add_argument("--rounds", type=int, default=2, help="time: calls of each variant (default: 2)")
    parser.add_argument("--threads", type=int, default=2, help="of every variant (default: 2)")
    parser.add_argument("--json", type=Path, help="add the result to this file")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    return run_program(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder
    if arguments.verb == "prepare":
        prepare(folder, arguments.weights, arguments.size, arguments.output_size)
        return 0
    if arguments.verb == "table":
        print("\n".join(table(json.loads(folder.read_text()))))
        return 0
    if arguments.once:
        Opener(folder, arguments.stage[0], arguments.threads).open(arguments.form[0])()
        print(peak_rss_mb())
        return 0
    rows = []
    for stage in arguments.stage:
        variants = variants_of(stage, arguments.form)
        if arguments.verb == "time":
            rows += time_stage(folder, stage, variants, arguments.rounds, arguments.threads)
        else:
            rows += [_memory(arguments, stage, variant) for variant in variants]
    for row in rows:
        print(json.dumps(row))
    if arguments.json:
        _add(arguments.json, folder, arguments.verb, rows)
    return 0


def table(report: dict[str, Any]) -> list[str]:
    """A report as a Markdown table: the fastest call of each variant, and what a stage needs.

    A row is one interleaved run, so that its figures may be compared; a later run of the same variants replaces an
    earlier one.
    """
    runs: dict[tuple[str, tuple[str, ...]], dict[str, float]] = {}
    for part in report.get("time", []):
        for stage in dict.fromkeys(row["stage"] for row in part["rows"]):
            fastest = {row["form"]: row["fastest"] for row in part["rows"] if row["stage"] == stage}
            runs[stage, tuple(fastest)] = fastest
    peaks = {(r["stage"], r["form"]): r["peak_rss_mb"] for part in report.get("memory", []) for r in part["rows"]}
    heads = ["stage", "parameters (unspecialised)", "ONNX", "peak memory", *(f"{variant}, s" for variant in VARIANTS)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for stage, sizes in report["sizes"]["stages"].items():
        plain = f" ({sizes['plain_parameters']:,})" if "plain_parameters" in sizes else ""
        peak = peaks.get((stage, VARIANTS[0]))
        about = [stage, f"{sizes['parameters']:,}{plain}", f"{sizes['onnx_bytes'] / 1e6:.1f} MB"]
        about.append("" if peak is None else f"{peak / 1000:.1f} GB")
        for fastest in (found for (name, _), found in runs.items() if name == stage):
            times = [f"{fastest[variant]:.2f}" if variant in fastest else "" for variant in VARIANTS]
            lines.append("| " + " | ".join([*about, *times]) + " |")
            about = [stage, "", "", ""]
    return lines


def _memory(arguments: argparse.Namespace, stage: str, variant: str) -> dict[str, Any]:
    command = [*module_command("harmonyrt.benchmarks.studies.diffharmony_stages"), "memory", str(arguments.folder)]
    command += ["--once", "--stage", stage, "--form", variant, "--threads", str(arguments.threads)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise WorkFailed(f"{stage}, {variant} could not be run: {(ended.stderr.strip().splitlines() or ['?'])[-1]}")
    return {"stage": stage, "form": variant, "peak_rss_mb": round(float(ended.stdout.split()[-1]))}


def _add(path: Path, folder: Path, verb: str, rows: list[dict[str, Any]]) -> None:
    """Keep what other calls measured: a run may be spread over several."""
    report = json.loads(path.read_text()) if path.is_file() else {}
    report |= {
        "what": "DiffHarmony at full size, random weights: seconds of one call of each stage, and peak memory of a"
        " process that opens and calls it once",
        "command": (
            "python -m harmonyrt.benchmarks.studies.diffharmony_stages time FOLDER --json FILE (prepare it first)"
        ),
        "machine": machine_name(),
        "date": str(date.today()),
        "sizes": json.loads((folder / "sizes.json").read_text()),
    }
    report.setdefault(verb, []).append({"versions": _versions(), "rows": rows})
    write_json(path, report)


def _versions() -> dict[str, str]:
    from harmonyrt.export.build.recipe import tool_versions

    kept = ("torch", "onnxruntime", "openvino")
    return {name: version for name, version in tool_versions().items() if name in kept}


if __name__ == "__main__":
    sys.exit(main())
