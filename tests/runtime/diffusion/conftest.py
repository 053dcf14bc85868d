"""One small loop for all tests of this folder."""

import pytest

from harmonyrt.runtime.diffusion.schedule import Program, SamplingSchedule


@pytest.fixture
def schedule() -> SamplingSchedule:
    """16 x 24 with a harmony VAE, then a refiner of everything at 8 x 16; 1, 2 or 3 steps."""
    return SamplingSchedule(
        inference_size=(16, 24),
        output_size=(8, 16),
        latent_channels=4,
        factor=8,
        conditional=True,
        refiner_channels=7,
        timestep_spacing="linspace",
        default_steps=2,
        programs={2: Program(2, (4, 5), 10.0), 1: Program(1, (0,), 3.0), 3: Program(3, (1, 2, 3), 7.0)},
    )
