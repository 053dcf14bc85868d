"""The order in which layers are given up."""

from harmonyrt.calibration.sensitivity import by_harm


def test_most_noise_for_the_least_work_goes_first():
    alone = {"noisy and large": 40.0, "noisy and small": 43.0, "quiet and small": 70.0}
    shares = {"noisy and large": 0.8, "noisy and small": 0.01, "quiet and small": 0.01}
    assert by_harm(alone, shares) == ["noisy and small", "noisy and large", "quiet and small"]
