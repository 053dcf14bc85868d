"""The sampling schedule in a DiffHarmony bundle's manifest: what a build writes and the runtime reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.manifest import Manifest

FAMILY = "diffharmony"
COMPONENTS = ("vae-encoder", "unet", "vae-decoder", "refiner")


@dataclass(frozen=True)
class Program:
    """One step count that the UNet engine can run.

    Attributes:
        steps: how many.
        rows: row of the engine's step table for each step.
        initial_scale: what the initial noise is multiplied by.
    """

    steps: int
    rows: tuple[int, ...]
    initial_scale: float


@dataclass(frozen=True)
class SamplingSchedule:
    """Shapes, step counts and components of one bundle.

    Attributes:
        inference_size: [height, width] of stage one.
        output_size: [height, width] of the result: the refiner's, or stage one's.
        latent_channels: of the VAE.
        factor: picture pixels per latent pixel, along a side.
        conditional: the decoder sees the composite again (harmony VAE).
        refiner_channels: 7, 4 or 3; 0 without a refiner.
        timestep_spacing: ``"linspace"``, ``"leading"`` or ``"trailing"``: for the reader, the tables have it inside.
        default_steps: used when a caller asks for none.
        programs: by step count.
    """

    inference_size: tuple[int, int]
    output_size: tuple[int, int]
    latent_channels: int
    factor: int
    conditional: bool
    refiner_channels: int
    timestep_spacing: str
    default_steps: int
    programs: dict[int, Program]

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Shape of the latents of one image, (1,C,H,W)."""
        height, width = self.inference_size
        return (1, self.latent_channels, height // self.factor, width // self.factor)

    @property
    def components(self) -> tuple[str, ...]:
        """Networks that the bundle has an engine of."""
        return COMPONENTS if self.refiner_channels else COMPONENTS[:-1]

    def program(self, steps: int | None) -> Program:
        """The program for a step count.

        Raises:
            HarmonyError: the engine has no table for it.
        """
        wanted = self.default_steps if steps is None else steps
        if wanted not in self.programs:
            known = ", ".join(map(str, sorted(self.programs)))
            raise HarmonyError(
                f"steps {wanted} are not in this bundle, which has {known}; build it with --steps {wanted}"
            )
        return self.programs[wanted]

    def to_config(self) -> dict[str, Any]:
        """The value of ``model.config.loop`` in the manifest."""
        return {
            "inference_size": list(self.inference_size),
            "output_size": list(self.output_size),
            "latent_channels": self.latent_channels,
            "factor": self.factor,
            "conditional": self.conditional,
            "refiner_channels": self.refiner_channels,
            "timestep_spacing": self.timestep_spacing,
            "default_steps": self.default_steps,
            "programs": [
                {"steps": p.steps, "rows": list(p.rows), "initial_scale": p.initial_scale}
                for p in self.programs.values()
            ],
        }

    @classmethod
    def of(cls, manifest: Manifest) -> SamplingSchedule:
        """Read it from a manifest.

        Raises:
            HarmonyError: another family, or a schedule that cannot be read.
        """
        if manifest.model.family != FAMILY:
            raise HarmonyError(
                f"{manifest.name} holds a {manifest.model.family}, not a {FAMILY}; open it as what it is"
            )
        try:
            loop = dict(manifest.model.config["loop"])
            programs = [
                Program(int(p["steps"]), tuple(int(r) for r in p["rows"]), float(p["initial_scale"]))
                for p in loop.pop("programs")
            ]
            sizes = {name: (int(loop[name][0]), int(loop[name][1])) for name in ("inference_size", "output_size")}
            return cls(**{**loop, **sizes, "programs": {p.steps: p for p in programs}})
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise HarmonyError(
                f"the manifest of {manifest.name} has no readable model.config.loop ({error}); build the bundle again"
            ) from None
